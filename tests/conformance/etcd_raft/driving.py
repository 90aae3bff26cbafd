"""Commands that ask something of a node."""

from __future__ import annotations

from consensus_lab.node import Send
from consensus_lab.raft import messages as msg
from consensus_lab.raft.entries import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    ConfChangeV1,
    EntryType,
    Transition,
)
from tests.conformance.etcd_raft import looking
from tests.conformance.etcd_raft.arguments import boolean, integer, node_numbers, option, words
from tests.conformance.etcd_raft.datadriven import Argument, Directive, ScenarioError
from tests.conformance.etcd_raft.describe import describe_message
from tests.conformance.etcd_raft.environment import CommandError, Environment, ReplayedNode
from tests.conformance.etcd_raft.starting import ELECTION_TICK, HEARTBEAT_TICK

TICKS_MAX = 1_000_000


def campaign(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Make a node campaign."""
    env.first_node(arguments).core.step(msg.MsgHup())


def propose(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Propose an entry at a node."""
    number, data = words(arguments, 2, env.where)
    env.node(integer(number, env.where)).raw.propose(data)


def propose_conf_change(env: Environment, directive: Directive) -> None:
    """Propose a membership change at a node."""
    node = env.first_node(directive.arguments)
    v1, transition = False, Transition.AUTO
    for key, values in directive.arguments[1:]:
        if key == "v1":
            v1 = boolean(values, env.where)
        elif key == "transition":
            names = {item.value: item for item in Transition}
            if "".join(values) not in names:
                raise CommandError(f"unknown transition {''.join(values)}")
            transition = names["".join(values)]
        else:
            raise CommandError(f"unknown command {key}")
    changes = parse_changes(directive.input)
    if not v1:
        node.raw.propose(ConfChange(changes, transition), EntryType.CONF_CHANGE_V2)
    elif len(changes) != 1 or transition is not Transition.AUTO:
        raise CommandError("v1 conf change can only have one operation and no transition")
    else:
        node.raw.propose(ConfChangeV1(changes[0]), EntryType.CONF_CHANGE)


def tick_election(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Tick as often as the election timeout is long."""
    ticks(env, env.first_node(arguments), ELECTION_TICK)


def tick_heartbeat(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Tick as often as the heartbeat interval is long."""
    ticks(env, env.first_node(arguments), HEARTBEAT_TICK)


def tick(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Tick so many times."""
    number, count = words(arguments, 2, env.where)
    ticks(env, env.node(integer(number, env.where)), integer(count, env.where))


def ticks(env: Environment, node: ReplayedNode, count: int) -> None:
    """Let time pass at a node."""
    if count > TICKS_MAX:
        raise ScenarioError(env.where, f"at most {TICKS_MAX} ticks, not {count}")
    for _ in range(count):
        node.core.tick()


def set_randomized_election_timeout(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Set what the node drew; it draws anew when its state changes."""
    node = env.first_node(arguments)
    timeout = integer(option(arguments, "timeout", env.where), env.where)
    node.core.election_timeout_ticks = timeout


def transfer_leadership(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Ask a node to have leadership handed to another."""
    old = integer(option(arguments, "from", env.where), env.where)
    new = integer(option(arguments, "to", env.where), env.where)
    env.node(new)
    env.node(old).core.step(msg.MsgTransferLeader(old, 0, new))


def forget_leader(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Make a node forget who leads."""
    env.first_node(arguments).core.step(msg.MsgForgetLeader())


def report_unreachable(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Tell a node that another could not be reached."""
    numbers = node_numbers(arguments, env.where)
    if len(numbers) != 2:
        raise CommandError(
            "must specify exactly two node indexes: "
            "node on which to report, and reported node"
        )
    env.node(numbers[1])
    env.node(numbers[0]).core.step(msg.MsgUnreachable(numbers[1]))


def send_snapshot(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Put a node's latest snapshot on its way to another."""
    numbers = node_numbers(arguments, env.where)
    if len(numbers) != 2:
        raise ScenarioError(env.where, "send-snapshot takes two nodes")
    source = env.node(numbers[0])
    env.node(numbers[1])
    message = msg.MsgSnap(numbers[0], source.core.term, source.history[-1])
    send = Send(numbers[1], message)
    env.messages.append(send)
    env.print(describe_message(send))


def compact(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Drop the entries up to an index from a node's log."""
    number, index = words(arguments, 2, env.where)
    node = env.node(integer(number, env.where))
    node.storage.compact(integer(index, env.where))
    # The core keeps what it has still to apply; etcd's would fail when it gets there.
    node.core.log.compact(min(integer(index, env.where), node.core.log.applied))
    looking.print_log(env, node)


def parse_changes(text: str) -> tuple[ConfChangeSingle, ...]:
    """A membership change in etcd's notation: "v1 l2 r3 u4"."""
    letters = {kind.value: kind for kind in ConfChangeType}
    changes = []
    for token in text.split():
        if len(token) < 2:
            raise CommandError(f"unknown token {token}")
        if token[0] not in letters:
            raise CommandError(f"unknown input: {token}")
        if not token[1:].isdecimal():
            raise CommandError(f'strconv.ParseUint: parsing "{token[1:]}": invalid syntax')
        changes.append(ConfChangeSingle(letters[token[0]], int(token[1:])))
    return tuple(changes)


