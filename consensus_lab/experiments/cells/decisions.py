"""How a decision comes about: who proposes, what it costs in messages, who wins a conflict."""

from __future__ import annotations

from typing import Any

from consensus_lab.client import Request
from consensus_lab.experiments import log_measurements, reorganisation, replicated_logs
from consensus_lab.experiments.cells.membership import PATIENCE_NS
from consensus_lab.experiments.clusters import ClusterParameters, leader_of, start
from consensus_lab.experiments.log_closed_forms import System, commits_expected
from consensus_lab.experiments.raft_switches import isolate, join
from consensus_lab.kv import Put
from consensus_lab.node import NodeId
from consensus_lab.report.table import DIFFERS, SIMULATED, WITHIN, Cell
from consensus_lab.sim.trace import Trace

HERE = "consensus_lab.experiments.cells.decisions"
LOGS = "notebooks/03_multi_paxos_and_raft.ipynb"
PROPOSALS = {"raft": "MsgApp", "multi-paxos": "Accept"}
"""The message by which each protocol proposes an entry to the other servers."""

REQUESTS = 30
MINORITY, MAJORITY = "the minority", "the majority"


def messages_of_cluster(published: str, *, protocol: str, n_servers: int, seed: int) -> Cell:
    """A leader asks each follower once, each answers once: 2(n - 1), and the count says so."""
    if n_servers < 3:
        n_servers = 3
    parameters = replicated_logs.Parameters.of({"seed": seed, "n_commands": 50})
    system = System(protocol, protocol)
    found = log_measurements.commits(parameters, system, n_servers)
    law = commits_expected(parameters, system, n_servers)["messages_to_commit_expected"]
    count = found["messages_to_commit"]
    return Cell(
        published, SIMULATED, WITHIN if abs(count - law) < 1e-9 else DIFFERS,
        value=count, low=count, high=count, unit="messages",
        text=f"{count:g} among {n_servers} servers, all to or from the leader",
        code="consensus_lab.experiments.log_measurements:commits", notebook=LOGS,
        replicates=parameters.n_commands,
        note=f"2(n - 1) is {law}; with those that tell followers of the commit "
        f"{found['messages_per_command']:g}.",
    )  # fmt: skip


def messages_of_chain(published: str, race: Any) -> Cell:
    """No vote is cast: every node fetches every block once, and the rest is its own work."""
    transfers = int(race.uploads.sum())
    per_block = transfers / race.schedule.n_blocks
    others = race.network.n_nodes - 1
    return Cell(
        published, SIMULATED, WITHIN if per_block == others else DIFFERS,
        value=per_block, low=per_block, high=per_block, unit="block transfers",
        text=f"no votes; {per_block:,.0f} transfers of a block to {others:,} others",
        code="consensus_lab.gossip.race:Race.uploads",
        notebook="notebooks/20_propagation_delay.ipynb", replicates=race.schedule.n_blocks,
        note="Announcements and requests of a few bytes come on top, one on each link.",
    )  # fmt: skip


def proposers(protocol: str, *, n_servers: int = 3, seed: int = 1) -> tuple[int, list[int], int]:
    """Requests answered, who proposed their entries, and who leads, when all servers are asked."""
    trace = Trace()
    cluster = {"protocol": protocol, "n_servers": n_servers, "seed": seed}
    engine, leader = start(ClusterParameters.of(cluster), trace=trace)
    begin = len(trace)
    answers: list[Any] = []
    engine.on_reply = lambda node_id, effect, now: answers.append(effect.request_id)
    for number in range(REQUESTS):
        put = Request(number, Put(f"key{number}", "value"))
        engine.submit(1 + number % n_servers, put, engine.now + number * 10_000_000)
    engine.run(until=lambda: len(answers) == REQUESTS, until_ns=engine.now + PATIENCE_NS)
    sent = {
        record.node for record in trace.records[begin:]
        if record.event == "send" and record.kind == PROPOSALS[protocol]
        and (getattr(record.detail, "entries", ()) or getattr(record.detail, "values", ()))
    }  # fmt: skip
    return len(answers), sorted(sent), leader


def proposer_of_cluster(published: str, *, protocol: str, n_servers: int, seed: int) -> Cell:
    """Requests go to every server, entries come from one."""
    n_servers = max(2, n_servers)
    answered, sent, leader = proposers(protocol, n_servers=n_servers, seed=seed)
    holds = answered == REQUESTS and sent == [leader]
    return Cell(
        published, SIMULATED, WITHIN if holds else DIFFERS,
        text=f"{len(sent)} of {n_servers} servers proposes; {answered} of {REQUESTS} requests, "
        "put anywhere, answered",
        code=f"{HERE}:proposers", notebook="notebooks/10_raft_write.ipynb" if protocol == "raft"
        else LOGS,
    )  # fmt: skip


def proposer_of_chain(published: str, race: Any) -> Cell:
    """Blocks of many nodes, one after the other, stand on one chain."""
    import numpy

    chain = numpy.flatnonzero(race.on_chain()[1:])
    finders = len(numpy.unique(race.schedule.miner[chain]))
    n = race.network.n_nodes
    expected = n * (1 - (1 - 1 / n) ** len(chain))  # Different ones among as many equal draws.
    return Cell(
        published, SIMULATED, WITHIN if finders > 0.7 * expected else DIFFERS,
        text=f"{len(chain)} blocks of the chain by {finders} different nodes",
        code="consensus_lab.gossip.race:Race.stale_by_miner",
        notebook="notebooks/15_mining_a_block.ipynb",
        note="Every node mines alike here; in reality pools do, and whoever joins none still may.",
    )  # fmt: skip


def conflict_in_cluster(protocol: str, *, seed: int = 1) -> tuple[bool, str, int]:
    """Put different values under one key at both sides of a partition of five servers.

    Returns
    -------
    (bool, str, int)
        Whether the side of the old leader, a minority, answered before the sides met again; whose
        value comes first in the log of most servers in the end; and how many have that same log.
    """
    cluster = {"protocol": protocol, "n_servers": 5, "seed": seed}
    engine, old = start(ClusterParameters.of(cluster))
    answers: dict[Any, Any] = {}
    engine.on_reply = lambda node_id, effect, now: answers.setdefault(effect.request_id, node_id)
    applied: dict[Any, list[str]] = {server: [] for server in sorted(engine.processes)}

    def note(node_id: NodeId, effect: Any, now: int) -> None:
        if isinstance(effect.command, Request):
            applied[node_id].append(effect.command.command.value)

    engine.on_apply = note
    servers = list(applied)
    few = [old, next(server for server in servers if server != old)]
    many = [server for server in servers if server not in few]
    isolate(engine, few, many)
    engine.submit(old, Request("old", Put("key", MINORITY)))
    engine.run(until_ns=engine.now + PATIENCE_NS // 4)
    was_answered = "old" in answers
    for server in many:
        engine.submit(server, Request("new", Put("key", MAJORITY)))
    engine.run(until=lambda: "new" in answers, until_ns=engine.now + PATIENCE_NS)
    join(engine, few, many)
    engine.run(until_ns=engine.now + PATIENCE_NS)
    assert leader_of(engine) is not None, "the sides have met again"
    logs = list(applied.values())
    most = max(sorted(logs), key=logs.count)
    return was_answered, most[0] if most else "nobody", logs.count(most)


def conflicts_in_cluster(published: str, *, protocol: str, seed: int) -> Cell:
    """What only a minority has is never answered, and gives way."""
    was_answered, value, count = conflict_in_cluster(protocol, seed=seed)
    holds = not was_answered and value == MAJORITY and count == 5
    return Cell(
        published, SIMULATED, WITHIN if holds else DIFFERS,
        text=f"after a partition {count} of 5 logs are the same, first {value}'s value",
        code=f"{HERE}:conflict_in_cluster", notebook=LOGS,
        note="What the old leader alone had written was "
        + ("" if was_answered else "not ") + "answered before, and gave way.",
    )  # fmt: skip


def conflicts_in_chain(published: str, *, seed: int) -> Cell:
    """A fork with different payments: the branch with more work wins, no coin is spent twice."""
    result = reorganisation.run(reorganisation.Parameters.of({"seed": seed}))
    depth, stale, lost, twice = (
        round(result.measure(name).value)
        for name in ("reorganisation_depth_blocks", "stale_blocks", "payments_lost",
                     "coins_spent_twice")
    )  # fmt: skip
    holds = twice == 0 and depth == stale == result.parameters.depth_blocks
    return Cell(
        published, SIMULATED, WITHIN if holds else DIFFERS,
        text=f"{depth} blocks give way to a branch of {depth + 1}; coins spent twice: {twice}",
        code="consensus_lab.experiments.reorganisation:run",
        notebook="notebooks/16_fork_and_reorganisation.ipynb",
        note=f"What was confirmed can be undone: {lost} payments of the lost branch are gone for "
        "good, the others are mined again. Longest means most work.",
    )  # fmt: skip
