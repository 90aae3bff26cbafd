"""Classic bugs of Multi-Paxos, one each, which the swarm must find; `bug` says what a bug is."""

from __future__ import annotations

from typing import Any

from consensus_lab.node import Effects, NodeId
from consensus_lab.paxos import multi_proposing, multi_rounds
from consensus_lab.paxos.multi import MultiPaxosNode
from consensus_lab.paxos.multi_eras import Eras
from consensus_lab.paxos.multi_leader import Leadership
from consensus_lab.paxos.multi_log import PROMISED
from consensus_lab.paxos.quorum import Quorums
from tests.swarm.bug import HISTORY, INVARIANT, Bug, Doctored, with_writes, written_last
from tests.swarm.protocols import multi_paxos


class ForgetsPromise(Doctored, MultiPaxosNode):
    """What was accepted reaches the disk, what was promised does not."""

    def doctor(self, effects: Effects) -> Effects:
        return with_writes(effects, lambda key, value: None if key == PROMISED else value)


class AnswersBeforeWriting(Doctored, MultiPaxosNode):
    """Everything goes out at once; the disk comes last."""

    def doctor(self, effects: Effects) -> Effects:
        return written_last(effects)


def proposes_freely(self: Leadership, acceptor: NodeId, entries: Any) -> None:
    """Counts a promise and does not look at what it reports."""
    self.promised.add(acceptor)


WINDOW_SLOTS = 16
_add_later = Eras.add


def begins_at_once(self: Eras, first_slot: int, quorums: Quorums) -> None:
    """New acceptors decide the slot right after the command that names them."""
    _add_later(self, first_slot - WINDOW_SLOTS + 1, quorums)


UNSAFE = tuple(
    INVARIANT + rule
    for rule in ("one value per slot", "one value per ballot", "chosen is durable on a quorum",
                 "state-machine safety")
)  # fmt: skip

MULTIPAXOS_BUGS = (
    Bug(
        "promise-not-persisted", "A promise is on disk before it is given (Paxos Made Simple §3).",
        (INVARIANT + "ballots never go back", *UNSAFE),
        protocol=multi_paxos(ForgetsPromise),
    ),
    Bug(
        "accepted-before-fsync", "What is accepted is on disk before it is told (§3).",
        (INVARIANT + "ballots never go back", *UNSAFE),
        protocol=multi_paxos(AnswersBeforeWriting),
    ),
    Bug(
        "proposes-freely", "A new leader proposes what may be chosen already (§2.2, P2c).",
        UNSAFE,
        protocol=multi_paxos(),
        replaced=((Leadership, "count_promise", proposes_freely),),
    ),
    Bug(
        "reconfigures-at-once", "A slot's acceptors are known before it is opened (§3, alpha).",
        UNSAFE,
        protocol=multi_paxos(settings={"window_slots": WINDOW_SLOTS}),
        replaced=((Eras, "add", begins_at_once),),
    ),
    Bug(
        "reads-before-catching-up", "A new leader first learns what lower ballots chose.",
        (HISTORY,),
        protocol=multi_paxos(),
        replaced=((multi_rounds, "can_read", lambda state: True),),
    ),
    Bug(
        "unconfirmed-reads", "A leader makes sure that it still leads before it answers a read.",
        (HISTORY,),
        protocol=multi_paxos(settings={"check_quorum": False}),
        replaced=((multi_proposing, "add_read", multi_rounds._answer_read),),
    ),
    Bug(
        "lease-beyond-the-clocks", "A lease is safe while clocks keep within their bound.",
        (HISTORY,),
        protocol=multi_paxos(settings={"leader_lease": True, "clock_drift_ppm_max": 0}),
        seeds_max=400,
    ),
)  # fmt: skip
