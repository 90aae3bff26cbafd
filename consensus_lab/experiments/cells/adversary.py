"""What a participant who lies can do: one of three servers, and a share of the work.

The servers below are the smallest liars that break agreement.  Each stands between two honest
servers that cannot hear each other and tells each what it would like to hear.  With an honest
server in their place the same run ends with one value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from consensus_lab.client import Request
from consensus_lab.constants import CONFIRMATIONS_FOR_FINALITY, RETARGET_INTERVAL_BLOCKS
from consensus_lab.experiments.clusters import ClusterParameters, factory
from consensus_lab.experiments.intervals import proportion_interval
from consensus_lab.experiments.majority_attack import success_blocks
from consensus_lab.experiments.raft_switches import isolate
from consensus_lab.kv import Get, Put
from consensus_lab.node import Effects, Message, NodeId, Send
from consensus_lab.paxos.group import Group
from consensus_lab.paxos.messages import NO_PROPOSAL, Accept, Accepted, Prepare, Promise, Propose
from consensus_lab.paxos.single import SinglePaxos
from consensus_lab.raft.messages import (
    MsgApp,
    MsgAppResp,
    MsgHeartbeat,
    MsgHeartbeatResp,
    MsgPreVote,
    MsgPreVoteResp,
    MsgVote,
    MsgVoteResp,
)
from consensus_lab.report.table import DIFFERS, SIMULATED, WITHIN, Cell
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND, Link
from consensus_lab.sim.streams import array_stream, stream

HERE = "consensus_lab.experiments.cells.adversary"
HONEST_ENDS, BETWEEN = (1, 3), 2
ENOUGH_NS = 20 * NANOSECONDS_PER_SECOND
LINK = Link(250_000)
SMALL, WORRYING, LARGE = 10, 30, 55
SHARES_PERCENT = (SMALL, WORRYING, 45, 50, LARGE)
ATTACKS = 4000
HORIZON_BLOCKS = RETARGET_INTERVAL_BLOCKS // 2
"""A week of blocks: then the attacker gives up."""


class Liar:
    """A server that tells each of the others what it would like to hear.

    Parameters
    ----------
    node_id : int
    answer : callable (node_id, message) -> message or None
        What it says to whom it was asked by.
    """

    def __init__(self, node_id: NodeId, answer: Callable[[NodeId, Message], Any]) -> None:
        self.node_id, self.answer = node_id, answer

    def start(self, now: int) -> Effects:
        """It waits to be asked."""
        return []

    def receive(self, sender: NodeId, message: Message, now: int) -> Effects:
        """Yes to all."""
        answer = self.answer(self.node_id, message)
        return [] if answer is None else [Send(sender, answer)]

    def timer(self, name: str, now: int) -> Effects:
        """It has set none."""
        return []

    def submit(self, command: Any, now: int) -> Effects:
        """It takes no commands."""
        return []


def lying_acceptor(node_id: NodeId, message: Message) -> Any:
    """Promises everything, reports nothing, and accepts everything."""
    if isinstance(message, Prepare):
        return Promise(message.number, NO_PROPOSAL, None)
    return Accepted(message.number, message.value) if isinstance(message, Accept) else None


def two_faced_voter(node_id: NodeId, message: Message) -> Any:
    """Votes for everybody, follows everybody, and acknowledges every append."""
    if isinstance(message, MsgPreVote):
        return MsgPreVoteResp(node_id, message.term)
    if isinstance(message, MsgHeartbeat):
        return MsgHeartbeatResp(node_id, message.term, message.context)
    if isinstance(message, MsgVote):
        return MsgVoteResp(node_id, message.term)
    if isinstance(message, MsgApp):
        return MsgAppResp(node_id, message.term, message.index + len(message.entries))
    return None


def values_with_liar(*, is_lying: bool = True, seed: int = 1) -> list[Any]:
    """What the two ends of single-decree Paxos take for chosen, with server 2 between them."""
    group = Group.of_peers((1, 2, 3))

    def make(node_id: NodeId, disk: Any) -> Any:
        if is_lying and node_id == BETWEEN:
            return Liar(node_id, lying_acceptor)
        return SinglePaxos(node_id, disk, group=group, source=stream(seed, "proposer", node_id))

    engine = Engine(make, group.processes, seed=seed, links=LINK)
    isolate(engine, [1], [3])
    for end, value in zip(HONEST_ENDS, ("pay B", "pay C"), strict=True):
        engine.submit(end, Propose(value))
        engine.run(until_ns=engine.now + ENOUGH_NS)
    return sorted({engine.nodes[end].chosen for end in HONEST_ENDS} - {None})


def entries_with_liar(*, is_lying: bool = True, seed: int = 1) -> list[Any]:
    """What the two ends of a Raft cluster commit under one key, with server 2 between them."""
    honest = factory(ClusterParameters.of({"seed": seed}))

    def make(node_id: NodeId, disk: Any) -> Any:
        lies = is_lying and node_id == BETWEEN
        return Liar(node_id, two_faced_voter) if lies else honest(node_id, disk)

    engine = Engine(make, (1, 2, 3), seed=seed, links=LINK)
    isolate(engine, [1], [3])
    engine.run(until_ns=ENOUGH_NS)
    for end, value in zip(HONEST_ENDS, ("pay B", "pay C"), strict=True):
        engine.submit(end, Request(value, Put("fund", value)))
        engine.run(until_ns=engine.now + ENOUGH_NS)
    values = [engine.nodes[end].machine.read(Get("fund")).value for end in HONEST_ENDS]
    return sorted({value for value in values if value is not None})


def _of_liar(
    published: str, found: Callable[..., list[Any]], what: str, notebook: str, seed: int
) -> Cell:
    lied, honest = found(seed=seed), found(is_lying=False, seed=seed)
    breaks = len(lied) > 1 and len(honest) == 1
    return Cell(
        published, SIMULATED, WITHIN if breaks else DIFFERS,
        text=f"none: 1 liar of 3, and {len(lied)} values are {what}",
        code=f"{HERE}:{found.__name__}", notebook=notebook,
        note=f"With an honest server in the liar's place {len(honest)} value is {what}.",
    )  # fmt: skip


def adversary_of_paxos(published: str, *, seed: int) -> Cell:
    """One lying acceptor of three, and two values are chosen."""
    notebook = "notebooks/01_agreement_in_paxos.ipynb"
    return _of_liar(published, values_with_liar, "chosen", notebook, seed)


def adversary_of_raft(published: str, *, seed: int) -> Cell:
    """One server of three that votes twice, and two entries are committed."""
    notebook = "notebooks/18_raft_switches.ipynb"
    return _of_liar(published, entries_with_liar, "committed", notebook, seed)


def reversals(share_percent: int, *, seed: int = 1, attacks: int = ATTACKS) -> int:
    """How many payments under six confirmations are undone by somebody with that share of work.

    He mines in private from the block before the payment, until he has drawn level or a week has
    passed.
    """
    rng = array_stream(seed, "adversary", share_percent)
    ends = success_blocks(
        share_percent / 100, CONFIRMATIONS_FOR_FINALITY, HORIZON_BLOCKS, attacks, rng
    )
    return int((ends <= HORIZON_BLOCKS).sum())


def adversary_of_chain(published: str, *, seed: int) -> Cell:
    """Small shares fail nearly always, more than half of the work always succeeds."""
    found = {share: reversals(share, seed=seed) for share in SHARES_PERCENT}
    ends = [proportion_interval(found[share], ATTACKS) for share in (SMALL, LARGE)]
    holds = ends[0][2] < 0.01 and ends[1][1] > 0.99
    some = ", ".join(f"{share} %: {found[share] / ATTACKS:.1%}" for share in SHARES_PERCENT)
    mean, low, high = proportion_interval(found[WORRYING], ATTACKS)
    return Cell(
        published, SIMULATED, WITHIN if holds else DIFFERS,
        text=f"by share of work, payments undone: {some}", code=f"{HERE}:reversals",
        notebook="notebooks/41_majority_attack.ipynb", replicates=ATTACKS,
        note=f"Under {CONFIRMATIONS_FOR_FINALITY} confirmations. Half is where he always wins, not "
        f"where he begins to: {WORRYING} % of the work undo {mean:.1%} ({low:.1%} to {high:.1%}).",
    )  # fmt: skip
