"""Tally: what passed, what failed and why, and what our rules do not cover."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

FAILURES_SHOWN_PER_KIND_MAX = 50


class NotCovered(Exception):
    """A case that our rules have nothing to say about; the reason is its message."""


@dataclass
class KindTally:
    """Counts of one kind of case."""

    passed: int = 0
    failures: list[str] = field(default_factory=list)
    not_covered: dict[str, int] = field(default_factory=dict)

    @property
    def not_covered_count(self) -> int:
        """How many cases have been left out."""
        return sum(self.not_covered.values())


class Tally:
    """Counts by kind, in order of appearance."""

    def __init__(self) -> None:
        self.kinds: dict[str, KindTally] = {}

    @contextmanager
    def case(self, kind: str, name: str) -> Iterator[None]:
        """Count what happens inside: any exception but `NotCovered` is a failure."""
        tally = self.kinds.setdefault(kind, KindTally())
        try:
            yield
        except NotCovered as reason:
            tally.not_covered[str(reason)] = tally.not_covered.get(str(reason), 0) + 1
        except Exception as error:  # A crash of the judge is a failure of the case.
            tally.failures.append(f"{name}: {type(error).__name__}: {error}")
        else:
            tally.passed += 1

    def fail(self, kind: str, name: str, error: Exception) -> None:
        """Count a failure that happened elsewhere."""
        with self.case(kind, name):
            raise error

    def leave_out(self, kind: str, name: str, reason: str) -> None:
        """Count a case that is not covered."""
        with self.case(kind, name):
            raise NotCovered(reason)

    @property
    def passed(self) -> int:
        """In all."""
        return sum(tally.passed for tally in self.kinds.values())

    @property
    def failed(self) -> int:
        """In all."""
        return sum(len(tally.failures) for tally in self.kinds.values())

    @property
    def not_covered(self) -> int:
        """In all."""
        return sum(tally.not_covered_count for tally in self.kinds.values())

    def print(self, write: Callable[[str], None] = print) -> None:
        """Every failure by name, every reason for leaving out, a line per kind and one for all."""
        for kind, tally in self.kinds.items():
            for failure in tally.failures[:FAILURES_SHOWN_PER_KIND_MAX]:
                write(f"FAILED {kind}: {failure}")
            hidden = len(tally.failures) - FAILURES_SHOWN_PER_KIND_MAX
            if hidden > 0:
                write(f"FAILED {kind}: {hidden} more")
        for kind, tally in self.kinds.items():
            for reason, count in tally.not_covered.items():
                write(f"not covered, {kind}: {count} x {reason}")
        for kind, tally in self.kinds.items():
            line = f"{kind}: {tally.passed} passed, {len(tally.failures)} failed"
            left_out = tally.not_covered_count
            write(line + (f", {left_out} not covered" if left_out else ""))
        write(f"{self.passed} passed, {self.failed} failed, {self.not_covered} not covered")


def expect(actual: object, expected: object, what: str) -> None:
    """Insist that our answer is the published one."""
    if actual != expected:
        raise AssertionError(f"{what} is {actual}, published {expected}")
