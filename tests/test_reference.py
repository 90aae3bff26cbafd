"""The reference page names what users call, by the sources."""

from __future__ import annotations

import ast

import consensus_lab
from consensus_lab import reference


def test_the_names_that_a_notebook_imports_are_in_it() -> None:
    text = reference.page()
    for name in consensus_lab._NAMES:
        assert f"### {name}\n" in text, name


def test_a_call_is_written_as_it_is_typed() -> None:
    head = "def __init__(self, a: int, *b: str, c: float = 1.0, **d: int) -> None: ..."
    source = f"class C:\n    {head}"
    assert reference.signature(ast.parse(source).body[0]) == (
        "C(a: int, *b: str, c: float = 1.0, **d: int)"
    )
    fields = "class P(NamedTuple):\n    x: int\n    y: str = 'z'"
    assert reference.signature(ast.parse(fields).body[0]) == "P(x: int, y: str = 'z')"
    long = "def f(" + ", ".join(f"parameter_{n}: int" for n in range(9)) + ") -> int: ..."
    lines = reference.signature(ast.parse(long).body[0]).splitlines()
    assert lines[0] == "f(" and lines[-1] == ") -> int" and len(lines) == 11
