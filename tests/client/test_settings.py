"""A base URL cannot take the key anywhere but to its own host, encrypted; and what is refused is not repeated."""

from __future__ import annotations

import os
from typing import Any

import pytest

from donutwork_magics.client.client import Client
from donutwork_magics.client.settings import read_setup
from donutwork_magics.errors import SettingsError

KEY = "dw_live_Kx81-mZq0.vTnR57yE_Q4"
LONG_LABEL = "a" * 64

USER = "has a user name or password in it"
QUERY = "has a query or a fragment"
HOST = "has no valid host name"
PORT = "has no valid port"
NOT_A_URL = "is not a valid URL"
HTTP = "is http, which would send the key unencrypted"
NOT_HTTPS = "is not https"
PATH = "has a path with other characters than letters, digits and . _ ~ - /"
WITH_KEY = "contains an API key"
LONG = "is too long"


def read(url: str) -> str:
    return str(read_setup({"DONUTWORK_BASE_URL": url, "DONUTWORK_API_KEY": KEY}).usable().base_url)


@pytest.mark.parametrize(
    ("url", "read_as"),
    [
        ("", "https://api.hub.donutwork.com"),
        (" https://api.hub.donutwork.com/\n", "https://api.hub.donutwork.com"),
        ("HTTPS://API.EXAMPLE.COM:443/v1/", "https://api.example.com/v1"),
        ("https://api.example.com.:8443", "https://api.example.com.:8443"),
        ("https://a_b.example.com/x/y-1.2/~z", "https://a_b.example.com/x/y-1.2/~z"),
        ("https://example.com/a/../b", "https://example.com/b"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://192.0.2.1", "https://192.0.2.1"),
        ("https://[2001:db8::1]:444", "https://[2001:db8::1]:444"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://LocalHost", "http://localhost"),
        ("http://127.0.0.1:65535", "http://127.0.0.1:65535"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("http://[::1]:1", "http://[::1]:1"),
        ("http://[::ffff:127.0.0.1]", "http://[::ffff:127.0.0.1]"),
    ],
)
def test_https_to_anywhere_and_http_to_this_machine(url: str, read_as: str) -> None:
    assert read(url) == read_as


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        # Without encryption, to what may look like this machine.
        ("http://api.hub.donutwork.com", HTTP),
        ("http://localhost.evil.com", HTTP),
        ("http://localhost.", HTTP),
        ("http://127.0.0.1.evil.com", HTTP),
        ("http://0.0.0.0", HTTP),
        ("http://[::]", HTTP),
        ("http://10.0.0.1", HTTP),
        ("http://[::ffff:10.0.0.1]", HTTP),
        ("http://127.1", HOST),
        ("http://2130706433", HOST),
        ("http://0x7f.1", HOST),
        ("https://1.2.3.4.5", HOST),
        ("https://256.1.1.1", HOST),
        # Other schemes, or none.
        ("ftp://api.example.com", NOT_HTTPS),
        ("file:///etc/passwd", NOT_HTTPS),
        ("ws://127.0.0.1", NOT_HTTPS),
        ("nonsense", NOT_A_URL),
        ("api.hub.donutwork.com", NOT_A_URL),
        ("//api.hub.donutwork.com", NOT_A_URL),
        ("https:api.hub.donutwork.com", NOT_A_URL),
        ("https:/api.hub.donutwork.com", NOT_A_URL),
        ("javascript:alert(1)", NOT_A_URL),
        # What browsers, libraries and people disagree about.
        ("https://127.0.0.1@evil.com", USER),
        ("https://user:pass@api.example.com", USER),
        ("https://@api.example.com", USER),
        ("https://:@api.example.com", USER),
        ("https://api.hub.donutwork.com\\@evil.com", NOT_A_URL),
        ("https://api\\evil.com", NOT_A_URL),
        ("https:\\\\evil.com", NOT_A_URL),
        ("https://a\tb.com", NOT_A_URL),
        ("https://a b.com", NOT_A_URL),
        ("https://a.com/\r\nHost: evil.com", NOT_A_URL),
        ("https://a.com/\x00", NOT_A_URL),
        ("https://a.com\x7f", NOT_A_URL),
        ("https://a.com?x=1", QUERY),
        ("https://a.com/?", QUERY),
        ("https://a.com#x", QUERY),
        ("https://a.com/#", QUERY),
        ("https://a.com/%3Fx", PATH),
        ("https://a.com/%0d%0ax", PATH),
        ("https://a.com/a%2520b", PATH),
        ("https://a.com/é", PATH),
        ("https://a.com/a|b", PATH),
        # Host names that are none, before the resolver or IDNA say so in their words.
        ("https://", HOST),
        ("https:///path", HOST),
        ("https://.", HOST),
        ("https://a..b", HOST),
        ("https://a.com..", HOST),
        ("https://-a.com", HOST),
        ("https://a-.com", HOST),
        ("https://a%2eb.com", HOST),
        ("https://a%00.com", HOST),
        ("https://a*.com", HOST),
        ("https://xn--", HOST),
        ("https://xn--a.com", HOST),
        ("https://xn--zzzz---a", HOST),
        ("https://b.xn--zzzz---a.com", HOST),
        ("https://xn--ls8h.com", HOST),
        ("https://💩.com", HOST),
        ("https://a\u200bb.com", HOST),
        ("https://ⓛocalhost", HOST),
        ("http://①27.0.0.1", HOST),
        ("https://a\u2028b", HOST),
        ("https://\ud800.com", HOST),
        (f"https://{LONG_LABEL}.com", HOST),
        (f"https://{'é' * 63}.com", HOST),
        (f"https://{'a.' * 130}com", HOST),
        ("https://[::1", HOST),
        ("https://[::1%25lo]", HOST),
        ("http://[::1%lo]", HOST),
        ("https://[12::34::56]", HOST),
        ("https://[api.example.com]", HOST),
        ("https://::1", HOST),
        # Ports.
        ("https://a.com:0", PORT),
        ("https://a.com:65536", PORT),
        ("https://a.com:99999999999", PORT),
        ("https://a.com:-1", PORT),
        ("https://a.com:+80", PORT),
        ("https://a.com:٣", PORT),
        ("https://a.com:8 0", NOT_A_URL),
        ("https://a.com:80:80", PORT),
        ("https://a.com:port", PORT),
        ("https://a.com/" + "a" * 3000, LONG),
    ],
    ids=ascii,
)
def test_everything_else_is_refused_in_one_line_that_does_not_repeat_it(url: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(url)
    message = f"DONUTWORK_BASE_URL {problem}. Set it to an https URL such as https://api.hub.donutwork.com"
    assert str(caught.value) == message
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize(
    "url",
    [
        f"https://{KEY}@api.example.com",
        f"https://x:{KEY}@api.example.com",
        f"https://api.example.com?key={KEY}",
        f"https://api.example.com#{KEY}",
        f"https://api.example.com/{KEY}",
        f"https://{KEY}.example.com",
        f"https://{KEY}",
        f"http://{KEY}/",
        f"https://api.example.com:{KEY}",
        f"https://api.example.com/{KEY.replace('-', '%2d')}",
        KEY,
        f"{KEY}://",
    ],
)
@pytest.mark.parametrize("variable", ["DONUTWORK_API_KEY", "DONUTWORK_STAGING_API_KEY"])
def test_a_key_inside_of_it_is_neither_sent_nor_shown(url: str, variable: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_setup({variable: KEY, "DONUTWORK_BASE_URL": url}).usable()
    assert str(caught.value).startswith(f"DONUTWORK_BASE_URL {WITH_KEY}.")
    assert KEY.lower() not in str(caught.value).lower()


@pytest.mark.parametrize(
    "settings",
    [
        {"DONUTWORK_API_KEY": f"{KEY}\n{KEY}"},
        {"DONUTWORK_API_KEY": KEY, "DONUTWORK_BASE_URL": f"https://{KEY}@api.example.com"},
        {"DONUTWORK_API_KEY": KEY, "DONUTWORK_CA_BUNDLE": f"/{KEY}"},
        {"DONUTWORK_STAGING_API_KEY": KEY},
    ],
)
def test_no_frame_of_a_failure_holds_the_environment(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    for make in (lambda: read_setup(os.environ).usable(), Client):
        with pytest.raises(SettingsError) as caught:
            make()
        # The first entry is this test's own.
        frames: list[dict[str, Any]] = [entry.frame.f_locals for entry in caught.traceback[1:]]
        assert caught.value.__cause__ is caught.value.__context__ is None
        assert not [name for frame in frames for name, value in frame.items() if KEY in repr(value)]


def test_without_a_failure_there_is_none() -> None:
    target = read_setup({"DONUTWORK_API_KEY": KEY, "DONUTWORK_BASE_URL": "https://api.example.com/v1"}).usable()
    assert (target.host, target.is_loopback) == ("api.example.com", False)
    assert KEY not in repr(target)
