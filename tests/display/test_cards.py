"""Every card: safe in a notebook that nobody trusts, the same facts as HTML and as text, readable in both."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from html import escape
from html.parser import HTMLParser

import pytest

import donutwork_magics.frame.accessor  # noqa: F401
from donutwork_magics.client.results import Connection, Ping
from donutwork_magics.display import mimebundle
from donutwork_magics.display.card import ICONS, Breakdown, Card, Figure, Segment, Table
from donutwork_magics.display.cards import card_of
from donutwork_magics.display.html import muted, spoken, to_html
from donutwork_magics.display.run import RunCard
from donutwork_magics.display.text import to_text
from donutwork_magics.displayed import CheckReport, KeyStatus, Overview, SandboxStatus, Step
from donutwork_magics.units import width
from tests.display.frames import ATTRS, frame
from tests.display.values import HOSTILE, connection, everything, ping, report, run
from tests.support.tables import describe

# From JupyterLab 4.6's sanitiser: what of its allow-lists the cards use.
KEPT_TAGS = {
    *("div", "span", "strong", "details", "summary"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td"),
    *("img", "wbr", "bdi"),
}
KEPT_ATTRIBUTES = {"class", "style", "title", "scope", "alt", "src"}
# For the keyboard in a wide table; where they are dropped, the table looks the same and is read as a table still.
DISPENSABLE_ATTRIBUTES = {"tabindex", "role", "aria-label", "data-lm-suppress-shortcuts"}
KEPT_STYLES = {
    *(
        "background-color",
        "color",
        "opacity",
        "border",
        "border-left",
        "border-top",
        "border-radius",
        "border-collapse",
    ),
    *("margin", "margin-top", "padding", "padding-top", "padding-right", "padding-left"),
    *("width", "max-width", "min-width", "height"),
    *(
        "display",
        "flex-wrap",
        "flex-grow",
        "flex-basis",
        "justify-content",
        "gap",
        "align-items",
        "overflow",
        "overflow-x",
        "overflow-wrap",
        "box-sizing",
    ),
    *("font-size", "font-weight", "font-family", "line-height", "text-align", "vertical-align", "white-space"),
    *("caption-side", "table-layout", "cursor"),
}
DISPENSABLE_STYLES = {"font-variant-numeric"}
VOID_TAGS = {"br", "img", "hr", "input", "meta", "wbr"}


class Page(HTMLParser):
    """Reads a card as a browser would."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.classes: list[list[str]] = []
        """Of each of the outermost elements."""
        self.attributes: set[str] = set()
        self.styles: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self._broken = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if not self.open:
            self.classes.append((dict(attrs).get("class") or "").split())
        self._broken = tag == "wbr"
        self.attributes |= {name for name, _ in attrs}
        for declaration in filter(None, (dict(attrs).get("style") or "").split(";")):
            name, _, value = declaration.partition(":")
            self.styles.append((name, value))
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        # Where a word may be broken, it goes on.
        if self._broken and self.texts:
            data = self.texts.pop() + data
        self.texts.append(data)
        self._broken = False

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).replace("\u00a0", " ").split())


CARDS = sorted(everything())


@cache
def bundles(text: str) -> dict[str, dict[str, str]]:
    """Render one of each value as Jupyter does, with a text wherever a foreign one can stand."""
    return {name: value._repr_mimebundle_() for name, value in everything(text).items()}


@pytest.fixture(params=CARDS)
def bundle(request: pytest.FixtureRequest) -> dict[str, str]:
    return bundles("staging")[request.param]


@pytest.mark.parametrize("name", CARDS)
def test_each_bundle_is_the_front_ends_own(name: str) -> None:
    """Marimo asks by keyword, and takes the text out of what it gets."""
    value = everything()[name]
    value._repr_mimebundle_(include=None, exclude=None).clear()
    assert set(value._repr_mimebundle_()) == {"text/plain", "text/html"}


def test_html_is_made_of_what_the_sanitiser_keeps(bundle: dict[str, str]) -> None:
    assert set(bundle) == {"text/plain", "text/html"}
    page = Page(bundle["text/html"])
    assert page.open == []
    assert page.tags <= KEPT_TAGS
    assert page.attributes <= KEPT_ATTRIBUTES | DISPENSABLE_ATTRIBUTES
    assert {name for name, _ in page.styles} <= KEPT_STYLES | DISPENSABLE_STYLES
    assert not [value for _, value in page.styles if "(" in value.replace("rgba(118,125,134,0.35)", "")]


def test_no_html_is_typeset(bundle: dict[str, str]) -> None:
    shown = [bundle["text/html"], muted("a line"), spoken("a line", "status")]
    # MathJax 2 and MathJax 3.
    assert [Page(html).classes for html in shown] == [[["tex2jax_ignore", "mathjax_ignore"]]] * 3


def test_html_fits_a_narrow_cell_in_the_colour_of_its_page(bundle: dict[str, str]) -> None:
    html = bundle["text/html"]
    styles = Page(html).styles
    widths = [text for name, text in styles if name in {"width", "min-width"}]
    assert all(text.endswith("%") or float(text.removesuffix("px")) <= 320 for text in widths)
    # The swatch beside the name of a phase is the one coloured glyph.
    assert sum(name == "color" for name, _ in styles) == html.count("■")


@pytest.mark.parametrize("name", CARDS)
def test_a_hostile_server_can_neither_mark_up_nor_move_the_cursor(name: str) -> None:
    bundle = bundles(HOSTILE)[name]
    page = Page(bundle["text/html"])
    assert page.tags <= KEPT_TAGS
    assert page.open == []
    for text in (bundle["text/plain"].replace("\n", ""), page.text):
        assert text.isprintable()
        assert "A" * 450 not in text


@pytest.mark.parametrize("text", ["staging", HOSTILE, "測定" * 200])
def test_text_fits_a_terminal_of_80_columns_whatever_the_server_says(text: str) -> None:
    for bundle in bundles(text).values():
        assert max(map(width, bundle["text/plain"].splitlines())) <= 80


def test_html_and_text_say_the_same(bundle: dict[str, str]) -> None:
    def words(text: str) -> set[str]:
        return set(re.findall(r"\w+", text))

    page = Page(bundle["text/html"])
    # What a terminal says of a chart's axes, the text in the place of its image says.
    of_charts = words("0 s errors " + " ".join(re.findall('<img alt="(.*?)"', bundle["text/html"])))
    assert words(page.text) <= words(bundle["text/plain"]) <= words(page.text) | of_charts


def test_a_state_has_an_icon_and_a_word() -> None:
    assert mimebundle(ping())["text/plain"].startswith("✓ Ping: success")
    assert mimebundle(SandboxStatus("died"))["text/plain"].startswith("✗ Sandbox: died")
    assert mimebundle(run(ended="interrupted"))["text/plain"].startswith("⚠ Pings: interrupted: 70 pings, 2 errors")
    assert mimebundle(run(ended="unauthorized"))["text/plain"].startswith("✗ Pings: ended early by unauthorized")


def test_a_number_and_its_unit_are_not_parted() -> None:
    card = Card("Pings", "ok", "in 12 ms, 5 % and 3 min; 4 seconds", notes=("x" * 73 + " 12 ms",))
    assert "in 12\u00a0ms, 5\u00a0% and 3\u00a0min; 4 seconds" in to_html(card)
    assert to_text(card).splitlines()[-1] == "  12 ms"


def test_no_row_of_figures_has_the_last_one_alone() -> None:
    for n in range(1, 7):
        html = to_html(Card("Pings", "ok", "", figures=tuple(Figure(f"<{at}>", "") for at in range(n))))
        # In pairs, each a box of its own, from the end on.
        assert html.count("align-items:flex-end") == 1 + n // 2


def test_a_sandbox_says_which_two_times_it_has() -> None:
    behaviour = (("latency", "20ms/60ms"), ("server time", "2ms"))
    text = mimebundle(SandboxStatus("running", "http://127.0.0.1:1", 7, behaviour))["text/plain"]
    assert re.search(r"Latency, p50/p95 +20ms/60ms\n +Server time +2ms", text)


def test_badges_say_sandbox_and_environment() -> None:
    assert "[sandbox] [staging]" in mimebundle(ping())["text/plain"]
    assert "[sandbox]" not in mimebundle(ping(sandbox=False))["text/plain"]
    assert "[production]" in mimebundle(RunCard(frame([1.0], env="production")))["text/plain"]


@pytest.mark.parametrize(
    ("env", "shown"),
    [
        ("sandbox] [staging", """env "sandbox' 'staging\""""),
        ("sandbox", 'env "sandbox"'),
        ('x"] [sandbox', """env "x'' 'sandbox\""""),
        ("Staging", 'env "Staging"'),
        ("", 'env ""'),
    ],
)
def test_an_environment_that_is_not_documented_cannot_pass_for_a_word_of_the_card(env: str, shown: str) -> None:
    of_connection = replace(connection(), env=env, sandbox=False)
    df = frame([1.0] * 2, env=env)
    describe(df, {**ATTRS, "sandbox": False})
    for value in (replace(ping(sandbox=False), env=env), of_connection, RunCard(df)):
        bundle = mimebundle(value)
        assert f"[{shown}]" in " ".join(bundle["text/plain"].split())
        assert f">{escape(shown)}</span>" in bundle["text/html"].replace("<wbr>", "")
        assert "[sandbox" not in bundle["text/plain"].splitlines()[0]
        assert ">sandbox</span>" not in bundle["text/html"]


def test_a_ping_tells_total_network_server_and_phases() -> None:
    text = mimebundle(ping())["text/plain"]
    for fact in ("43.9 ms", "11.9 ms", "80.0 µs", "DNS", "TLS", "first byte", "new, HTTP/2, TLSv1.3"):
        assert fact in text


def test_an_rrt_that_is_no_time_is_shown_as_its_text() -> None:
    text = mimebundle(ping("0,08 ms", rrt_ms=float("nan")))["text/plain"]
    assert "0,08 ms  server (RRT in its reply)" in text
    assert "Wait for the first byte" not in text


def test_a_server_that_reports_more_than_the_wait_leaves_no_time_for_the_network() -> None:
    text = mimebundle(ping(rrt_ms=500.0))["text/plain"]
    assert "–  network: the server reports more than the wait" in text
    assert "−" not in text


def test_marks_over_a_letter_do_not_pile_up_beyond_its_line() -> None:
    for given, shown in (("Z" + "\u0301" * 300, "Z" + "\u0301" * 4), ("Vie\u0323\u0302t", "Vie\u0323\u0302t")):
        bundle = mimebundle(connection(given))
        for text in bundle.values():
            assert shown in text
            assert "\u0301" * 5 not in text


@pytest.mark.parametrize("call", [ping(), connection()])
def test_a_call_that_was_retried_says_of_which_attempt_its_phases_are(call: Ping | Connection) -> None:
    text = to_text(card_of(replace(call, timing={**call.timing, "retried": True, "duration_ms": 311.0})))
    assert "Phases of the second attempt: the total holds both" in text
    assert "Phases of this call" not in text


def test_a_ping_on_a_new_connection_has_figures_that_add_up() -> None:
    figures = [figure.caption for figure in card_of(ping()).figures]
    assert figures == [
        "in total",
        "to open the connection",
        "network, outside the server",
        "server (RRT in its reply)",
    ]


def test_a_connection_that_something_translates_is_a_warning() -> None:
    text = mimebundle(connection("HTTP3"))["text/plain"]
    assert text.startswith("⚠ Connection: connected")
    assert "HTTP/2 was spoken from here, and the API saw HTTP3." in text
    assert mimebundle(connection("HTTP2"))["text/plain"].startswith("✓ Connection: connected")


def test_a_connection_tells_what_the_api_saw() -> None:
    text = mimebundle(connection("HTTP3"))["text/plain"]
    assert "192.0.2.7  your address, as the API sees it" in text
    assert "IPv6" not in text


def test_a_breakdown_a_progress_and_a_tone_are_drawn_as_they_are() -> None:
    segments = (Segment("server", "1 ms", 0.25), Segment("network", "3 ms", 0.75))
    card = Card("T", "running", "s", progress=0.375, sections=(Breakdown("c", ("part", "time"), segments),))
    html = to_html(card)
    assert re.findall(r'<div title="(\w+)" style="width:([\d.]+)%', html) == [("server", "25.0"), ("network", "75.0")]
    assert re.search(r'aria-valuenow="37.5".*?<div style="width:37.5%;', html)
    edges = {tone: re.findall("border-left:4px solid (#[0-9a-f]{6})", to_html(Card("T", tone, "s"))) for tone in ICONS}
    assert [*map(len, edges.values())] == [1] * len(ICONS)
    assert len({edge for [edge] in edges.values()}) == len(ICONS)
    assert edges["bad"] == ["#cf222e"]


@pytest.mark.parametrize(
    ("keys", "state"),
    [
        ((KeyStatus("A", "set", ""),), "✓ Donutwork: key set"),
        ((KeyStatus("A", "missing", "Set A."),), "⚠ Donutwork: no key set"),
        ((KeyStatus("A", "unusable", "A is empty."),), "✗ Donutwork: key not usable"),
        ((KeyStatus("A", "missing", "Set A."), KeyStatus("B", "set", "")), "✓ Donutwork: key set, for --env"),
    ],
)
def test_the_overview_begins_with_whether_one_can_begin(keys: tuple[KeyStatus, ...], state: str) -> None:
    overview = Overview("https://api.example", True, False, "DONUTWORK_BASE_URL", keys, ())
    text = mimebundle(overview)["text/plain"]
    assert text.splitlines()[0] == state
    for key in keys:
        assert key.advice in text
    assert re.search("Calls go to  +https://api.example\n.*Can be changed with  +DONUTWORK_BASE_URL\n", text)
    # Whether the API takes the key is not known before a call.
    assert ("%donutwork check tries it" in text) == (state == "✓ Donutwork: key set")


def test_an_overview_without_a_usable_address_says_why() -> None:
    overview = Overview("DONUTWORK_BASE_URL is not https.", False, False, "DONUTWORK_BASE_URL", (), ())
    text = mimebundle(overview)["text/plain"]
    assert text.startswith("✗ Donutwork: not ready")
    assert "DONUTWORK_BASE_URL is not https." in text
    assert "Calls go to" not in text
    assert "Can be changed with  DONUTWORK_BASE_URL" in text


def test_a_check_tells_state_time_finding_and_advice_of_each_step() -> None:
    text = mimebundle(report("found"))["text/plain"]
    assert text.startswith('✗ Check: failed at ping:read [sandbox] [env "found"]')
    assert [line.split() for line in text.splitlines()[3:]] == [
        ["State", "Step", "Time"],
        ["✓", "ok", "API", "key", "found"],
        ["⚠", "warning", "TLS", "12.0", "ms", "found"],
        ["→", "found"],
        ["✗", "failed", "ping:read", "found"],
        ["→", "found"],
        ["○", "skipped", "Clock", "found"],
    ]


def test_a_check_that_passes_is_ready_and_counts_its_warnings() -> None:
    assert mimebundle(report(bad=False))["text/plain"].startswith("⚠ Check: ready, with 1 warning [sandbox] [staging]")
    quiet = CheckReport("h", False, "production", (Step("API key", "ok", "set"), Step("TLS", "skipped", "none")))
    assert mimebundle(quiet)["text/plain"].startswith("✓ Check: ready [production]")
    assert repr(quiet) == mimebundle(quiet)["text/plain"]


def test_the_rows_of_a_check_have_a_header_each() -> None:
    html = mimebundle(report())["text/html"]
    assert re.findall(r'<th scope="row"[^>]*><strong>(.*?)</strong></th>', html) == [s.name for s in report().steps]
    assert re.findall(r'<th scope="col"[^>]*>(.*?)</th>', html) == ["State", "Step", "Time"]
    assert html.count("<caption") == 1


def test_the_caption_of_a_table_that_is_scrolled_stays_in_sight() -> None:
    table = Table("How long", (("a", "1 ms", "2 ms"),), head=("label", "p50", "p95"))
    html = to_html(Card("T", "ok", "s", sections=(table,)))
    before, scrolled = html.split("overflow-x:auto")
    assert Page(f'{before}"></div></div>').text.endswith("How long")
    assert "<caption" not in scrolled
    assert '<table aria-label="How long"' in scrolled


def test_a_value_without_a_card_is_a_programming_error() -> None:
    with pytest.raises(TypeError, match="no card for a int"):
        mimebundle(3)


def test_a_card_of_a_call_needs_neither_ipython_nor_pandas() -> None:
    code = (
        "import sys, donutwork_magics.display;"
        "print(*sorted({'IPython', 'ipywidgets', 'pandas', 'httpx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""
