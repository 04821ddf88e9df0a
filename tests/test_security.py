"""Each promise of SECURITY.md names tests, and each of them exists."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.notebooks import ROOT

SECURITY = (ROOT / "SECURITY.md").read_text("utf-8")
NAMED = re.findall(r"`(tests/[^`]*)`", SECURITY)
PROMISES = SECURITY.partition("## Promises")[2].partition("\n## ")[0].strip().split("\n\n")


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_is_named_exists(name: str) -> None:
    path, *names = name.split("::")
    body = ast.parse((ROOT / path).read_text("utf-8")).body
    for part in names:
        (body,) = [node.body for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == part]
    assert names[-1].startswith("test_")


@pytest.mark.parametrize("promise", PROMISES)
def test_every_promise_names_a_test(promise: str) -> None:
    assert promise.startswith("**")
    assert "\n- `tests/" in promise


def test_it_is_one_page_and_the_readme_leads_there() -> None:
    assert len(PROMISES) == 9
    assert SECURITY.count("\n") < 100
    assert "](SECURITY.md)" in (ROOT / "README.md").read_text("utf-8")
