"""Given what stands before the cursor, these words may come next, and no others."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from donutwork_magics.grammar import options as o
from donutwork_magics.grammar.completion import Next, after_body, after_command, after_header, after_line
from donutwork_magics.grammar.parser import parse_line
from donutwork_magics.grammar.values import FAULTS

CALL = ("--http", "--ipv4", "--ipv6", "--timeout", "--env", "--out")
SANDBOX = ("--latency", "--server-time", "--fault", "--stall", "--retry-after", "--seed", "--port")

LOAD = o.Spec(
    "load",
    "",
    "",
    options=(o.Option("journal", "-j --journal FILE", "", str),),
    argument=o.Argument("file", metavar="FILE"),
)


class TestCommands:
    def test_they_come_first_and_in_the_order_of_the_help(self) -> None:
        assert after_line("") == Next("", "command", tuple(o.SPECS))

    @pytest.mark.parametrize(
        ("typed", "words"), [("pi", ("ping",)), ("c", ("connection", "check")), ("ping", ()), ("x", ()), ("-", ())]
    )
    def test_by_their_beginning(self, typed: str, words: tuple[str, ...]) -> None:
        assert after_line(typed) == Next(typed, "command", words)

    @pytest.mark.parametrize("typed", ["pnig ", "pnig --", "PING -"])
    def test_behind_an_unknown_one_there_is_nothing(self, typed: str) -> None:
        assert after_line(typed).words == ()


class TestOptions:
    def test_they_are_those_of_the_command(self) -> None:
        assert after_line("connection ").words == (*CALL, "--widget")
        assert after_line("check ").words == (*CALL, "--strict")

    @pytest.mark.parametrize("name", list(o.SPECS))
    def test_every_one_is_offered_in_each_spelling(self, name: str) -> None:
        spec = o.SPECS[name]
        assert after_line(f"{name} -").words == tuple(flag for option in spec.options for flag in option.flags)

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("ping --co", ("--count", "--concurrency", "--cold")),
            ("ping -n 5 --co", ("--concurrency", "--cold")),
            ("ping -n5 --co", ("--concurrency", "--cold")),
            ("ping --count=5 --co", ("--concurrency", "--cold")),
            ("ping --ipv", ("--ipv4", "--ipv6")),
            ("ping --ipv4 --ipv", ()),
            ("ping -r 5 --i", ("--ipv4", "--ipv6")),
            ("ping --w", ("--warmup", "--widget")),
            ("ping -n 5 --w", ("--warmup",)),
            ("ping --cold --w", ("--warmup",)),
            ("ping --widget --c", ()),
            ("sandbox --fault timeout:0.1 --f", ("--fault",)),
            ("sandbox start --seed 1 --s", ("--server-time", "--stall")),
        ],
    )
    def test_one_that_is_used_or_excluded_is_not(self, line: str, words: tuple[str, ...]) -> None:
        assert after_line(line).words == words

    @pytest.mark.parametrize("line", ["ping --label 'a b' --col", "ping --label=-n --col"])
    def test_quotes_are_read_as_the_parser_does(self, line: str) -> None:
        assert after_line(line).words == ("--cold",)

    @pytest.mark.parametrize("line", ["ping --label 'a --col", 'ping --label "'])
    def test_within_a_quote_there_is_nothing(self, line: str) -> None:
        assert after_line(line).words == ()


class TestValues:
    @pytest.mark.parametrize(
        ("line", "fragment", "words"),
        [
            ("ping --http ", "", ("auto", "1.1", "2", "3")),
            ("ping --http a", "a", ("auto",)),
            ("ping --http=", "", ("auto", "1.1", "2", "3")),
            ("ping --http=a", "a", ("auto",)),
            ("ping --env ", "", ("staging", "production")),
            ("check --env s", "s", ("staging",)),
            ("ping -r ", "", ("max",)),
            ("ping -rm", "m", ("max",)),
            ("ping -r=m", "m", ("max",)),
            ("ping -n ", "", ()),
            ("ping -t 1", "1", ()),
            ("ping --label ", "", ()),
            ("ping -n -", "-", ()),
        ],
    )
    def test_they_are_the_choices_of_the_option(self, line: str, fragment: str, words: tuple[str, ...]) -> None:
        assert after_line(line) == Next(fragment, "choice", words)

    @pytest.mark.parametrize(
        ("line", "fragment"), [("ping -o ", ""), ("ping --out d", "d"), ("ping --out=d", "d"), ("check -od", "d")]
    )
    def test_a_name_is_a_variable(self, line: str, fragment: str) -> None:
        assert after_line(line) == Next(fragment, "variable")

    def test_the_kinds_of_faults_are_offered_each_once(self) -> None:
        assert after_line("sandbox --fault ").words == tuple(f"{kind}:" for kind in FAULTS)
        assert after_line("sandbox --fault timeout:0.5 --fault t").words == ()
        assert after_line("sandbox --fault timeout:").words == ()

    def test_the_word_that_shows_any_value_is_not_one(self) -> None:
        for spec in o.SPECS.values():
            for option in spec.options:
                for choice in option.choices:
                    option.read(choice)

    @pytest.mark.parametrize(
        ("typed", "fragment"),
        [
            ("", ""),
            ("resu", "resu"),
            ('"my re', '"my re'),
            ("--journal ", ""),
            ("--journal=a/b", "a/b"),
            ("-jx", "x"),
            ("x.jsonl -j ", ""),
        ],
    )
    def test_a_file_is_a_file(self, typed: str, fragment: str) -> None:
        assert after_command(LOAD, typed) == Next(fragment, "file")

    @pytest.mark.parametrize("typed", ["ping # ", "ping -n 5 # --c", "# pi", "help # c"])
    def test_in_a_comment_there_is_nothing(self, typed: str) -> None:
        assert after_line(typed).words == ()
        assert after_header(f" {typed.replace('ping', '-q')}").words == ()

    def test_the_name_of_an_example_is_no_variable(self) -> None:
        assert after_line("load --example n") == Next("n", "choice")

    def test_behind_the_file_come_the_options(self) -> None:
        assert after_command(LOAD, "x.jsonl ") == Next("", "option", ("--journal",))


class TestArguments:
    def test_they_come_before_the_options(self) -> None:
        assert after_line("sandbox ").words == ("start", "stop", "status", *SANDBOX)
        assert after_line("help ").words == (*o.SPECS, *o.REFERENCE)

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("sandbox sta", ("start", "status")),
            ("sandbox start ", SANDBOX),
            ("sandbox stop ", ()),
            ("sandbox stop --", ()),
            ("sandbox --seed 1 st", ("start",)),
            ("watch st", ("stop", "status")),
            ("watch status ", ()),
            ("help col", ("columns",)),
            ("tutorial ", ()),
            ("version ", ()),
            ("watch stop ", ()),
            ("watch -r 5 st", ()),
            ("help pi", ("ping",)),
            ("help ping ", ()),
            ("ping x", ()),
        ],
    )
    def test_there_is_one(self, line: str, words: tuple[str, ...]) -> None:
        assert after_line(line).words == words


class TestCells:
    def test_the_header_has_options_only(self) -> None:
        assert after_header(" ").words[:3] == ("--blocks", "--seed", "--count")
        assert set(after_header(" -").words) == {"--blocks", "--seed"} | {
            flag for option in o.PING.options if option.setting not in ("widget", "label") for flag in option.flags
        }
        assert after_header(" -n 5 pi").words == ()
        assert after_header(" -n 5 --http ").words == ("auto", "1.1", "2", "3")
        assert after_header(" -o d") == Next("d", "variable")

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("", ("ping", "connection")),
            ("  p", ("ping",)),
            ("cold: ", ("ping", "connection")),
            ("cold start:pi", ("ping",)),
            ("ping: con", ("connection",)),
            ("s", ()),
            ("sandbox ", ()),
            ("# p", ()),
            ("a: # ", ()),
            ("cold: ping --l", ()),
            ("ping --la", ("--label",)),
            ("ping --wi", ()),
            ("ping --label a:b --col", ("--cold",)),
        ],
    )
    def test_a_line_of_the_body_has_commands_that_may_stand_there(self, line: str, words: tuple[str, ...]) -> None:
        assert after_body(line).words == words


VALUES = {
    **dict.fromkeys(("--timeout", "--duration", "--interval", "--retry-after"), "3s"),
    **dict.fromkeys(("--latency", "--server-time"), "1ms"),
    "--out": "df",
    "--until": "5%",
    "--expect": "max<1s",
    "--stall": "2s@10s",
    "--fault": "timeout:0.01",
}
"""A value for each option that neither lists its choices nor takes a 1."""


@pytest.mark.parametrize(("name", "first"), [(name, flag) for name, spec in o.SPECS.items() for flag in spec.spellings])
def test_two_options_that_are_offered_go_together(name: str, first: str) -> None:
    """What the completion offers beside an option, the parser takes beside it."""
    spec = o.SPECS[name]

    def spelled(flag: str) -> str:
        option = spec.spellings[flag]
        value = VALUES.get(option.long) or [*option.choices, "1"][0]
        return f"{flag} {value}" if option.metavar else flag

    for flag in after_line(f"{name} {spelled(first)} -").words:
        scopes = {spec.spellings[each].scope for each in (first, flag)}
        # Options of a series need one.
        count = " -n 5" if "-n" in spec.spellings and scopes & {"series"} and not scopes & {"makes series"} else ""
        second = spelled(flag).replace("timeout:", "server_error:")
        parse_line(f"{name} {spelled(first)} {second}{count}")


@given(st.text(max_size=40))
def test_nothing_that_is_typed_is_an_error(text: str) -> None:
    for complete in (after_line, after_header, after_body):
        for typed in (text, f"ping {text}", f"sandbox --fault {text}"):
            assert typed.endswith(complete(typed).fragment)


def test_it_is_pure() -> None:
    script = (
        "import sys, donutwork_magics.grammar.completion\n"
        "sys.exit(', '.join({'IPython', 'httpx', 'pandas', 'asyncio'} & sys.modules.keys()) or None)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
