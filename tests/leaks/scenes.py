"""The notebooks of the sweep: every command, every failure, and every way to look at what is left afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import nbformat

from donutwork_magics.grammar import options

PRELUDE = """
import json, logging, os, pathlib, pickle, signal, sys, threading, traceback
logging.basicConfig(level=logging.DEBUG, filename="debug.log", force=True)
%load_ext donutwork_magics
%xmode {mode}
kinds = []

def aim(url, **settings):
    for name in [name for name in os.environ if name.startswith("DONUTWORK_")]:
        del os.environ[name]
    given = {{"API_KEY": os.environ["MY_KEY"], "CA_BUNDLE": "ca.pem", "BASE_URL": url}} | settings
    os.environ.update({{f"DONUTWORK_{{name}}": value for name, value in given.items()}})

def interrupt_in(seconds):
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer

def aftermath():
    from rich.console import Console
    from rich.traceback import Traceback
    error = vars(sys).get("last_value")
    if error is None:
        return
    kinds.append(getattr(error, "kind", None) or type(error).__name__)
    for mode in ("", "Verbose"):
        get_ipython().run_line_magic("tb", mode)
    print(repr(error), error.args, vars(error), error.__context__, error.__cause__)
    # The user's own variables, which are many, are shown once.
    entry = error.__traceback__
    while len(kinds) > 1 and entry is not None and not entry.tb_frame.f_globals["__name__"].startswith("donutwork"):
        entry = entry.tb_next
    error = error.with_traceback(entry)
    # It shows the same frames for each failure of a kind, and colours their whole files each time.
    if kinds.count(kinds[-1]) == 1:
        shown = Traceback.from_exception(
            type(error), error, entry, extra_lines=1, show_locals=True, locals_max_length=None,
            locals_max_string=None, locals_hide_dunder=False,
        )
        Console(file=sys.stdout, width=300).print(shown)
    print(*traceback.TracebackException.from_exception(error, capture_locals=True).format())
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        vars(sys).pop(name, None)
"""

FAILURES = [
    *("400", "401", "403", "404", "418", "429", "500", "503", "204", "limited"),
    *("redirect/port", "redirect/same", "redirect/absolute", "redirect/host"),
    *("text", "encoded", "large", "status", "untyped", "reset", "closed", "garbage", "goaway", "statusline"),
    *("headerline", "headername", "length", "chunks", "coding", "short", "unended"),
]
"""Scenes of `tests.leaks.servers.Echo` in which a call cannot succeed."""

SETTINGS = [
    # The key where it does not belong; MY_KEY is the same, under a name that is not ours.
    "aim(f\"https://{os.environ['MY_KEY']}@127.0.0.1:{PORT}\")",
    "aim(f\"https://user:{os.environ['MY_KEY']}@127.0.0.1:{PORT}\")",
    "aim(f\"http://127.0.0.1:{PORT}/{os.environ['MY_KEY']}\")",
    "aim(f\"http://127.0.0.1:{PORT}?key={os.environ['MY_KEY']}\")",
    "aim(f\"http://127.0.0.1:{PORT}#{os.environ['MY_KEY']}\")",
    "aim(f\"https://{os.environ['MY_KEY'].replace('/', '-')}\")",
    "aim(os.environ['MY_KEY'])",
    "aim('http://127.0.0.1:{PORT}', CA_BUNDLE=os.environ['MY_KEY'])",
    "aim('http://127.0.0.1:{PORT}', API_KEY=os.environ['MY_KEY'] + '\\n' + os.environ['MY_KEY'])",
    "aim('http://127.0.0.1:{PORT}', API_KEY=os.environ['MY_KEY'] + 'ä')",
    "aim('http://127.0.0.1:{PORT}', API_KEY=os.environ['MY_KEY'] * 20)",
    "aim('http://127.0.0.1:{PORT}', API_KEY='', PRODUCTION_API_KEY=os.environ['MY_KEY'])",
    # Hosts that would get it unencrypted, all of which lead to the recorder.
    "aim('http://0.0.0.0:{ELSEWHERE}')",
    "aim('http://127.1:{ELSEWHERE}')",
    "aim('http://localhost.:{ELSEWHERE}')",
    "aim('http://[::ffff:0.0.0.0]:{ELSEWHERE}')",
    "aim('http://user@127.0.0.1:{ELSEWHERE}')",
    "aim('http://a..b:{ELSEWHERE}')",
]

OTHER_FAILURES = [
    "aim('http://127.0.0.1:{CLOSED}')",
    "aim('https://donutwork.invalid')",
    # The roots that it asks for are not there, the name is another, and the server does not speak TLS.
    "aim('{BASE}/ok', CA_BUNDLE='')",
    "aim('https://127.0.0.1:{TLS}/ok')",
    "aim('https://localhost:{PORT}/ok')",
]

LOOK = """
print({name}, repr({name}), str(vars({name}) if hasattr({name}, "__dict__") else ""))
import copy, rich, rich.pretty
rich.pretty.pprint({name}, expand_all=True)
pathlib.Path("{name}.pickle").write_bytes(pickle.dumps(copy.deepcopy({name})))
%store {name}
"""

LOOK_AT_CALL = """
print({name}.raw, {name}.timing)
rich.inspect({name}, all=True)
rich.pretty.pprint([{name}.raw, {name}.timing], expand_all=True)
{name}
"""

LOOK_AT_TABLE = """
df.to_csv("df.csv")
df.to_parquet("df.parquet", compression=None)
pathlib.Path("df.json").write_text(json.dumps(df.attrs))
print(df.to_string(), df.to_dict("list"), df.attrs)
display(df, df.donutwork, df.donutwork.summary())
"""

WIDGET = """
import dataclasses
import donutwork_magics.shell.invocation as magics
from ipywidgets import Button
from ipywidgets.widgets.widget import _instances
magics._MEASURE = dataclasses.replace(magics._MEASURE, count=3, rate_hz=100)
%donutwork ping --widget
for button in [one for one in list(_instances.values()) if isinstance(one, Button)]:
    button.click()
    for thread in threading.enumerate():
        if thread.name == "donutwork-widget":
            thread.join(20)
"""

WATCH = """
w = %donutwork watch -r 100 -t 5s --journal watch.jsonl
w.wait(0.3)
for thing in filter(None, (w, w._recording, w._prober)):
    print(thing, repr(thing), vars(thing))
    rich.inspect(thing, private=True, dunder=False)
for name in ("environ", "cmdline"):
    path = pathlib.Path(f"/proc/{w._prober.pid}/{name}") if w._prober else pathlib.Path("none")
    if path.exists():
        pathlib.Path(f"prober-{name}").write_bytes(path.read_bytes())
display(w)
w.stop()
display(w, w.df, w.df.donutwork)
print(w.problem, w.df.to_dict("list"), w.df.attrs)
"""

PUBLIC_NAMES = """
from donutwork_magics import Client, TimedTransport, collect
import httpx, rich, rich.pretty
client = Client()
transport = TimedTransport()
timed = httpx.Client(transport=transport, base_url=transport.base_url)
response = timed.get("2026-02-01/ping.json", params={"a": "b"})
for thing in (
    client, client.target, client.target.key, client._caller, client._requests, transport, timed, response,
    response.request, response.headers, response.text, response.extensions,
):
    print(repr(thing), vars(thing) if hasattr(thing, "__dict__") else "")
    rich.inspect(thing, private=True, dunder=False)
    rich.pretty.pprint(thing, expand_all=True)
    try:
        pathlib.Path("thing.pickle").write_bytes(pickle.dumps(thing))
    except Exception as error:
        print(repr(error))
result = client.ping()
rows = collect(3, rate_hz=100)
client.close()
timed.close()
"""

TIMED_FAILURE = """
timed = httpx.Client(transport=TimedTransport(timeout_s=5), timeout=5)
timed.get(timed._transport.base_url.join("/{scene}/2026-02-01/ping.json")).raise_for_status()
"""

SANDBOX = """
from donutwork_magics.client.target import SWITCH
sandbox = SWITCH.sandbox
for name in ("environ", "cmdline"):
    path = pathlib.Path(f"/proc/{sandbox.pid}/{name}")
    if path.exists():
        pathlib.Path(f"sandbox-{name}").write_bytes(path.read_bytes())
del sandbox
"""

CONTROL = """
print("kinds:", json.dumps(sorted(set(kinds))))
secrets = pathlib.Path(os.environ["SSLKEYLOGFILE"])
# Whoever makes a context the usual way, as pyarrow does, begins the file with a comment.
lines = secrets.read_text().splitlines() if secrets.exists() else []
print("TLS secrets before:", any(not line.startswith("#") for line in lines))
import httpx, ssl
with httpx.Client(http2=True, trust_env=False, verify=ssl.create_default_context(cafile="ca.pem")) as plain:
    plain.get("{BASE}/ok/2026-02-01/ping.json", headers={{"Authorization": "Bearer {DECOY}"}})
print("TLS secrets after:", secrets.exists())
"""
"""What a plain client leaks under the same conditions: what the sweep would find, had we done the same."""

NAMED = ("ping", "connection", "check", "watch", "load", "sandbox", "help")
WATCHED = {"401", "503", "redirect/host", "text", "statusline", "headerline"}


def notebook(mode: str, places: dict[str, object], turn: int) -> nbformat.NotebookNode:
    """Make a notebook.

    Parameters
    ----------
    mode
        Of ``%xmode``.
    places
        ``BASE``, the base URL of the echo; the ports ``PORT``, of an echo without TLS, ``TLS``, of one with it,
        ``ELSEWHERE``, of the recorder, and ``CLOSED``; and ``DECOY``, the key of the control.
    turn
        0, 1 or 2: each meets every failure by one call, and all of them together by all commands.
    """
    sources = [PRELUDE.format(mode=mode), *_tour(), *_failures(turn), CONTROL]
    cells = [nbformat.v4.new_code_cell(_filled(source, places).strip()) for source in sources]
    made: nbformat.NotebookNode = nbformat.v4.new_notebook(cells=cells)
    return made


def _filled(source: str, places: dict[str, object]) -> str:
    for name, value in places.items():
        source = source.replace(f"{{{name}}}", str(value))
    return source.replace("{{", "{").replace("}}", "}") if source.startswith("\nprint(") else source


def _tour() -> Iterator[str]:
    """Everything that succeeds, with each text that a server can put into what is kept and shown."""
    yield "aim('{BASE}/ok', STAGING_API_KEY=os.environ['MY_STAGING_KEY'], STAGING_BASE_URL='{BASE}/ok')"
    yield "%donutwork"
    yield "%donutwork?"
    yield "%donutwork help\n%donutwork help ping"
    # A command that is added to the grammar is swept from then on; whoever adds it may give it scenes of its own.
    for other in sorted(set(options.SPECS) - set(NAMED)):
        yield f"timer = interrupt_in(2)\ntry:\n    %donutwork {other}\nfinally:\n    timer.cancel()"
        yield "aftermath()"
    yield "for _ in range(40):\n    display(get_ipython().run_line_magic('donutwork', 'ping'))"
    yield "for _ in range(40):\n    display(get_ipython().run_line_magic('donutwork', 'connection'))"
    for scene in ("ok", "env"):
        yield f"aim('{{BASE}}/{scene}', STAGING_API_KEY=os.environ['MY_STAGING_KEY'], STAGING_BASE_URL='{{BASE}}/ok')"
        yield "p = %donutwork ping\n" + LOOK.format(name="p") + LOOK_AT_CALL.format(name="p")
        yield "c = %donutwork connection\n" + LOOK.format(name="c") + LOOK_AT_CALL.format(name="c")
        yield (
            "df = %donutwork ping -n 30 -r 200 -c 2 -w 3 --journal journal.jsonl\n"
            + LOOK.format(name="df")
            + LOOK_AT_TABLE
        )
        yield "report = %donutwork check\n" + LOOK.format(name="report") + "report"
        yield "%donutwork check --strict --env production\n"
        yield "aftermath()"
        yield WATCH
    yield "loaded = %donutwork load journal.jsonl\nprint(loaded.to_string(), loaded.attrs)\nloaded"
    yield "%donutwork ping -n 5 -r 100 --cold -q -o quiet --http 1.1\nquiet"
    yield "%donutwork ping --env staging --ipv4"
    yield "%donutwork ping -d 200ms -r 50 --env staging"
    yield "%%donutwork -n 3 -r 100 -o both\nwarm: ping\ncold: ping --cold --env staging"
    yield "%%donutwork\nwho: connection\nseries: ping -n 3 -r 100\none: ping"
    yield "%donutwork ping --env production"
    yield "aftermath()"
    yield "%config DonutworkMagics.env = 'production'\n%donutwork ping -n 3 -r 100 -o failed"
    yield "aftermath()"
    yield "%config DonutworkMagics.env = None\n%config DonutworkMagics"
    yield "_donutwork"
    yield WIDGET
    yield PUBLIC_NAMES
    yield LOOK.format(name="result") + LOOK_AT_CALL.format(name="result")
    yield "%donutwork sandbox start --latency 1ms --seed 1\n" + SANDBOX
    yield "%donutwork ping"
    yield "%donutwork connection --env production"
    yield "df = %donutwork ping -n 5 -r 100"
    yield "%donutwork\n%donutwork sandbox status"
    yield "%donutwork sandbox stop"


def _failures(turn: int) -> Iterator[str]:
    calls = ["%donutwork ping -t 5s", "%donutwork connection -t 5s"]
    others = ["%donutwork ping -n 2 -r 100 -t 5s -o df", "%donutwork check --strict -t 5s"]
    for number, scene in enumerate(FAILURES, turn):
        yield f"aim('{{BASE}}/{scene}')"
        yield calls[number % 2]
        yield "aftermath()"
        if number % 3 == 0:
            yield others[number // 3 % 2]
            yield "aftermath()"
            if scene in WATCHED:
                yield WATCH
                yield TIMED_FAILURE.replace("{scene}", scene)
                yield "aftermath()"
    for setting in OTHER_FAILURES:
        yield setting
        yield calls[0]
        yield "aftermath()"
    for setting in SETTINGS:
        yield f"{setting}\n%donutwork"
        yield calls[1]
        yield "aftermath()"
    yield "aim('{BASE}/hang')\n%donutwork ping -t 200ms"
    yield "aftermath()"
    yield "_ = interrupt_in(0.3)\n%donutwork ping"
    yield "aftermath()"
    yield "_ = interrupt_in(0.6)\n%donutwork ping -n 99 -r 5 -o df"
    yield "aftermath()"
    yield "aim('{BASE}/ok')\ndel os.environ['DONUTWORK_API_KEY']\n%donutwork connection"
    yield "aftermath()"
    yield "import getpass\n%donutwork pnig"
    yield "aftermath()"
