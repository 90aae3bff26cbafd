"""Eras: which acceptors decide which slots, when the acceptors themselves are replaced by the log.

Theory of operation (Paxos Made Simple §3, end; "alpha" there is `window_slots` here).  The
acceptors of slot i are a function of the commands chosen in slots up to i - alpha.  A leader may
propose in slot i only when it knows all of those, so at most alpha slots are open at once, and
everybody who proposes in a slot means the same acceptors.

Why not let a reconfiguration in slot s take effect in slot s + 1?  Because slots are decided out
of order.  Leader 1 proposes a reconfiguration in slot 5, one acceptor accepts it.  Leader 2 does
not see it, gives slot 5 to a no-op that nobody accepts yet, and gets slot 6 chosen by the old
acceptors.  Leader 3 sees only the reconfiguration, gets it chosen in slot 5, and asks the new
acceptors about slot 6: they never heard of it, and slot 6 is decided twice.  With the window, slot
6 belongs to the old acceptors whatever happens in slot 5.

An era begins at a slot and lasts until the next one begins.
"""

from __future__ import annotations

from consensus_lab.node import NodeId
from consensus_lab.paxos.multi_messages import Slot
from consensus_lab.paxos.quorum import Quorums


class Eras:
    """The eras of all slots that are not yet chosen; those of chosen slots are forgotten.

    Parameters
    ----------
    eras : tuple of (slot, Quorums)
        First slot of each era, ascending; at least one.
    """

    __slots__ = ("_eras", "members")

    def __init__(self, eras: tuple[tuple[Slot, Quorums], ...]) -> None:
        assert eras
        self._eras = eras
        self.members: tuple[NodeId, ...] = ()
        self._gather()

    def __len__(self) -> int:
        return len(self._eras)

    def at(self, slot: Slot) -> Quorums:
        """The acceptors of a slot, and their quorums."""
        for first_slot, quorums in reversed(self._eras):
            if first_slot <= slot:
                return quorums
        raise AssertionError(f"slot {slot} is chosen and its era forgotten")

    def all(self) -> tuple[tuple[Slot, Quorums], ...]:
        """First slot and acceptors of each era, ascending."""
        return self._eras

    def last_slot(self, slot: Slot) -> Slot | None:
        """The last slot of that slot's era; None when no later era is known."""
        for first_slot, _ in self._eras:
            if first_slot > slot:
                return first_slot - 1
        return None

    def add(self, first_slot: Slot, quorums: Quorums) -> None:
        """A reconfiguration is chosen: these acceptors decide from that slot on."""
        assert first_slot > self._eras[-1][0], "Eras begin in the order of their commands."
        self._eras = (*self._eras, (first_slot, quorums))
        self._gather()

    def forget_before(self, slot: Slot) -> bool:
        """Drop the eras that ended before that slot; True when there were any."""
        if len(self._eras) == 1 or self._eras[1][0] > slot:
            return False
        while len(self._eras) > 1 and self._eras[1][0] <= slot:
            self._eras = self._eras[1:]
        self._gather()
        return True

    def _gather(self) -> None:
        """Everybody who is an acceptor in some era, in a fixed order."""
        self.members = tuple(sorted({m for _, q in self._eras for m in q.acceptors}))
