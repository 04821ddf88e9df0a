"""The command language: what each line and cell means, and how each mistake is answered."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from donutwork_magics.grammar import options as o
from donutwork_magics.grammar.cell import parse_cell
from donutwork_magics.grammar.commands import (
    CallOptions,
    Cell,
    CheckCommand,
    Command,
    ConnectionCommand,
    HelpCommand,
    LoadCommand,
    Overview,
    PingCommand,
    SandboxCommand,
    SandboxOptions,
    TutorialCommand,
    VersionCommand,
    WatchCommand,
    WatchesCommand,
)
from donutwork_magics.grammar.help import config_text, docstring, help_text
from donutwork_magics.grammar.parser import GrammarError, parse_line
from donutwork_magics.grammar.values import ALIASES, FAULTS
from donutwork_magics.sampling.plan import Plan

Result = TypeVar("Result")

KEY = "dw_live_4f9a8c7b6d5e"

CALL = CallOptions(http="auto", family=None, timeout_s=10.0, env=None, out=None, widget=False)
FIVE = Plan(count=5)


def refusal(line: str, defaults: Mapping[str, object] | None = None, keys: tuple[str, ...] = ()) -> str:
    """Give the one line with which `line` is refused."""
    with pytest.raises(GrammarError) as caught:
        parse_line(line, defaults=defaults or {}, holds_key=lambda text: any(key in text for key in keys))
    message = str(caught.value)
    assert "\n" not in message
    return message


def cell_refusal(header: str, *lines: str, keys: tuple[str, ...] = ()) -> str:
    with pytest.raises(GrammarError) as caught:
        parse_cell(header, "\n".join(lines), holds_key=lambda text: any(key in text for key in keys))
    message = str(caught.value)
    assert "\n" not in message
    return message


def ping(line: str, **defaults: object) -> PingCommand:
    command = parse_line(line, defaults=defaults)
    assert isinstance(command, PingCommand)
    return command


def plan(line: str, **defaults: object) -> Plan:
    command = ping(line, **defaults)
    assert command.plan is not None
    return command.plan


def cell(header: str, *lines: str, defaults: Mapping[str, object] | None = None) -> Cell:
    return parse_cell(header, "\n".join(lines), defaults=defaults or {})


def cell_plans(made: Cell) -> list[Plan | None]:
    return [line.command.plan for line in made.lines if isinstance(line.command, PingCommand)]


class TestCommands:
    @pytest.mark.parametrize(
        ("line", "command"),
        [
            ("  ", Overview()),
            ("ping", PingCommand(CALL)),
            ("ping -n 5", PingCommand(CALL, FIVE)),
            ("ping -n 1", PingCommand(CALL, Plan(count=1))),
            ("ping -d 30s", PingCommand(CALL, Plan(duration_s=30.0))),
            ("ping -d 30s -n 7", PingCommand(CALL, Plan(count=7, duration_s=30.0))),
            (
                "ping -n 9 -d 2min -r 2.5 -c 4 -w 3 --cold --label 'my run' --journal 'a b.jsonl' -q --allow-load "
                "--http 1.1 --ipv6 -t 1500ms --env staging -o df --until 5% --expect p95<200ms --expect 'errors < 1 %'",
                PingCommand(
                    CallOptions(http="1.1", family="ipv6", timeout_s=1.5, env="staging", out="df"),
                    Plan(
                        count=9,
                        duration_s=120.0,
                        rate_hz=2.5,
                        concurrency=4,
                        warmup=3,
                        cold=True,
                        label="my run",
                        allow_load=True,
                    ),
                    journal="a b.jsonl",
                    quiet=True,
                    until=0.05,
                    expect=("p95<200ms", "errors<1%"),
                ),
            ),
            (
                "connection --ipv4 --http 2 --widget",
                ConnectionCommand(CallOptions(http="2", family="ipv4", widget=True)),
            ),
            ("check", CheckCommand(CALL)),
            (
                "check --ipv6 -t 3s --env staging --strict -o r",
                CheckCommand(CallOptions(family="ipv6", timeout_s=3.0, env="staging", out="r"), strict=True),
            ),
            ("load 'a b.jsonl' -o df;", LoadCommand("a b.jsonl", None, "df", silenced=True)),
            ("load --example night -o df", LoadCommand(None, "night", "df")),
            ("watch", WatchCommand(CALL, Plan(endless=True), keep=100_000)),
            ("watch -d 8h -c 3", WatchCommand(CALL, Plan(duration_s=8 * 3600.0, concurrency=3, endless=True))),
            (
                "watch -i 2s --cold --label x --keep 7 --journal 'a b' --allow-load -t 1s --env staging --ipv4 -o w;",
                WatchCommand(
                    CallOptions(family="ipv4", timeout_s=1.0, env="staging", out="w"),
                    Plan(rate_hz=0.5, cold=True, label="x", allow_load=True, endless=True),
                    keep=7,
                    journal="a b",
                    silenced=True,
                ),
            ),
            ("watch stop;", WatchesCommand("stop", silenced=True)),
            ("watch status", WatchesCommand("status")),
            ("sandbox", SandboxCommand(None, SandboxOptions())),
            *(
                (f"sandbox {action}", SandboxCommand(action, SandboxOptions()))
                for action in ("start", "stop", "status")
            ),
            ("sandbox --seed 1", SandboxCommand("start", SandboxOptions(seed=1))),
            (
                "sandbox start --latency 20ms/60ms --server-time 5ms --fault rate_limited:0.05 --fault timeout:.95 "
                "--stall 2s@10s --stall 500ms@1m --retry-after 2s --seed 7 --port 8080",
                SandboxCommand(
                    "start",
                    SandboxOptions(
                        latency="20ms/60ms",
                        server_time="5ms",
                        faults=("rate_limited:0.05", "timeout:.95"),
                        stalls=("2s@10s", "500ms@1m"),
                        retry_after_s=2,
                        seed=7,
                        port=8080,
                    ),
                ),
            ),
            ("tutorial", TutorialCommand(None)),
            ("tutorial 01_first_ping;", TutorialCommand("01_first_ping", silenced=True)),
            *((line, VersionCommand()) for line in ("version", "--version", "-V")),
            ("help", HelpCommand(None)),
            *((f"help {topic}", HelpCommand(topic)) for topic in ("ping", "columns", "errors", "settings", "card")),
        ],
    )
    def test_a_line_means_a_command(self, line: str, command: Command) -> None:
        assert parse_line(line) == command

    @pytest.mark.parametrize("spelling", ["-h", "--help"])
    @pytest.mark.parametrize(
        ("line", "topic"),
        [("", None), ("ping", "ping"), ("ping -n 5 --bad", "ping"), ("sandbox start", "sandbox"), ("pnig", None)],
    )
    def test_help_may_stand_behind_any_command(self, line: str, topic: str | None, spelling: str) -> None:
        assert parse_line(f"{line} {spelling}") == HelpCommand(topic)

    @pytest.mark.parametrize("line", [";", "ping;", "ping ; ", "ping -n 5;", "connection  ;", "sandbox;", "help;"])
    def test_a_trailing_semicolon_silences(self, line: str) -> None:
        assert parse_line(line).silenced
        assert not parse_line(line.replace(";", "")).silenced


class TestSpelling:
    @pytest.mark.parametrize(
        "spelling", ["-n 5", "-n5", "-n=5", "--count 5", "--count=5", '"-n" "5"', "-n\N{NO-BREAK SPACE}5"]
    )
    def test_a_value_follows_its_option_in_any_usual_way(self, spelling: str) -> None:
        assert parse_line(f"ping {spelling}") == PingCommand(CALL, FIVE)

    @pytest.mark.parametrize(
        ("text", "count"),
        [("1e3", 1000), ("1k", 1000), ("1_000", 1000), ("1.5k", 1500), ("1.001k", 1001), ("2M", 2_000_000)],
    )
    def test_a_count_is_written_as_people_do(self, text: str, count: int) -> None:
        assert plan(f"ping -n {text}").count == count
        assert plan(f"ping -n{text} -w {text}").warmup == count

    @pytest.mark.parametrize(
        ("text", "rate_hz"),
        [
            *(("-r 5", 5), ("-r 5/s", 5), ("-r '5 /s'", 5), ("-r 0.2", 0.2), ("-r 1e-1", 0.1), ("-r 1k/s", 1000)),
            *(("-r max", None), ("-rmax", None), ("-i 250ms", 4), ("-i 0.2", 5)),
        ],
    )
    def test_a_rate_is_written_as_people_do(self, text: str, rate_hz: float | None) -> None:
        assert plan(f"ping -n 5 {text}").rate_hz == rate_hz

    @pytest.mark.parametrize(
        ("line", "bare"),
        [
            ("ping -n 5 # five", "ping -n 5"),
            ("ping -n 5;  # five; it's enough", "ping -n 5;"),
            ("ping -n 5\t#five", "ping -n 5"),
            ("# nothing", ""),
            ("ping --label 'a #b' -n 5 # c", "ping --label 'a #b' -n 5"),
            ("load run#2.jsonl # the second", "load run#2.jsonl"),
        ],
    )
    def test_what_follows_white_space_and_a_number_sign_is_a_comment(self, line: str, bare: str) -> None:
        assert parse_line(line) == parse_line(bare)

    def test_options_come_in_any_order(self) -> None:
        assert parse_line("sandbox --seed 1 start") == parse_line("sandbox start --seed 1")

    @pytest.mark.parametrize(
        ("typed", "label"),
        [
            ("run#2", "run#2"),
            (r"C:\new\table", r"C:\new\table"),
            ("'a  b'", "a b"),
            ("a'b c'd", "ab cd"),
            ('"it\'s"', "it's"),
            ("größe", "größe"),
        ],
    )
    def test_quotes_group_and_nothing_else_is_special(self, typed: str, label: str) -> None:
        assert plan(f"ping -n 5 --label {typed}").label == label
        assert plan(f"ping -n 5 --label={typed}").label == label

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("10s", 10),
            ("1.5s", 1.5),
            (".5s", 0.5),
            ("200ms", 0.2),
            ("50us", 5e-5),
            ("50µs", 5e-5),
            ("50μs", 5e-5),
            ("9ns", 9e-9),
            ("2min", 120),
            ("1m", 60),
            ("'1 s'", 1),
            ("1h", 3600),
            ("2", 2),
            ("0.2", 0.2),
            ("1_0s", 10),
        ],
    )
    def test_a_time_without_a_unit_is_in_seconds(self, text: str, seconds: float) -> None:
        assert ping(f"ping -t {text}").call.timeout_s == pytest.approx(seconds)

    def test_a_variable_is_named_as_python_looks_it_up(self) -> None:
        assert ping("ping -o ﬁne").call.out == "fine"
        assert ping("ping -o match").call.out == "match"


class TestMistakes:
    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ("pnig", "did you mean ping?"),
            ("conn", "did you mean connection?"),
            ("PING", "did you mean ping?"),
            ("xyzzy", "The commands are ping, connection, check, watch, load, sandbox, tutorial, version, help."),
            ("-n 5", "A command comes before its options"),
            ("ping --coutn 5", "ping has no such option; did you mean --count? See %donutwork help ping."),
            ("ping --dur 5s", "did you mean --duration?"),
            ("ping -count 5", "did you mean --count?"),
            ("ping -N 5", "did you mean -n?"),
            ("ping -x", "ping has no such option. See %donutwork help ping."),
            ("ping --", "ping has no such option."),
            ("ping cold", "ping takes options only; did you mean --cold?"),
            ("ping 5", "ping takes options only. See %donutwork help ping."),
            ("ping --col", "ping has no such option; did you mean --cold?"),
            ("ping --ipv", "ping has no such option; did you mean --ipv4 or --ipv6?"),
            (
                "connection --coutn 5",
                "connection has no such option; did you mean --out? --count is an option of ping. See %d",
            ),
            (
                "load --lable x",
                "load has no such option. --label is an option of ping and watch. See %donutwork help load.",
            ),
            ("connection -n 5", "connection has no -n: it is an option of ping."),
            ("ping --seed 1", "ping has no --seed: it is an option of sandbox and %%donutwork."),
            ("ping -n 5 --blocks 2", "ping has no --blocks: it is an option of %%donutwork."),
            ("check -n 5", "check has no -n: it is an option of ping."),
            ("check --widget", "check has no --widget: it is an option of ping and connection."),
            ("sandbox --http 2", "sandbox has no --http: it is an option of ping, connection, check and watch."),
            ("ping --strict", "ping has no --strict: it is an option of check."),
            ("sandbox strat", "did you mean start? It is one of start, stop, status."),
            ("sandbox start stop", "sandbox takes one action"),
            ("sandbox stop --seed 1", "sandbox stop takes no options: --seed applies when it starts."),
            ("sandbox status --fault timeout:1", "sandbox status takes no options: --fault applies when it starts."),
            ("help pign", "did you mean ping?"),
            ("wacth", "did you mean watch?"),
            ("watch -n 5", "watch has no -n: it is an option of ping."),
            ("watch --widget", "watch has no --widget: it is an option of ping and connection."),
            ("watch --keep 0", "--keep needs a whole number from 1 to "),
            ("watch -r 5 -i 1s", "-r and -i exclude each other"),
            ("watch cold", "watch has no such action; did you mean --cold? It is one of stop, status."),
            ("watch stpo", "watch has no such action; did you mean stop? It is one of stop, status."),
            ("watch stop stop", "watch takes one action, not more."),
            ("watch stop -r 5", "watch stop takes no options: -r applies when a watch starts."),
            ("load", "load needs the name of a file, or --example NAME for a journal of this package."),
            ("load x --example night", "load takes a file or --example, not both."),
            ("load a b", "load takes one FILE: put it in quotes if it has blanks."),
            ("load a --cold", "load has no --cold: it is an option of ping and watch."),
            ("load \ud800", "load needs the name of a file, in quotes where it has blanks."),
            ("ping -n 2 --journal \ud800", "--journal needs the name of a file, in quotes where it has blanks."),
            ("ping -n 2 --journal", "--journal needs the name of a file, in quotes where it has blanks."),
            ("watch --label \ud800 --journal a", "--label needs a label of 1 to 64 printable characters."),
            ("load --example a/b", "--example needs a name: letters, digits, _, - and dots."),
            ("tutorial a b", "tutorial takes one NAME"),
            ("tutorial a/b", "tutorial needs a name"),
            ("version 5", "version takes nothing. See %donutwork help version."),
            ("help colums", "help has no such subject; did you mean columns?"),
            ('ping --label "a', "A quote is not closed"),
            ("ping --label it's", "A quote is not closed"),
        ],
    )
    def test_a_wrong_word_gets_the_nearest_right_one(self, line: str, says: str) -> None:
        assert says in refusal(line)

    @pytest.mark.parametrize(
        "count",
        [
            "0",
            "x",
            "-5",
            "1.5",
            "1__000",
            "1e-3",
            "1kk",
            "1e99",
            "\N{ARABIC-INDIC DIGIT FIVE}",
            "",
            "9" * 5000,
            "--cold",
        ],
    )
    def test_a_count_is_a_whole_number_from_one(self, count: str) -> None:
        assert refusal(f"ping -n {count}").startswith("-n needs a whole number from 1 to ")

    @pytest.mark.parametrize(
        "rate", ["0", "-1", "x", "nan", "inf", "1e999", "1e-300", "5/m", "/s", "\N{ARABIC-INDIC DIGIT FIVE}", "0x5", ""]
    )
    def test_a_rate_is_a_number_above_zero_or_max(self, rate: str) -> None:
        assert refusal(f"ping -n 5 -r {rate}").startswith("-r needs pings per second above 0")

    @pytest.mark.parametrize(
        "duration",
        ["0", "0s", "-1s", "721h", "0.1ns", "1d", "1__0s", "1e999", "\N{ARABIC-INDIC DIGIT FIVE}s", "1h30min", "s", ""],
    )
    def test_a_duration_is_above_zero_and_in_known_units(self, duration: str) -> None:
        assert refusal(f"ping -t {duration}") == (
            "-t needs a time above 0, up to 720h, such as 10s, 200ms or 1m; without a unit it is in seconds."
        )

    @pytest.mark.parametrize("share", ["0%", "100%", "5", "0.05", "-5%", "x%", "%", ""])
    def test_until_is_a_percentage(self, share: str) -> None:
        assert refusal(f"ping -n 5 --until {share}") == (
            "--until needs a percentage above 0% and below 100%, such as 5%."
        )

    @pytest.mark.parametrize(
        "limit",
        [
            "p95",
            "p95<",
            "p95<200",
            "p95>200ms",
            "p95=200ms",
            "p0<1s",
            "p100<1s",
            "seq.p50<1ms",
            "nothing_ms.p50<1ms",
            "errors<1",
            "errors<0%",
            "errors<100%",
            "mean<1s",
            "",
        ],
    )
    def test_an_expectation_is_an_upper_limit_with_its_unit(self, limit: str) -> None:
        assert refusal(f"ping -n 5 --expect {limit}") == (
            "--expect needs a limit with its unit, such as p95<200ms, ttfb_ms.p50<=40ms, max<1s or errors<1%."
        )

    @pytest.mark.parametrize("limit", ["p95<200ms", "p99.9<=1m", "ttfb_ms.p50<=40ms", "max<1s", "errors<=0.5%"])
    def test_and_so_are_these(self, limit: str) -> None:
        assert ping(f"ping -n 5 --expect {limit}").expect == (limit,)

    @pytest.mark.parametrize("stall", ["2s", "@10s", "2s@", "0s@1s", "2s@-1s", "2s@x", "2s@1s@1s", ""])
    def test_a_stall_has_a_length_and_a_time(self, stall: str) -> None:
        assert refusal(f"sandbox --stall {stall}") == ("--stall needs LENGTH@START, such as 2s@10s.")

    @pytest.mark.parametrize(
        "line",
        [
            "ping -n $m",
            "ping -n$m",
            "ping --count=$m",
            "ping -n {m}",
            "ping -n {m * 2}",
            "ping -n 5 --label $name",
            "ping -n 5 --journal $folder/x.jsonl",
            "ping $options",
            "load $file",
            "load {file}",
            "sandbox $action",
        ],
    )
    def test_a_variable_that_is_not_defined_is_said_to_be_so(self, line: str) -> None:
        assert refusal(line) == "A $variable or {expression} on the line is not defined: define it in a cell above."

    def test_an_amount_in_a_label_is_no_variable(self) -> None:
        assert plan("ping -n 5 --label $5").label == "$5"

    @pytest.mark.parametrize("name", ["1abc", "class", "None", "a-b", "a.b", "__x__", "__all__", "-", ""])
    def test_out_is_the_name_of_a_variable(self, name: str) -> None:
        assert refusal(f"ping -o {name}").startswith("-o needs a variable's name")

    @pytest.mark.parametrize("label", ["''", "' '", "a\x00b", "\ud800", "\u202e", "x" * 65, "--cold", ""])
    def test_a_label_is_short_and_printable(self, label: str) -> None:
        assert "--label needs a label of 1 to 64 printable characters" in refusal(f"ping -n 5 --label {label}")

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ("ping --http 4", "--http needs one of auto, 1.1, 2, 3."),
            ("ping --http h2", "did you mean 2?"),
            ("ping --env prod", "--env needs one of staging, production; did you mean production?"),
            ("ping -n 5 -c 0", "-c needs a whole number from 1 to 256."),
            ("ping -n 5 -c 257", "-c needs a whole number from 1 to 256."),
            ("ping -n 5 -w -1", "-w needs a whole number from 0 to "),
            ("sandbox --port 65536", "--port needs a whole number from 0 to 65535."),
            ("sandbox --retry-after 500ms", "--retry-after needs whole seconds"),
            ("sandbox --retry-after 25h", "--retry-after needs whole seconds, up to 24h"),
            ("sandbox --latency 20", "--latency needs a delay up to 60s such as 20ms"),
            ("sandbox --latency 60ms/20ms", "--latency needs a delay"),
            ("sandbox --latency 1ms/2ms/3ms", "--latency needs a delay"),
            ("sandbox --latency 61s", "--latency needs a delay"),
            ("sandbox --server-time 0ms", "--server-time needs a delay"),
            ("sandbox --fault timeut:0.5", "did you mean timeout?"),
            ("sandbox --fault timeout", "--fault needs KIND:SHARE"),
            ("sandbox --fault timeout:0", "--fault needs KIND:SHARE"),
            ("sandbox --fault timeout:1.1", "--fault needs KIND:SHARE"),
            ("sandbox --fault timeout:nan", "--fault needs KIND:SHARE"),
            ("sandbox --fault timeout:0.1 --fault timeout:0.2", "--fault needs each KIND once"),
            ("sandbox --fault timeout:0.1 --fault hang:0.2", "--fault needs each KIND once"),
            ("sandbox --fault hnag:0.1", "did you mean hang?"),
            ("sandbox --fault slwo:0.1", "did you mean slow?"),
            ("sandbox --fault timeout:0.6 --fault schema:0.5", "--fault needs shares that add up to 1 at most"),
        ],
    )
    def test_a_wrong_value_is_told_what_the_option_needs(self, line: str, says: str) -> None:
        assert says in refusal(line)

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ("ping -n 5 -n 6", "-n is given twice"),
            ("ping -n 5 --count 6", "--count is given twice"),
            ("ping --ipv4 --ipv6", "--ipv4 and --ipv6 exclude each other"),
            ("ping -n 5 -r 5 -i 200ms", "-r and -i exclude each other"),
            ("ping --widget -n 5", "--widget is for a single call"),
            ("ping -d 5s --widget", "--widget is for a single call"),
            ("ping -n 5 --cold=1", "--cold takes no value"),
            ("ping -n 5 -qc 2", "-q takes no value"),
        ],
    )
    def test_options_that_contradict_are_refused(self, line: str, says: str) -> None:
        assert says in refusal(line)

    @pytest.mark.parametrize(
        "option",
        [
            *("-r 5", "-i 200ms", "-c 2", "-w 5", "--cold", "--label x", "--journal x", "-q", "--allow-load"),
            *("--until 5%", "--expect max<1s"),
        ],
    )
    def test_an_option_of_a_series_needs_a_series(self, option: str) -> None:
        spelling = option.split(maxsplit=1)[0]
        assert refusal(f"ping {option}") == f"{spelling} is for a series: add -n N (how many) or -d 30s (how long)."

    @pytest.mark.parametrize("line", ["ping --cou 5", "ping --ipv", "sandbox --s 1"])
    def test_long_options_are_not_abbreviated(self, line: str) -> None:
        assert "no such option" in refusal(line)


class TestKeys:
    @pytest.mark.parametrize(
        "line",
        [
            "ping --key {}",
            "ping --key={}",
            "ping --api-key {}",
            "ping --apikey {}",
            "ping --api_key={}",
            "ping --API-KEY {}",
            "ping --token {}",
            "ping --secret {}",
            "ping -k {}",
            "ping -k{}",
            "--key {}",
            "pnig --key {}",
            "ping --label --key {}",
            "key {}",
            "ping key={}",
            "DONUTWORK_API_KEY={}",
        ],
    )
    def test_there_is_no_option_for_a_key(self, line: str) -> None:
        message = refusal(line.format(KEY))
        assert message.startswith("There is no option for a key: set the environment variable DONUTWORK_API_KEY")
        assert "rotate it" in message
        assert KEY not in message

    @pytest.mark.parametrize("line", [f"ping {KEY}", f"ping --label={KEY}", f"x{KEY}y", f'ping "{KEY}', f"--key {KEY}"])
    def test_a_line_with_the_current_key_is_refused_before_all_else(self, line: str) -> None:
        message = refusal(line, {"rate": "bad"}, keys=(KEY,))
        assert message.startswith("The line contains the current API key; nothing was sent. Rotate it")
        assert KEY not in message

    @pytest.mark.parametrize(
        ("header", "body"), [(f"--label {KEY}", "ping"), ("", f"ping\n# {KEY}"), ("", f"{KEY}: ping")]
    )
    def test_a_cell_with_the_current_key_is_refused_even_in_a_comment(self, header: str, body: str) -> None:
        message = cell_refusal(header, body, keys=(KEY,))
        assert message.startswith("The cell contains the current API key")
        assert KEY not in message

    @pytest.mark.parametrize(
        "line",
        [
            "{}",
            "ping {}",
            "connection {}",
            "pnig {}",
            "sandbox {}",
            "help {}",
            "ping -n {}",
            "ping -n5{}",
            "ping -t {}",
            "ping --env {}",
            "ping --env={}",
            "ping --http {}",
            "ping -{}",
            "ping --{}",
            "ping --{}=1",
            'ping "{}',
            "connection --label {}",
            "ping -n 5 -o 1{}",
            "sandbox --fault {}:1",
            "sandbox --latency {}",
        ],
    )
    @pytest.mark.parametrize("key", [KEY, "Kx81mZq0vTnR57yE", "2f6a41c0-9d3b-4c1e-8f57-0a9be1d27c35"])
    def test_a_refused_line_with_what_may_be_another_key_says_to_rotate_it(self, line: str, key: str) -> None:
        for message in (refusal(line.format(key)), cell_refusal("", "ping -n 5", line.format(key))):
            assert message.endswith(
                "If you typed a real key, rotate it in the Donutwork dashboard, and clear this cell."
            )
            assert key not in message

    @pytest.mark.parametrize(
        "line",
        [
            "pnig",
            "ping --coutn 5",
            "ping -n 5 --label cold-2026-11-24 -x",
            "ping -n 5 --label 20261124T083000 -x",
            "sandbox --fault conection_lost:0.05",
            "sandbox --latency 20ms/60ms --server_time=1ms",
            "ping -n 100000000000",
        ],
    )
    def test_a_refused_line_without_one_does_not(self, line: str) -> None:
        assert "otate" not in refusal(line)

    def test_a_default_with_the_current_key_is_refused(self) -> None:
        message = refusal("ping", {"env": KEY}, keys=(KEY,))
        assert message.startswith(
            "The default that %config sets contains the current API key; nothing was sent. Rotate it"
        )
        with pytest.raises(GrammarError, match="%config sets contains the current API key"):
            parse_cell("", "ping", defaults={"timeout": f"x{KEY}"}, holds_key=lambda text: KEY in text)

    def test_a_label_may_speak_of_keys(self) -> None:
        assert plan("ping -n 5 --label key=new").label == "key=new"
        assert cell("", "new key: ping", "token: ping").lines[0].label == "new key"


class TestConfig:
    def test_the_configurable_defaults_are_these(self) -> None:
        assert {name: option.default for name, option in o.CONFIGURABLE.items()} == {
            "rate": "5",
            "concurrency": "1",
            "warmup": "0",
            "cold": "",
            "quiet": "",
            "http": "auto",
            "timeout": "10s",
            "env": "",
            "widget": "",
        }

    @pytest.mark.parametrize(
        ("line", "defaults", "command"),
        [
            (
                "connection",
                {"timeout": "5s", "env": "staging", "http": "2", "widget": True},
                ConnectionCommand(CallOptions("2", None, 5.0, "staging", None, widget=True)),
            ),
            (
                "check",
                {"http": "2", "timeout": "3s", "rate": 9, "widget": True},
                CheckCommand(CallOptions("2", timeout_s=3.0)),
            ),
            (
                "watch",
                {"rate": 2, "timeout": "3s", "widget": True},
                WatchCommand(CallOptions(timeout_s=3.0), Plan(rate_hz=2.0, endless=True)),
            ),
            ("watch stop", {"rate": 2}, WatchesCommand("stop")),
            # A number may be a number, and None is not set.
            (
                "ping -n 5",
                {"rate": 10, "concurrency": 2, "warmup": 3, "http": 1.1, "cold": True, "timeout": None},
                PingCommand(CallOptions("1.1"), Plan(count=5, rate_hz=10.0, concurrency=2, warmup=3, cold=True)),
            ),
            ("ping -n 5", {"rate": "max"}, PingCommand(CALL, Plan(count=5, rate_hz=None))),
            # A line wins.
            ("ping -n 5 -i 500ms", {"rate": 10}, PingCommand(CALL, Plan(count=5, rate_hz=2.0))),
            # An option of a series neither makes nor needs one.
            ("ping", {"rate": 10, "cold": True, "quiet": True}, PingCommand(CALL)),
            # A widget is for single calls only.
            ("ping", {"widget": True}, PingCommand(replace(CALL, widget=True))),
            ("ping -n 5", {"widget": True}, PingCommand(CALL, FIVE)),
            # A bad one does not stand in the way of help.
            ("help", {"rate": "fast"}, HelpCommand(None)),
        ],
    )
    def test_they_are_defaults_of_each_command(self, line: str, defaults: dict[str, object], command: Command) -> None:
        assert parse_line(line, defaults=defaults) == command

    def test_a_cell_has_no_widget_by_default(self) -> None:
        assert not cell("", "ping", defaults={"widget": True}).lines[0].command.call.widget

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("rate", "fast"),
            ("rate", True),
            ("rate", float("nan")),
            ("concurrency", 2.5),
            ("warmup", [1]),
            ("timeout", "5d"),
            ("http", "4"),
            ("env", ""),
            ("cold", "yes"),
            ("widget", 1),
        ],
    )
    @pytest.mark.parametrize("line", ["ping", "ping -n 5 -r 5", "connection"])
    def test_a_bad_one_is_named_at_the_next_call(self, name: str, value: object, line: str) -> None:
        assert refusal(line, {name: value}).startswith(f"%config DonutworkMagics.{name} needs ")


class TestCells:
    def test_each_line_is_a_command_with_its_label(self) -> None:
        made = cell("", "# a comment", "", "cold:  ping -n 5 --cold", "  ping  -n 5", "who: connection", "   # end")
        assert [line.label for line in made.lines] == ["cold", "ping -n 5", "who"]
        assert made.lines[2].command == ConnectionCommand(CALL)
        assert [each.label for each in cell_plans(made) if each] == ["cold", "ping -n 5"]
        assert (made.out, made.silenced) == (None, False)

    def test_the_header_gives_defaults_and_a_line_wins(self) -> None:
        made = cell("-n 100 -r 5 --ipv4 -t 1s", "a: ping", "b: ping -n 5 -i 500ms --ipv6", "c: connection")
        first, second = cell_plans(made)
        assert first is not None
        assert (first.count, first.rate_hz) == (100, 5.0)
        assert second is not None
        assert (second.count, second.rate_hz) == (5, 2.0)
        assert [line.command.call.family for line in made.lines] == ["ipv4", "ipv6", "ipv4"]
        assert {line.command.call.timeout_s for line in made.lines} == {1.0}

    def test_config_yields_to_the_header(self) -> None:
        made = cell("-n 5 -r 7", "ping", "ping --cold", defaults={"rate": 10, "concurrency": 3})
        assert [(each.rate_hz, each.concurrency) for each in cell_plans(made) if each] == [(7.0, 3), (7.0, 3)]

    def test_where_all_are_pings_each_is_a_series(self) -> None:
        assert [each.count for each in cell_plans(cell("", "a: ping", "b: ping -n 5")) if each] == [1, 5]

    def test_a_duration_is_a_series_already(self) -> None:
        first, second = cell_plans(cell("-d 1s", "a: ping", "b: ping --cold"))
        assert first is not None
        assert first.count is None
        assert second is not None
        assert second.count is None

    def test_one_ping_or_a_ping_beside_a_connection_stays_single(self) -> None:
        assert cell_plans(cell("", "ping")) == [None]
        assert cell_plans(cell("", "ping", "connection")) == [None]

    def test_a_series_option_of_the_header_is_for_the_series_among_the_lines(self) -> None:
        single, many = cell_plans(cell("-r 9", "a: ping", "b: ping -n 5", "c: connection"))
        assert single is None
        assert many is not None
        assert many.rate_hz == 9.0

    def test_out_of_the_header_is_the_cells_own(self) -> None:
        made = cell("-o df", "a: ping", "b: ping -o mine")
        assert made.out == "df"
        assert [line.command.call.out for line in made.lines] == [None, "mine"]

    def test_a_label_may_be_given_by_the_option(self) -> None:
        assert [line.label for line in cell("", "ping -n 5 --label a", "b: ping -n 5").lines] == ["a", "b"]

    def test_a_line_without_a_label_is_labelled_by_as_much_of_its_text_as_a_label_holds(self) -> None:
        long = "ping -n 5 --journal " + "x" * 100
        first, second = cell_plans(cell("", long, "ping -n 5 --journal 'a\x07b'"))
        assert first is not None
        assert first.label == f"{long[:63]}…"
        assert second is not None
        assert second.label == "ping -n 5 --journal 'a\N{REPLACEMENT CHARACTER}b'"
        assert "the same label" in cell_refusal("", long, f"{long}y")

    def test_a_label_may_be_a_commands_name(self) -> None:
        assert [line.label for line in cell("", "ping: connection", "load: ping").lines] == ["ping", "load"]

    @pytest.mark.parametrize(
        ("header", "last"), [(";", "ping"), ("--ipv4 ;", "ping"), ("", "ping;"), ("", "ping ;\n# end\n")]
    )
    def test_a_semicolon_after_header_or_last_command_silences(self, header: str, last: str) -> None:
        made = cell(header, "a: connection", last)
        assert made.silenced
        assert made.lines[1].label == "ping"

    def test_a_semicolon_on_another_line_silences_that_line(self) -> None:
        made = cell("", "a: ping;", "b: ping")
        assert not made.silenced
        assert [line.command.silenced for line in made.lines] == [True, False]

    def test_a_comment_may_follow_a_line_and_the_header(self) -> None:
        made = cell("-n 5 # each", "run #1: ping # a: b", "ping --cold;  # it's cold", "   # end")
        assert [line.label for line in made.lines] == ["run #1", "ping --cold"]
        assert [plan.count for plan in cell_plans(made) if plan] == [5, 5]
        assert made.silenced

    def test_blocks_and_seed_are_the_cells(self) -> None:
        made = cell("-n 100 --blocks 20 --seed 7", "a: ping", "b: ping -d 1s --cold")
        assert (made.blocks, made.seed) == (20, 7)
        assert (cell("", "ping").blocks, cell("", "ping").seed) == (None, None)

    def test_until_and_expect_of_the_header_are_for_each_series(self) -> None:
        made = cell("-n 100 --until 5% --expect p95<1s", "a: ping", "b: ping --expect max<2s")
        commands = [line.command for line in made.lines if isinstance(line.command, PingCommand)]
        assert [command.until for command in commands] == [0.05, 0.05]
        assert [command.expect for command in commands] == [("p95<1s",), ("max<2s",)]

    def test_one_line_has_until_as_its_own(self) -> None:
        (only,) = cell("", "ping -n 9 --until 5%").lines
        assert isinstance(only.command, PingCommand)
        assert only.command.until == 0.05

    def test_windows_line_ends_do_not_matter(self) -> None:
        assert parse_cell("-n 5\r", "a: ping\r\nb: ping --cold\r\n") == cell("-n 5", "a: ping", "b: ping --cold")

    @pytest.mark.parametrize(
        ("header", "lines", "says"),
        [
            # The header is line 1, as an editor counts.
            ("", ["ping", "ping -n x"], "line 3: -n needs a whole number"),
            ("", ["# x", "", "pnig"], "line 4: Unknown command; did you mean ping?"),
            ("", ["a: pnig"], "line 2: Unknown command; did you mean ping?"),
            ("", ["connection", "ping -r 5"], "line 3: -r is for a series"),
            ("", ["ping 5"], "line 2: ping takes options only"),
            ("", ["sandbox start", "ping"], "line 2: sandbox is not allowed in a cell"),
            ("", ["check"], "line 2: check is not allowed in a cell: run it as a line, %donutwork check."),
            ("", ["a: help"], "line 2: help is not allowed in a cell"),
            ("", ["ping --widget"], "line 2: --widget is not allowed in a cell"),
            ("", ["a:"], "line 2: A command is missing"),
            ("", [": ping"], "line 2: The text before the colon needs a label"),
            ("", ["x: ping -n 5 --label y"], "line 2: The line has two labels"),
            ("", ["a: ping", "a: ping -n 5"], "line 3: A line above has the same label"),
            ("", ["ping -n 5", "ping  -n 5"], "line 3: A line above has the same label"),
            ("", ["ping -n 5 --label a", "a: ping"], "line 3: A line above has the same label"),
            ("--label a", ["ping -n 5"], "%%donutwork has no --label"),
            ("-o df", ["a: ping", "b: ping -o df"], "line 3: -o names a variable that the cell fills already"),
            ("", ["a: ping -o x", "b: ping -o x"], "line 3: -o names a variable that the cell fills already"),
            ("", ["ping --key"], "line 2: There is no option for a key"),
            ("", ["ping '"], "line 2: A quote is not closed"),
            ("", [" ", "# ping"], "The cell has no command"),
            ("ping -n 5", ["ping"], "Only options may follow %%donutwork"),
            ("--widget", ["ping"], "%%donutwork has no --widget"),
            ("--port 1", ["ping"], "%%donutwork has no --port: it is an option of sandbox."),
            ("--xyz 2", ["ping"], "%%donutwork has no such option. See %donutwork help."),
            (
                "--blocks 2",
                ["ping"],
                "--blocks has no effect: it is for a cell of two lines or more, all pings.",
            ),
            ("--seed 1", ["ping -n 9", "connection"], "--seed has no effect: it is for a cell of two lines or more"),
            ("--blocks 0", ["ping", "ping --cold"], "--blocks needs a whole number from 1 to 1000."),
            ("--seed -1", ["ping", "ping --cold"], "--seed needs a whole number from 0 to 4294967295."),
            ("--blocks 6 -n 9", ["a: ping", "b: ping -n 5"], "line 3: The line has fewer pings than --blocks: lower"),
            ("-n 9", ["a: ping", "b: ping --until 5%"], "line 3: --until is for the whole cell: write it after"),
            ("-h", ["ping"], "help is not allowed in a cell: run it as a line, %donutwork help ping."),
            ("", ["ping --help"], "line 2: help is not allowed in a cell: run it as a line, %donutwork help ping."),
            ("", ["\ud800: ping"], "line 2: The text before the colon needs a label"),
            ("", ["ping -n $m"], "line 2: A $variable or {expression} on the line is not defined"),
            ("-n 0", ["ping"], "-n needs a whole number"),
            ("-n 5", ["connection"], "-n has no effect: the cell has no ping line."),
            ("-r 5", ["connection"], "-r has no effect: the cell has no ping line."),
            ("-r 5", ["ping", "connection"], "-r is for a series"),
        ],
    )
    def test_a_mistake_anywhere_refuses_the_whole_cell(self, header: str, lines: list[str], says: str) -> None:
        assert cell_refusal(header, *lines).startswith(says)


class TestSandboxValues:
    """What a sandbox is asked for, on a line and in a script: `SandboxOptions`."""

    @pytest.mark.parametrize(
        ("line", "made"),
        [
            ("--latency 1ns --server-time 59999999999ns", SandboxOptions("1ns", "59999999999ns")),
            ("--latency 20us/20us --server-time 0.5s/60s", SandboxOptions("20us/20us", "0.5s/60s")),
            ("--fault schema:1.0", SandboxOptions(faults="schema:1.0")),
            ("--stall 200ms@0.5s", SandboxOptions(stalls=["200ms@0.5s"])),
            ("--retry-after 24h --seed 0 --port 65535", SandboxOptions(retry_after_s=86_400, seed=0, port=65_535)),
            ("--seed 4294967295", SandboxOptions(seed=4_294_967_295)),
            *((f"--fault {kind}:.5", SandboxOptions(faults=(f"{kind}:.5",))) for kind in (*FAULTS, *ALIASES)),
        ],
    )
    def test_a_line_and_a_script_ask_for_the_same(self, line: str, made: SandboxOptions) -> None:
        assert parse_line(f"sandbox {line}") == SandboxCommand("start", made)

    def test_all_faults_together_may_share_all_replies(self) -> None:
        # Ten times 0.1 is a little more than 1.
        assert len(SandboxOptions(faults=[f"{kind}:0.1" for kind in FAULTS[:10]]).faults) == 10

    @pytest.mark.parametrize(
        "options",
        [
            *({"latency": text} for text in ("20", "ms", "-1ms", "1e3ms", "nanms", "\u0665ms", "20 ms", "20ms\n")),
            *({"server_time": text} for text in ("", "20ms/", "/60ms", "60ms/20ms", "0ms/5ms", "1s/2s/3s", "61s", 5)),
            *({"faults": [text]} for text in (KEY, f"{KEY}:0.1", f"schema:{KEY}", "schema", "schema:0", "dns:0.1", 5)),
            *({"faults": [text]} for text in ("schema:-0.1", "schema:1.1", "schema:nan", "schema:1e-1")),
            *({"faults": texts} for texts in (["slow:.1"] * 2, ["timeout:.1", "hang:.1"], ["schema:.6", "slow:.5"])),
            *(
                {"stalls": text}
                for text in (KEY, "", "@", "2s", "2s@", "@10s", "2s@-1s", "0s@1s", "2s@1s@1s", "infs@1s")
            ),
            *({"retry_after_s": value} for value in (-1, 86_401, 1.5, KEY)),
            *({"latency": KEY}, {"server_time": KEY}, {"seed": -1}, {"seed": KEY}, {"port": 65_536}),
        ],
    )
    def test_a_script_is_refused_in_one_line_that_repeats_nothing(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"^[a-z_ ]+ needs [^\n]+$") as caught:
            SandboxOptions(**options)
        assert KEY not in str(caught.value)

    def test_what_is_injected_is_told_in_a_few_words(self) -> None:
        many = SandboxOptions(latency="1ms", stalls=tuple(f"1s@{10 * at}s" for at in range(1, 9)))
        assert many.behaviour() == {"latency": "1ms", "stalls": "1s@10s, 1s@20s, 1s@30s, 1s@40s, 1s@50s and 3 more"}
        assert SandboxOptions().behaviour() == {}


class TestHelp:
    def test_every_command_and_option_is_in_the_text(self) -> None:
        for name, spec in o.SPECS.items():
            text = help_text(name)
            assert spec.examples
            for option in spec.options:
                assert ", ".join(option.flags) in text
            if spec is not o.HELP:
                assert text in docstring()
            assert f"%donutwork {name}" in help_text(None)

    def test_a_watch_and_its_calls_have_sections(self) -> None:
        watch, _, calls = help_text("watch").partition("\nThe watch\n")[2].partition("\nEach call\n")
        assert [flag in watch for flag in ("--rate", "--keep", "--journal", "--duration")] == [True] * 4
        assert [flag in calls for flag in ("--timeout", "--env", "--out")] == [True] * 3
        assert "--timeout" not in watch

    def test_it_fits_a_terminal_of_80_columns(self) -> None:
        texts = docstring(), *map(help_text, ["help", *o.REFERENCE]), config_text({"rate": 10})
        assert max(len(line) for text in texts for line in text.splitlines()) < 80

    @pytest.mark.parametrize("line", [line for spec in o.SPECS.values() for line, _ in spec.examples])
    def test_every_example_is_valid(self, line: str) -> None:
        parse_line(line.partition("%donutwork")[2])

    def test_the_example_of_a_cell_is_valid(self) -> None:
        lines = [line.strip() for line in help_text(None).splitlines()]
        header = lines.index("%%donutwork -n 100 -o df")
        body = lines[header + 1 : lines.index("", header)]
        made = cell(lines[header].removeprefix("%%donutwork"), *body)
        assert (made.out, len(made.lines)) == ("df", 2)

    def test_every_default_in_the_text_is_the_one_in_force(self) -> None:
        in_force = {
            field.name: field.default
            for made in (CallOptions, Plan, WatchCommand, SandboxOptions)
            for field in fields(made)
        }
        for option in (option for spec in o.SPECS.values() for option in spec.options if option.default):
            assert option.read(option.default) == in_force[option.setting]
            assert f"(default {option.default})" in " ".join(docstring().split())

    def test_no_two_options_of_a_command_share_a_spelling(self) -> None:
        for spec in o.SPECS.values():
            assert len(spec.spellings) == sum(len(option.flags) for option in spec.options)


def test_the_grammar_needs_neither_ipython_nor_any_dependency() -> None:
    script = (
        "import sys, donutwork_magics.grammar.cell, donutwork_magics.grammar.help\n"
        "heavy = {'IPython', 'httpx', 'pandas', 'ipywidgets', 'msgspec', 'argparse', 'asyncio', 'logging'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or None)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


FRAGMENTS = [
    *sorted({flag for spec in o.SPECS.values() for flag in (*spec.spellings, spec.name)}),
    "start",
    "5",
    "200ms",
    "max",
    "staging",
    "-1",
    "'",
    '"',
    ";",
    ":",
    "=",
    "#",
    "\n",
    "rate_limited:0.5",
]
# Marked, so that an echo of any part of a word is seen, and no word of the grammar is taken for one.
TYPED = st.text(min_size=1, max_size=20).map(lambda text: f"Zq9{text}Zq9")
PIECES = st.lists(st.one_of(st.sampled_from(FRAGMENTS), TYPED, st.text(max_size=8)), max_size=8)
TEXTS = st.builds(lambda pieces, gap: gap.join(pieces), PIECES, st.sampled_from([" ", "", "="]))


def answer(parse: Callable[[], Result]) -> Result | GrammarError:
    try:
        return parse()
    except GrammarError as error:
        return error


@given(TEXTS)
def test_any_line_is_a_command_or_one_line_without_the_users_words(line: str) -> None:
    got = answer(lambda: parse_line(line))
    if isinstance(got, GrammarError):
        assert len(str(got).splitlines()) == 1
        assert "Zq9" not in str(got)


@given(TEXTS, st.lists(TEXTS, max_size=5).map("\n".join))
def test_any_cell_is_commands_or_one_line_without_the_users_words(header: str, body: str) -> None:
    got = answer(lambda: parse_cell(header, body))
    if isinstance(got, GrammarError):
        assert len(str(got).splitlines()) == 1
        assert "Zq9" not in str(got)
    else:
        labels = [line.label for line in got.lines]
        assert len(set(labels)) == len(labels) > 0
