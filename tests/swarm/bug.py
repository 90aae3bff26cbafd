"""A bug: the real protocol with one thing wrong, which the swarm must find.

Theory of operation.  A bug is a node class whose effects, log or core differ in one point, a
function that is replaced while the run lasts, or a setting that the plan would not draw.  Each
names the rule that it breaks and where the rule is stated, and what the swarm is allowed to
notice: a bug that is found for another reason is not found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from consensus_lab.node import Effects, Persist
from consensus_lab.sim.swarm import SwarmProtocol

INVARIANT, HISTORY = "invariant: ", "history: not linearizable"


@dataclass(frozen=True)
class Bug:
    """One bug.

    Attributes
    ----------
    name : str
    rule : str
        What is broken, and where it is stated.
    noticed_as : tuple of str
        The failures that may reveal it: beginnings of what the swarm prints.
    protocol : SwarmProtocol
        The broken protocol.
    replaced : tuple of (module or class, name, function)
        Functions replaced during the run.
    seeds_max : int
        The swarm must find it within that many seeds from 0 on.
    """

    name: str
    rule: str
    noticed_as: tuple[str, ...]
    protocol: SwarmProtocol
    replaced: tuple[tuple[Any, str, Callable[..., Any]], ...] = ()
    seeds_max: int = 150

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """While this lasts the functions are replaced."""
        with ExitStack() as stack:
            for owner, name, function in self.replaced:
                stack.enter_context(patch.object(owner, name, function))
            yield


class Doctored:
    """Mixed into a node class: its effects pass through `doctor` before anybody sees them."""

    __slots__ = ()

    def doctor(self, effects: Effects) -> Effects:
        """The effects as the bug has them."""
        raise NotImplementedError

    def start(self, now: int) -> Effects:
        return self.doctor(super().start(now))

    def receive(self, sender: int, message: Any, now: int) -> Effects:
        return self.doctor(super().receive(sender, message, now))

    def timer(self, name: str, now: int) -> Effects:
        return self.doctor(super().timer(name, now))

    def submit(self, command: Any, now: int) -> Effects:
        return self.doctor(super().submit(command, now))


def with_writes(effects: Effects, change: Callable[[Any, Any], Any]) -> Effects:
    """Every write changed: `change(key, value)` gives the new value, None deletes."""
    changed: Effects = []
    for effect in effects:
        if isinstance(effect, Persist):
            writes = tuple((key, change(key, value)) for key, value in effect.writes)
            effect = effect._replace(writes=writes)
        changed.append(effect)
    return changed


def written_last(effects: Effects) -> Effects:
    """Everything goes out at once; the disk comes last."""
    return sorted(effects, key=lambda effect: isinstance(effect, Persist))
