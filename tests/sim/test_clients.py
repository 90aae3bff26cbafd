"""Clients against a store of one node, whose answers the test decides."""

from itertools import pairwise

import pytest

from consensus_lab import kv
from consensus_lab.client import Query, Refused, Request
from consensus_lab.node import ParameterError, Reply
from consensus_lab.sim.clients import Clients, KeyValueDialect, Workload
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.linearizability import check
from consensus_lab.sim.models import REGISTER, Append, CompareAndSwap, Delete, Get, Put

MILLISECOND_NS = 1_000_000
END_NS = 60_000 * MILLISECOND_NS


class Store:
    """A node that answers everything at once from a store of its own."""

    def __init__(self, node_id, machine):
        self.node_id = node_id
        self.machine = machine
        self.seen = []

    def start(self, now):
        return []

    def receive(self, sender, message, now):
        return []

    def timer(self, name, now):
        return []

    def submit(self, command, now):
        self.seen.append(command)
        return self.answer(command)

    def answer(self, command):
        if isinstance(command, Query):
            return [Reply(command.request_id, self.machine.read(command.query))]
        return [Reply(command.request_id, self.machine.apply(0, command.command))]


class Silent(Store):
    """Never answers."""

    def answer(self, command):
        return []


class Refusing(Store):
    """Refuses the first three copies of everything."""

    def answer(self, command):
        copies = sum(other.request_id == command.request_id for other in self.seen)
        if copies <= 3:
            return [Reply(command.request_id, Refused("busy"))]
        return super().answer(command)


WORKLOAD = Workload(
    clients_count=3, operations_count=20, keys_count=2,
    weights=(("get", 3), ("put", 3), ("cas", 3), ("delete", 1)),
)  # fmt: skip


def run(node_class, *, workload=WORKLOAD, seed=1, nodes=1):
    """An engine with clients, run until they are done or the time is over."""
    machine = kv.KeyValueStore()
    engine = Engine(lambda node_id, disk: node_class(node_id, machine), range(nodes), seed=seed)
    clients = Clients(engine, workload=workload, dialect=KeyValueDialect(), seed=seed)
    clients.start()
    engine.run(until_ns=END_NS, until=lambda: clients.is_done)
    return engine, clients


def test_every_operation_is_answered_and_the_history_is_linearizable():
    """A store without faults: nothing pending, everything explained."""
    _, clients = run(Store)
    history = clients.history()
    assert clients.is_done
    assert len(history) == WORKLOAD.clients_count * WORKLOAD.operations_count
    assert not any(operation.is_pending for operation in history)
    assert check(history, model=REGISTER).is_linearizable
    kinds = {type(operation.request) for operation in history}
    assert kinds == {Get, Put, CompareAndSwap, Delete}
    swaps = {o.response for o in history if isinstance(o.request, CompareAndSwap)}
    assert swaps == {True, False}, "some swaps succeed, some do not"


def test_a_client_has_one_operation_at_a_time():
    """Its operations never touch."""
    _, clients = run(Store)
    for name in range(WORKLOAD.clients_count):
        own = [operation for operation in clients.history() if operation.client == name]
        assert all(a.returned < b.called for a, b in pairwise(own))


def test_the_same_seed_gives_the_same_history():
    """And another seed another one."""
    assert run(Store)[1].history() == run(Store)[1].history()
    assert run(Store)[1].history() != run(Store, seed=2)[1].history()


def test_a_silent_store_leaves_operations_pending_under_new_names():
    """Each attempt repeats the identity; after the last the client gives up and is renamed."""
    workload = Workload(
        clients_count=1, operations_count=5, attempts_max=3, abandoned_max=2,
        weights=WORKLOAD.weights,
    )  # fmt: skip
    engine, clients = run(Silent, workload=workload, nodes=2)
    history = clients.history()
    assert len(history) == 3, "two given up, the third is tried for ever"
    assert all(operation.is_pending for operation in history)
    assert len({operation.client for operation in history}) == 3
    copies = {}
    for node in engine.nodes.values():
        for command in node.seen:
            copies[command.request_id] = copies.get(command.request_id, 0) + 1
    assert sorted(copies.values())[:2] == [3, 3]
    assert not clients.is_done


def test_a_refused_copy_is_sent_again():
    """Refused means that this copy was not proposed: the client goes on trying."""
    workload = Workload(
        clients_count=2, operations_count=5, attempts_max=9, weights=WORKLOAD.weights
    )
    _, clients = run(Refusing, workload=workload)
    assert clients.is_done
    assert not any(operation.is_pending for operation in clients.history())


def test_a_late_answer_completes_an_operation_that_was_given_up():
    """Whenever it comes, the answer is evidence."""
    engine, clients = run(Silent, workload=Workload(
        clients_count=1, operations_count=1, attempts_max=1, weights=(("get", 1),)
    ))  # fmt: skip
    assert clients.is_done
    (request_id,) = clients.operations
    engine.on_reply(0, Reply(request_id, kv.GetResult(1, None)), END_NS)
    assert clients.operations[request_id].returned == END_NS


def test_another_watcher_of_replies_is_still_called():
    """The hook is taken, not stolen."""
    seen = []
    engine = Engine(lambda node_id, disk: Store(node_id, kv.KeyValueStore()), [0], seed=1)
    engine.on_reply = lambda node_id, reply, now: seen.append(reply)
    clients = Clients(engine, workload=WORKLOAD, dialect=KeyValueDialect(), seed=1)
    clients.start()
    engine.run(until_ns=END_NS, until=lambda: clients.is_done)
    assert len(seen) == len(clients.history())


def test_the_dialect_speaks_etcd():
    """Reads are queries; a swap is a transaction on the value, or on the absence of the key."""
    dialect, store = KeyValueDialect(), kv.KeyValueStore()

    def ask(request):
        said = dialect.submission(1, request)
        if isinstance(said, Query):
            return dialect.response(request, store.read(said.query))
        assert isinstance(said, Request)
        return dialect.response(request, store.apply(1, said.command))

    assert ask(Get("k")) is None
    assert ask(CompareAndSwap("k", "a", "b")) is False
    assert ask(CompareAndSwap("k", None, "b")) is True
    assert ask(CompareAndSwap("k", None, "c")) is False
    assert ask(CompareAndSwap("k", "b", "d")) is True
    assert ask(Get("k")) == "d"
    assert ask(Put("k", "e")) is None
    assert ask(Delete("k")) is None
    assert ask(Get("k")) is None
    with pytest.raises(ParameterError, match="weights"):
        ask(Append("k", "x"))


@pytest.mark.parametrize(
    "setting",
    [{"clients_count": 0}, {"timeout_ns": 1.5}, {"abandoned_max": -1},
     {"weights": (("jump", 1),)}, {"weights": ()}, {"operations_count": 10**9}],
)  # fmt: skip
def test_a_wrong_workload_is_refused(setting):
    """The parameter is named."""
    with pytest.raises(ParameterError, match=next(iter(setting))):
        Workload(**setting)


def test_clients_need_a_node():
    """Nobody to talk to is a mistake."""
    engine = Engine(lambda node_id, disk: Store(node_id, None), [0], seed=1)
    with pytest.raises(ParameterError, match="node_ids"):
        Clients(engine, workload=WORKLOAD, dialect=KeyValueDialect(), seed=1, node_ids=[])
