"""Who joins, by whose leave, and what another identity costs."""

from __future__ import annotations

from typing import Any

from consensus_lab import data
from consensus_lab.experiments import mining
from consensus_lab.experiments.cells import membership
from consensus_lab.experiments.cells.membership import LOGS, PATIENCE_NS, SYBIL
from consensus_lab.experiments.clusters import ClusterParameters, factory, leader_of
from consensus_lab.nakamoto.header import block_work
from consensus_lab.paxos.multi_messages import Reconfigure
from consensus_lab.paxos.quorum import Quorums
from consensus_lab.raft.entries import ConfChange, ConfChangeSingle, ConfChangeType
from consensus_lab.raft.requests import ChangeMembership
from consensus_lab.report.table import DIFFERS, FROM_DATA, SIMULATED, WITHIN, Cell
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import Link

HERE = "consensus_lab.experiments.cells.joining"
NEWCOMER = 4
MS = 1_000_000
ZERO_BITS = 10
"""Zeros that the hashes of the mined headers begin with: about a thousand tries each."""


def time_to_add_ms(protocol: str, *, down: int = 0, seed: int = 1) -> float | None:
    """Milliseconds until a cluster of three has taken in a fourth; None when it never does.

    Parameters
    ----------
    protocol : str
    down : int
        How many followers are down when the leader is asked.
    """
    parameters = ClusterParameters.of({"protocol": protocol, "seed": seed})
    engine = Engine(factory(parameters), (1, 2, 3, NEWCOMER), seed=seed, links=Link(250_000))
    engine.run(until=lambda: leader_of(engine) is not None)
    leader: Any = leader_of(engine)
    for server in [server for server in (1, 2, 3) if server != leader][:down]:
        engine.crash(server)
    changed: list[int] = []
    engine.on_reply = lambda node_id, effect, now: changed.append(now)
    began = engine.now
    engine.submit(leader, _addition(protocol))
    engine.run(until=lambda: bool(changed), until_ns=began + PATIENCE_NS)
    return (changed[0] - began) / MS if changed else None


def _addition(protocol: str) -> Any:
    """The command that makes the newcomer a member."""
    if protocol == "raft":
        change = ConfChange((ConfChangeSingle(ConfChangeType.ADD_NODE, NEWCOMER),))
        return ChangeMembership("join", change)
    return Reconfigure("join", Quorums((1, 2, 3, NEWCOMER)))


def change_in_cluster(published: str, *, protocol: str, seed: int) -> Cell:
    """A member is added by an entry of the log: with a quorum at once, without one never."""
    times = [time_to_add_ms(protocol, down=down, seed=seed) for down in (0, 1, 2)]
    holds = times[0] is not None and times[1] is not None and times[2] is None
    took = ["never" if time is None else f"{time:.1f} ms" for time in times]
    return Cell(
        published, SIMULATED, WITHIN if holds else DIFFERS,
        text=f"a fourth server with 3, 2, 1 of 3 up: {', '.join(took)}",
        code=f"{HERE}:time_to_add_ms", notebook=LOGS,
        note="The change is an entry of the log, chosen like any other.",
    )  # fmt: skip


def change_in_network(published: str, found: tuple[int, int, float], *, seed: int) -> Cell:
    """A newcomer connects and mines; nobody is asked."""
    _, connected, took_s = found
    chained, mined = membership.newcomer_blocks(seed=seed)
    return Cell(
        published, SIMULATED, WITHIN if connected and chained else DIFFERS,
        text=f"joined {connected} peers in {took_s:.0f} s unasked; {chained} of its {mined} blocks "
        "count",
        code="consensus_lab.experiments.cells.membership:newcomer_blocks",
        notebook="notebooks/17_finding_peers.ipynb",
    )  # fmt: skip


def identity_in_cluster(published: str, *, protocol: str, seed: int) -> Cell:
    """Another identity is another line in a list: no work is done for it."""
    needed = membership.identities_to_take_over(protocol=protocol, seed=seed)
    return Cell(
        published, SIMULATED, WITHIN if needed == 4 else DIFFERS,
        text=f"nothing: {needed} more names are {needed} more votes",
        code="consensus_lab.experiments.cells.membership:identities_to_take_over", notebook=SYBIL,
        note="What protects a cluster is that members are admitted by its owner.",
    )  # fmt: skip


def real_work() -> tuple[float, int, str]:
    """Expected hashes for a block, from the last real header here; its height and day."""
    last = data.rows("bitcoin/period_headers.csv")[-1]
    return float(block_work(int(last["nbits_hex"], 16))), int(last["height"]), last["time_utc"][:10]


def identity_in_network(published: str, *, seed: int) -> Cell:
    """What counts is work: expected hashes per block, and real hashing that takes as many."""
    work, height, day = real_work()
    result = mining.run(mining.Parameters.of({
        "zero_bits": [ZERO_BITS], "n_searches": 100, "seed": seed,
    }))  # fmt: skip
    tries = result.measure(f"tries_mean_{ZERO_BITS}_bits")
    expected = 2.0**ZERO_BITS
    return Cell(
        published, FROM_DATA, WITHIN if tries.low <= expected <= tries.high else DIFFERS,
        value=work, low=work, high=work, unit="hashes", text=f"{work:.1e} hashes per block",
        code=f"{HERE}:real_work", notebook="notebooks/15_mining_a_block.ipynb",
        note=f"Block {height:,} of {day}. Where {expected:,.0f} are expected, {tries.value:,.0f} "
        f"({tries.low:,.0f} to {tries.high:,.0f}) were hashed here; names add nothing.",
    )  # fmt: skip
