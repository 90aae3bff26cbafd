"""Commands that start nodes."""

from __future__ import annotations

import random
from dataclasses import replace

from consensus_lab.raft.config import RaftConfig, ReadMode
from consensus_lab.raft.core import RaftCore
from consensus_lab.raft.entries import Snapshot
from consensus_lab.raft.log import RaftLog
from consensus_lab.raft.ready import RawNode
from tests.conformance.etcd_raft.arguments import boolean, integer, words
from tests.conformance.etcd_raft.datadriven import Argument, ScenarioError
from tests.conformance.etcd_raft.environment import CommandError, Environment, ReplayedNode
from tests.conformance.etcd_raft.storage import MemoryStorage

ELECTION_TICK = 3
HEARTBEAT_TICK = 1
INFLIGHT_MESSAGES_MAX = (1 << 31) - 1
NODES_MAX = 1000

STUB = RaftConfig(
    election_tick=ELECTION_TICK,
    heartbeat_tick=HEARTBEAT_TICK,
    pre_vote=False,
    check_quorum=False,
    append_size_bytes_max=None,
    inflight_messages_max=INFLIGHT_MESSAGES_MAX,
    steps_down_on_removal=False,
)
"""The settings that etcd's scenarios start from: no limits, no switches."""


def add_nodes(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Start nodes, all alike, from one snapshot."""
    count = integer(words(arguments, 1, env.where)[0], env.where)
    if len(env.nodes) + count > NODES_MAX:
        raise ScenarioError(env.where, f"add-nodes: at most {NODES_MAX} nodes, not {count} more")
    config, snapshot, asynchronous = STUB, Snapshot(0, 0), False
    for argument in arguments[1:]:
        key, values = argument
        numbers = [v for v in values if v.isdecimal()]
        if key in ("voters", "learners"):
            ids = tuple(integer(value, env.where) for value in values)
            state = snapshot.conf_state._replace(**{key: ids})
            snapshot = snapshot._replace(conf_state=state)
        elif key == "index":
            snapshot = snapshot._replace(index=integer("".join(values), env.where))
        elif key == "content":
            snapshot = snapshot._replace(data="".join(values))
        elif key == "async-storage-writes":
            asynchronous = boolean(values, env.where)
        elif len(values) != 1:
            raise ScenarioError(env.where, f"add-nodes: {key} takes one value")
        else:
            config = configured(env, config, key, values[0], numbers)
    for _ in range(count):
        add_node(env, config, snapshot, asynchronous)


def configured(
    env: Environment, config: RaftConfig, key: str, value: str, numbers: list[str]
) -> RaftConfig:
    """The settings with one option set."""
    where = env.where
    if key in ("inflight", "max-committed-size-per-ready"):
        if not numbers:
            raise ScenarioError(where, f"{key} takes a number, not {value!r}")
        field = {
            "inflight": "inflight_messages_max",
            "max-committed-size-per-ready": "committed_size_bytes_max",
        }[key]
        return replace(config, **{field: int(value)})
    if key == "read-only":
        modes = {"safe": ReadMode.READ_INDEX, "lease-based": ReadMode.LEASE}
        if value not in modes:
            raise CommandError(f'invalid read-only option "{value}"')
        # Needs check-quorum, which may be set by a later argument.
        return replace(config, read_mode=modes[value], check_quorum=True)
    switches = {
        "prevote": "pre_vote", "checkquorum": "check_quorum",
        "step-down-on-removal": "steps_down_on_removal",
        "disable-conf-change-validation": "validates_changes",
    }  # fmt: skip
    if key not in switches:
        raise ScenarioError(where, f"add-nodes: unknown option {key!r}")
    is_on = boolean((value,), where)
    if key == "disable-conf-change-validation":
        is_on = not is_on
    return replace(config, **{switches[key]: is_on})


def add_node(env: Environment, config: RaftConfig, snapshot: Snapshot, asynchronous: bool) -> None:
    """Start one node; it takes the next number."""
    if snapshot != Snapshot(0, 0):
        if snapshot.index <= 1:
            raise CommandError("index must be specified as > 1 due to bootstrap")
        snapshot = snapshot._replace(term=1)
    log = RaftLog(
        base_index=snapshot.index,
        base_term=snapshot.term,
        applying_bytes_max=config.applying_bytes_max,
    )
    node_id = len(env.nodes) + 1
    core = RaftCore(
        node_id, config, random.Random(node_id),
        log=log, conf_state=snapshot.conf_state, applied=snapshot.index,
    )  # fmt: skip
    raw = RawNode(core, asynchronous_storage=asynchronous)
    env.nodes.append(ReplayedNode(raw, MemoryStorage(snapshot), snapshot))
