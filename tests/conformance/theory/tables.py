"""Which formula belongs to which columns.

A table is recognised by its columns, never by its file's name: the checker whose identifying
columns are all there, and the most of them, gets the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.conformance.theory.report import Row

Checker = Callable[[Row], None]


class Table(NamedTuple):
    """A kind of table.

    Attributes
    ----------
    title : str
        What it holds.
    columns : frozenset of str
        The columns that identify it.
    check : callable
        Compares the cells of a row.
    """

    title: str
    columns: frozenset[str]
    check: Checker


TABLES: list[Table] = []


def table(title: str, *columns: str) -> Callable[[Checker], Checker]:
    """Register a checker for tables that have all these columns."""

    def register(check: Checker) -> Checker:
        TABLES.append(Table(title, frozenset(columns), check))
        return check

    return register


def recognise(columns: list[str]) -> Table | None:
    """The most specific kind of table with these columns, or None."""
    fitting = [kind for kind in TABLES if kind.columns <= set(columns)]
    return max(fitting, key=lambda kind: len(kind.columns), default=None)
