"""Given a key and a path, the sandbox replies as the vendor documents it."""

from __future__ import annotations

import http.client
import re
from contextlib import closing

import pytest

from donutwork_magics.sandbox.api import GRANTS, Api, Request, new_keys, rrt_text
from donutwork_magics.sandbox.process import Sandbox

from .conftest import CONNECTION, PING, address, ask, bearer, read_answer

INVALID_TOKEN = '{"error": "Invalid token"}'


@pytest.mark.parametrize("env", ["staging", "production"])
def test_a_ping_says_status_env_and_rrt_in_the_documented_order(sandbox: Sandbox, env: str) -> None:
    answer = ask(sandbox, PING, key=env)

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch(rf'{{"status": "success", "env": "{env}", "RRT": "[0-9]+\.[0-9]+ ms"}}', answer.text)
    assert answer.rrt_ms > 0


@pytest.mark.parametrize("env", ["staging", "production"])
def test_a_connection_says_who_called_and_who_answered(sandbox: Sandbox, env: str) -> None:
    headers = bearer(sandbox.key_for(env)) | {"User-Agent": "axios/1.6.0"}
    answer = ask(sandbox, CONNECTION, headers=headers)

    assert answer.status == 200
    assert answer.text == (
        '{"client": {"userAgent": "axios/1.6.0", "ips": {"ipv4": "127.0.0.1"}}, '
        f'"endpoint": {{"apiVersion": "2026-02-01", "env": "{env}", "protocol": "HTTP1.1"}}}}'
    )


def test_an_ipv6_client_is_reported_under_ipv6() -> None:
    keys = new_keys()
    request = Request("GET", CONNECTION, "1.1", {"authorization": f"Bearer {keys['staging']}"}, "::1")

    assert b'"ips": {"ipv6": "::1"}' in Api(keys).answer(request, lambda: "0.08 ms").body


@pytest.mark.parametrize("path", [PING, CONNECTION])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer sandbox_wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer \xe9"},
    ],
)
def test_a_missing_or_wrong_key_is_an_invalid_token(sandbox: Sandbox, path: str, headers: dict[str, str]) -> None:
    answer = ask(sandbox, path, headers=headers)

    assert (answer.status, answer.text) == (401, INVALID_TOKEN)
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_right_key_under_another_scheme_is_an_invalid_token(sandbox: Sandbox) -> None:
    answer = ask(sandbox, headers={"Authorization": f"Basic {sandbox.key_for('staging')}"})

    assert (answer.status, answer.text) == (401, INVALID_TOKEN)


@pytest.mark.parametrize(
    ("key", "path", "status"),
    [
        ("ping_only", PING, 200),
        ("ping_only", CONNECTION, 403),
        ("connection_only", CONNECTION, 200),
        ("connection_only", PING, 403),
    ],
)
def test_a_key_opens_only_what_it_has_the_permission_for(sandbox: Sandbox, key: str, path: str, status: int) -> None:
    answer = ask(sandbox, path, key=key)

    assert answer.status == status
    assert ("error" in answer.json) == (status == 403)
    assert '"env": "staging"' in answer.text or status == 403


def test_an_unknown_path_is_not_found(sandbox: Sandbox) -> None:
    assert ask(sandbox, "/2026-02-01/pong.json").status == 404


def test_a_query_changes_nothing(sandbox: Sandbox) -> None:
    assert ask(sandbox, PING + "?a=1").json["status"] == "success"


@pytest.mark.parametrize("method", ["HEAD", "POST"])
def test_another_method_is_not_allowed_and_the_connection_is_kept(sandbox: Sandbox, method: str) -> None:
    headers = bearer(sandbox.key_for("staging"))
    with closing(http.client.HTTPConnection(*address(sandbox), timeout=5)) as connection:
        connection.request(method, PING, body=b"{}" if method == "POST" else None, headers=headers)
        refused = read_answer(connection.getresponse())
        first_socket = connection.sock
        connection.request("GET", PING, headers=headers)
        pinged = read_answer(connection.getresponse())

        assert (refused.status, refused.headers["allow"]) == (405, "GET")
        assert pinged.status == 200
        assert connection.sock is first_socket is not None


def test_the_keys_are_distinct_and_made_anew() -> None:
    first, second = new_keys(), new_keys()

    assert set(first) == set(GRANTS)
    assert len({*first.values(), *second.values()}) == 2 * len(GRANTS)


@pytest.mark.parametrize(
    ("elapsed_ns", "text"),
    [
        (80_000, "0.08 ms"),
        (1_420_000, "1.42 ms"),
        (60_004_000, "60.00 ms"),
        (5_000, "0.01 ms"),
        (4_999, "0.004999 ms"),
        (1, "0.000001 ms"),
    ],
)
def test_rrt_has_two_decimals_and_is_never_zero(elapsed_ns: int, text: str) -> None:
    assert rrt_text(elapsed_ns) == text
