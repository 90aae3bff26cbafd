"""Commands that move things: Readies, messages, storage threads, and all of them together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from consensus_lab.node import ProtocolViolation, Send
from consensus_lab.raft import messages as msg
from consensus_lab.raft.entries import EMPTY_HARD_STATE
from tests.conformance.etcd_raft.arguments import integer, node_numbers
from tests.conformance.etcd_raft.datadriven import Argument, ScenarioError
from tests.conformance.etcd_raft.describe import describe_message, describe_ready
from tests.conformance.etcd_raft.environment import Environment, ReplayedNode

ROUNDS_MAX = 100_000

MESSAGE_TYPES = {
    name for name, value in vars(msg).items() if name.startswith("Msg") and isinstance(value, type)
}

Work = Callable[[Environment, ReplayedNode], None]


def _is_for(send: Send, number: int, kind: str | None, *, drop: bool) -> bool:
    """True for a message that the command is about; local ones are never lost."""
    if send.to != number or (kind is not None and type(send.message).__name__ != kind):
        return False
    local = send.message.sender in (
        send.to, msg.LOCAL_APPEND_THREAD, msg.LOCAL_APPLY_THREAD,
    )  # fmt: skip
    return not (drop and local)


def process_ready(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Make nodes handle their Ready."""
    each(env, arguments, "handling Ready", handle_ready)


def process_append_thread(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Make nodes' append threads do one piece of work."""
    each(env, arguments, "processing append thread", handle_append_work)


def process_apply_thread(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Make nodes' apply threads do one piece of work."""
    each(env, arguments, "processing apply thread", handle_apply_work)


def each(env: Environment, arguments: tuple[Argument, ...], title: str, work: Work) -> None:
    """Do something at every node that is named; with several, under a title each."""
    numbers = node_numbers(arguments, env.where)
    for number in numbers:
        node = env.node(number)
        if len(numbers) == 1:
            work(env, node)
        else:
            titled(env, number, title, node, work)


def titled(env: Environment, number: int, title: str, node: ReplayedNode, work: Work) -> None:
    """Do something at a node, under a title and indented."""
    env.print(f"> {number} {title}\n")
    env.indented(lambda: work(env, node))


def handle_ready(env: Environment, node: ReplayedNode) -> None:
    """Write, apply and send what a node wants."""
    ready = node.raw.ready()
    env.print(describe_ready(ready))
    if not node.raw.asynchronous_storage:
        node.write(ready.hard_state or EMPTY_HARD_STATE, ready.entries, ready.snapshot)
        node.apply(ready.committed_entries)
    for send in ready.messages:
        if isinstance(send.message, msg.MsgStorageAppend):
            node.append_work.append(send.message)
        elif isinstance(send.message, msg.MsgStorageApply):
            node.apply_work.append(send.message)
        else:
            env.messages.append(send)
    if not node.raw.asynchronous_storage:
        node.raw.advance()


def handle_append_work(env: Environment, node: ReplayedNode) -> None:
    """Write what the append thread was asked to, and answer."""
    if not node.append_work:
        env.print("no append work to perform")
        return
    work = node.append_work.pop(0)
    show_work(env, msg.LOCAL_APPEND_THREAD, work)
    node.write(work.hard_state, work.entries, work.snapshot)
    show_responses(env, work)


def handle_apply_work(env: Environment, node: ReplayedNode) -> None:
    """Apply what the apply thread was asked to, and answer."""
    if not node.apply_work:
        env.print("no apply work to perform")
        return
    work = node.apply_work.pop(0)
    show_work(env, msg.LOCAL_APPLY_THREAD, work)
    node.apply(work.entries)
    show_responses(env, work)


def show_work(env: Environment, thread: int, work: Any) -> None:
    """Print what a thread does."""
    shown = Send(thread, work._replace(responses=()))
    env.print(f"Processing:\n{describe_message(shown)}\n")


def show_responses(env: Environment, work: Any) -> None:
    """Print a thread's answers and put them on their way."""
    env.print("Responses:\n")
    for send in work.responses:
        env.print(describe_message(send) + "\n")
    env.messages.extend(work.responses)


def deliver_msgs(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Deliver or lose messages."""
    kind = None
    recipients: list[tuple[int, bool]] = []
    for key, values in arguments:
        if not values:
            recipients.append((integer(key, env.where), False))
        elif key == "drop":
            for value in values:
                number = integer(value, env.where)
                if (number, False) in recipients:
                    text = f"can't both deliver and drop msgs to {number}"
                    raise ScenarioError(env.where, text)
                recipients.append((number, True))
        elif key == "type":
            kind = values[-1]
            if kind not in MESSAGE_TYPES:
                raise ScenarioError(env.where, f"unknown message type {kind}")
        else:
            raise ScenarioError(env.where, f"deliver-msgs: unknown option {key!r}")
    counts = [deliver(env, number, kind, drop=drop) for number, drop in recipients]
    if sum(counts) == 0:
        env.print("no messages\n")


def deliver(env: Environment, number: int, kind: str | None = None, *, drop: bool = False) -> int:
    """Hand a node its messages, or lose them; how many there were."""
    taken = [send for send in env.messages if _is_for(send, number, kind, drop=drop)]
    env.messages = [
        send for send in env.messages if not _is_for(send, number, kind, drop=drop)
    ]
    for send in taken:
        env.print(("dropped: " if drop else "") + describe_message(send) + "\n")
        if drop:
            continue
        try:
            env.node(number).raw.step(send.message)
        except ProtocolViolation as error:
            env.print(error.rule + "\n")
    return len(taken)


def stabilize(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """Go on until nothing moves."""
    numbers = node_numbers(arguments, env.where) or list(range(1, len(env.nodes) + 1))
    level = env.log_level
    try:
        for key, values in arguments:
            if values and key == "log-level":
                env.set_log_level(values[-1])
            elif values:
                raise ScenarioError(env.where, f"stabilize: unknown option {key!r}")
        until_stable(env, [(number, env.node(number)) for number in numbers])
    finally:
        env.log_level = level


def until_stable(env: Environment, nodes: list[tuple[int, ReplayedNode]]) -> None:
    """Readies, deliveries, append threads, apply threads; again until nothing moves."""
    for _ in range(ROUNDS_MAX):
        moved = False
        for number, node in nodes:
            if node.raw.has_ready:
                titled(env, number, "handling Ready", node, handle_ready)
                moved = True
        for number, _ in nodes:
            if any(send.to == number for send in env.messages):
                env.print(f"> {number} receiving messages\n")
                env.indented(lambda number=number: deliver(env, number))
                moved = True
        for number, node in nodes:
            if node.append_work:
                env.print(f"> {number} processing append thread\n")
                moved = True
            while node.append_work:
                env.indented(lambda node=node: handle_append_work(env, node))
        for number, node in nodes:
            if node.apply_work:
                env.print(f"> {number} processing apply thread\n")
                moved = True
            while node.apply_work:
                env.indented(lambda node=node: handle_apply_work(env, node))
        if not moved:
            return
    raise ScenarioError(env.where, f"not stable after {ROUNDS_MAX} rounds")
