"""Given anything in the environment, there is a client to be had, or one line that names the variable."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from donutwork_magics import Client, SettingsError
from donutwork_magics.client.settings import read_setup
from tests.faults.calls import FOREIGN, KEY

pytestmark = pytest.mark.slow

quick = settings(max_examples=150, deadline=None, derandomize=bool(os.environ.get("CI")))

PIECES = (
    *("https", "http", "://", "//", "/", ":", "@", "?", "#", "%", "%00", "%3F", "%2F", "[", "]", "::1", "127.0.0.1"),
    *("localhost", "example.com", "a..b", "443", "0", "99999", "-1", "\u00fc", "\u3002", "\ud800", "\x00", " ", "xn--"),
)
TEXTS = st.one_of(st.text(max_size=12), st.sampled_from(PIECES))
URLS = st.one_of(
    st.lists(TEXTS, max_size=8).map("".join),
    st.lists(TEXTS, max_size=4).map(lambda parts: "https://example.com/" + "".join(parts)),
    st.lists(TEXTS, max_size=4).map(lambda parts: "https://" + "".join(parts)),
)


def check(environ: dict[str, str], variable: str) -> None:
    problem: SettingsError | None = None
    try:
        target = read_setup(environ).usable()
    except SettingsError as error:
        problem = error
    else:
        # The request is made here; nothing is sent.
        Client(target).close()
        assert target.host
        assert str(target.base_url).isprintable()
    if problem is not None:
        text = str(problem)
        assert text.startswith(variable)
        assert text.isprintable()
        assert not [word for word in FOREIGN if word in text], text
        assert problem.__context__ is None


@quick
@given(URLS)
@example("https://example.com/%00")
@example("https://example.com/%0a")
@example("https://example.com/%3Fx")
@example("https://example.com/%23x")
@example("https://example.com//x")
@example("https://example.com/a/../..")
@example("https://example.com/" + "a" * 70_000)
def test_any_base_url(url: str) -> None:
    check({"DONUTWORK_API_KEY": KEY, "DONUTWORK_BASE_URL": url}, "DONUTWORK_BASE_URL")


@quick
@given(st.one_of(st.text(max_size=40), st.text("\x20\x21\x7e\x7f\xa0\n", min_size=6, max_size=12)))
def test_any_key(key: str) -> None:
    if key.strip():
        check({"DONUTWORK_API_KEY": key}, "DONUTWORK_API_KEY")


@pytest.mark.parametrize("text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
def test_any_root(text: str, tmp_path: Path) -> None:
    file = tmp_path / "roots.pem"
    file.write_text(text)
    for path in (str(file), str(tmp_path), str(tmp_path / "none.pem"), "\x00"):
        with pytest.raises(SettingsError, match="DONUTWORK_CA_BUNDLE") as caught:
            read_setup({"DONUTWORK_API_KEY": KEY, "DONUTWORK_CA_BUNDLE": path}).usable()
        assert str(caught.value).isprintable()
        assert caught.value.__context__ is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither in its file system")
def test_a_root_in_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # A writer in the end, so that the test fails rather than waits.
    writer = threading.Timer(3.0, lambda: os.close(os.open(pipe, os.O_RDWR)))
    writer.start()
    for path in (str(pipe), "/dev/tty", "/dev/zero"):
        with pytest.raises(SettingsError, match=r"^The file that DONUTWORK_CA_BUNDLE names is no regular file\. Set "):
            read_setup({"DONUTWORK_API_KEY": KEY, "DONUTWORK_CA_BUNDLE": path}).usable()
    assert writer.is_alive()
    writer.cancel()
