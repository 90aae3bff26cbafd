"""Single-decree Paxos in the engine: one value, whatever is lost, doubled, reordered or crashed."""

from __future__ import annotations

import random

import pytest

from consensus_lab.node import CancelTimer, Note
from consensus_lab.paxos.election import Timing
from consensus_lab.paxos.group import Group
from consensus_lab.paxos.messages import (
    Accept,
    Accepted,
    Alive,
    Ask,
    Forward,
    Learn,
    Prepare,
    Promise,
    Propose,
)
from consensus_lab.paxos.proposer import BackOff
from consensus_lab.paxos.quorum import Quorums
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.faults import Crash, Trouble, install, partition
from consensus_lab.sim.links import Link
from consensus_lab.sim.process import Host
from tests.paxos.processes import (
    MILLISECOND_NS,
    P1,
    P2,
    SECOND_NS,
    A,
    B,
    L,
    apart,
    chosen,
    cluster,
    process,
    sends,
)

RANDOM_BACK_OFF = BackOff(20 * MILLISECOND_NS, growth=2, window_ns_max=SECOND_NS)


def learned_at(engine: Engine) -> dict[int, int]:
    """When each learner applied the value, milliseconds."""
    records = [record for record in engine.trace if record.event == "apply"]
    return {record.node: record.time_ns // MILLISECOND_NS for record in records}


def sent(engine: Engine, *kinds: type) -> int:
    """Messages of these kinds between different processes."""
    names = {kind.__name__ for kind in kinds}
    return sum(
        record.event == "send" and record.kind in names and record.peer != record.node
        for record in engine.trace
    )


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_one_proposer_gets_its_value_chosen_everywhere(count):
    ids = tuple(range(10, 10 + count))
    engine = cluster(Group.of_peers(ids))
    replies = []
    engine.on_reply = lambda node, effect, now: replies.append((node, effect.result))
    engine.submit(ids[0], Propose("x", "request"))
    engine.run(until_ns=SECOND_NS)
    assert chosen(engine) == dict.fromkeys(ids, "x")
    assert replies == [(ids[0], "x")]
    assert set(learned_at(engine)) == set(ids)


@pytest.mark.parametrize(
    ("settings", "delays", "learns"),
    [
        ({"informing": "proposer"}, {1: 4, 2: 5, 3: 5}, 2),
        ({"informing": "acceptors"}, {1: 4, 2: 3, 3: 3}, 0),
        ({"informing": "distinguished", "distinguished_learners": (3,)}, {1: 4, 2: 4, 3: 3}, 2),
    ],
    ids=str,
)
def test_who_informs_decides_how_soon_learners_know(settings, delays, learns):
    """The proposer's own acceptor accepts after two delays, and says so at once."""
    engine = cluster(Group.of_peers((1, 2, 3), **settings))
    engine.submit(1, Propose("x"))
    engine.run(until_ns=SECOND_NS)
    assert learned_at(engine) == delays
    assert sent(engine, Learn) == learns


def test_roles_in_processes_of_their_own():
    engine = cluster(apart())
    engine.submit(P1, Propose("x"))
    engine.run(until_ns=SECOND_NS)
    assert learned_at(engine) == {L: 5}
    assert chosen(engine)[P1] == chosen(engine)[P2] == chosen(engine)[L] == "x"


def test_the_disk_is_on_the_way_of_every_promise_and_acceptance():
    """Number, promise and acceptance are written one after the other before the value is chosen."""
    engine = cluster(Group.of_peers((1, 2, 3)), host=Host(fsync_ns=10 * MILLISECOND_NS))
    engine.submit(1, Propose("x"))
    engine.run(until_ns=SECOND_NS)
    assert learned_at(engine)[1] == 4 + 3 * 10


def test_several_clients_get_the_same_answer():
    engine = cluster(Group.of_peers((1, 2, 3), back_off=RANDOM_BACK_OFF))
    replies = {}
    engine.on_reply = lambda node, effect, now: replies.update({effect.request_id: effect.result})
    engine.submit(1, Propose("x", "a"))
    engine.submit(1, Propose("y", "b"))
    engine.submit(2, Propose("z", "c"))
    engine.submit(3, Propose("late", "d"), at_ns=2 * SECOND_NS)
    engine.run(until_ns=3 * SECOND_NS)
    assert set(replies) == {"a", "b", "c", "d"}
    assert len(set(replies.values())) == 1 and replies["a"] in {"x", "z"}


def test_a_lost_minority_changes_nothing_and_a_lost_majority_stops_progress_only():
    group = Group.of_peers((1, 2, 3, 4, 5), timeout_ns=100 * MILLISECOND_NS)
    engine = cluster(group)
    install(engine, [Crash(4, 0), Crash(5, 0)])
    engine.submit(1, Propose("x"), at_ns=MILLISECOND_NS)
    engine.run(until_ns=SECOND_NS)
    assert set(chosen(engine)) == {1, 2, 3}
    engine = cluster(group)
    install(engine, [Crash(3, 0), Crash(4, 0), Crash(5, 0, restart_ns=2 * SECOND_NS)])
    engine.submit(1, Propose("x"), at_ns=MILLISECOND_NS)
    engine.run(until_ns=2 * SECOND_NS)
    assert chosen(engine) == {}
    engine.run(until_ns=3 * SECOND_NS)
    assert chosen(engine) == {1: "x", 2: "x", 5: "x"}


def test_small_phase_two_quorums_survive_what_majorities_do_not():
    """Once phase 1 is done, 2 of 5 suffice when phase 1 takes 4."""
    quorums = Quorums((1, 2, 3, 4, 5), phase1=4, phase2=2)
    engine = cluster(Group.of_peers((1, 2, 3, 4, 5), quorums=quorums))
    install(engine, [Crash(node, 2 * MILLISECOND_NS + 1) for node in (3, 4, 5)])
    engine.submit(1, Propose("x"))
    engine.run(until_ns=SECOND_NS)
    assert chosen(engine) == {1: "x", 2: "x"}


def test_a_restarted_process_keeps_promise_number_and_value():
    engine = cluster(Group.of_peers((1, 2, 3)))
    engine.submit(1, Propose("x"))
    engine.run(until_ns=10 * MILLISECOND_NS)
    for node in (1, 2, 3):
        engine.crash(node)
        engine.restart(node)
    engine.run(until_ns=20 * MILLISECOND_NS)
    assert chosen(engine) == {1: "x", 2: "x", 3: "x"}
    assert {node.acceptor.promised for node in engine.nodes.values()} == {0}
    assert engine.nodes[1].proposer.number == 0
    applied = [record.node for record in engine.trace if record.event == "apply"]
    assert sorted(applied) == [1, 1, 2, 2, 3, 3]


def test_a_learner_that_missed_everything_asks():
    group = Group.of_peers((1, 2, 3), ask_ns=50 * MILLISECOND_NS)
    engine = cluster(group)
    install(engine, partition([1, 2], [3], at_ns=0, until_ns=SECOND_NS))
    engine.submit(1, Propose("x"), at_ns=1)
    engine.run(until_ns=SECOND_NS)
    assert chosen(engine) == {1: "x", 2: "x"}
    engine.run(until_ns=SECOND_NS + 100 * MILLISECOND_NS)
    assert chosen(engine)[3] == "x"
    asked = sent(engine, Ask)
    engine.run(until_ns=2 * SECOND_NS)
    assert sent(engine, Ask) == asked


def test_a_learner_finds_out_from_acceptors_alone():
    """Acceptors that are no learners answer with what they accepted."""
    engine = cluster(apart(ask_ns=50 * MILLISECOND_NS))
    install(engine, partition([P1, P2], [L], at_ns=0, until_ns=10 * SECOND_NS))
    engine.submit(P1, Propose("x"), at_ns=1)
    engine.run(until_ns=200 * MILLISECOND_NS)
    assert chosen(engine)[L] == "x"


def test_values_are_forwarded_to_the_distinguished_proposer():
    engine = cluster(Group.of_peers((1, 2, 3), distinguished_proposer=3))
    replies = []
    engine.on_reply = lambda node, effect, now: replies.append((node, effect.result))
    engine.submit(1, Propose("x", "request"))
    engine.run(until_ns=SECOND_NS)
    assert replies == [(1, "x")]
    assert [r.node for r in engine.trace if r.event == "note" and r.kind == "prepare"] == [3]
    assert sent(engine, Forward) == 1


def test_a_forwarded_value_survives_losses():
    group = Group.of_peers((1, 2, 3), distinguished_proposer=3, timeout_ns=50 * MILLISECOND_NS)
    engine = cluster(group)
    install(engine, partition([1], [2, 3], at_ns=0, until_ns=SECOND_NS))
    engine.submit(1, Propose("x"), at_ns=1)
    engine.run(until_ns=2 * SECOND_NS)
    assert chosen(engine) == {1: "x", 2: "x", 3: "x"}


def elected(ids: tuple[int, ...], **settings) -> Group:
    """Peers that elect: a sign of life every 10 ms, dead after 50 ms."""
    timing = Timing(10 * MILLISECOND_NS, 50 * MILLISECOND_NS)
    wait = settings.pop("timeout_ns", 100 * MILLISECOND_NS)
    return Group.of_peers(ids, election=timing, timeout_ns=wait, **settings)


def test_the_next_in_line_takes_over_when_the_distinguished_proposer_dies():
    engine = cluster(elected((1, 2, 3)))
    install(engine, [Crash(1, 5 * MILLISECOND_NS, restart_ns=SECOND_NS)])
    engine.submit(3, Propose("x"), at_ns=10 * MILLISECOND_NS)
    engine.run(until_ns=500 * MILLISECOND_NS)
    assert chosen(engine) == {2: "x", 3: "x"}
    assert {r.node for r in engine.trace if r.kind == "prepare" and r.event == "note"} == {2}
    engine.run(until_ns=2 * SECOND_NS)
    assert {node.election.leader for node in engine.nodes.values()} == {1}


def test_two_that_both_take_themselves_for_distinguished_do_no_harm():
    """A partition makes two leaders; when it heals, one steps back and one value is chosen."""
    ids = (1, 2, 3, 4)
    engine = cluster(elected(ids))
    install(engine, partition([1, 2], [3, 4], at_ns=0, until_ns=SECOND_NS))
    engine.submit(1, Propose("x"), at_ns=200 * MILLISECOND_NS)
    engine.submit(3, Propose("y"), at_ns=200 * MILLISECOND_NS)
    engine.run(until_ns=SECOND_NS)
    assert chosen(engine) == {}
    assert {i: node.leads for i, node in engine.nodes.items()} == {
        1: True,
        2: False,
        3: True,
        4: False,
    }
    engine.run(until_ns=3 * SECOND_NS)
    assert set(chosen(engine)) == set(ids) and len(set(chosen(engine).values())) == 1
    assert not engine.nodes[3].leads


def test_a_proposer_that_is_no_longer_distinguished_stops_and_forwards():
    node = process(2, elected((1, 2, 3)))
    node.start(0)
    node.timer("silent:1", 0)
    node.submit(Propose("x"), 0)
    assert node.leads and node.proposer.is_active
    effects = node.receive(1, Alive(), 0)
    assert not node.leads and not node.proposer.is_active
    assert CancelTimer("proposal") in effects and (1, Forward("x")) in sends(effects)
    assert node.timer("proposal", 0) == node.timer("back-off", 0) == []


def test_messages_that_break_a_rule_are_noted_and_do_nothing():
    node = process(A)
    before = vars(node.acceptor).copy()
    cases = [
        (P1, Promise(0, -1, None), "not-a-proposer"),
        (P2, Prepare(0), "number-of-another-proposer"),
        (P1, Prepare(-2), "number-of-another-proposer"),
        (P1, "hello", "unknown-message"),
        (B, Accepted(0, "x"), None),
        (P1, Forward("x"), None),
    ]
    for sender, message, rule in cases:
        effects = node.receive(sender, message, 0)
        if rule is not None:
            assert effects == [Note("refused", (sender, rule))]
        assert sends(effects) == []
    assert vars(node.acceptor) == before
    small = process(A, apart(value_size_bytes_max=3))
    assert small.receive(P1, Accept(0, "long"), 0) == [Note("refused", (P1, "value-too-large"))]
    assert process(P1).receive(P2, Prepare(1), 0) == [Note("refused", (P2, "not-an-acceptor"))]


def test_the_same_seed_gives_the_same_trace():
    def digest(seed: int) -> str:
        engine = cluster(
            Group.of_peers((1, 2, 3), back_off=RANDOM_BACK_OFF, abandons_when_overtaken=True),
            seed=seed,
            links=Link(MILLISECOND_NS, jitter_ns=MILLISECOND_NS, loss=0.1),
        )
        engine.submit(1, Propose("x"))
        engine.submit(2, Propose("y"))
        engine.run(until_ns=SECOND_NS)
        return engine.trace.digest()

    assert digest(5) == digest(5) != digest(6)


def hardship(seed: int) -> Engine:
    """A random group on a bad network, with crashes, until two calm seconds at the end."""
    rng = random.Random(seed)
    count = rng.randrange(1, 6)
    ids = tuple(range(1, count + 1))
    phase1 = rng.randrange(1, count + 1)
    settings = {
        "back_off": RANDOM_BACK_OFF,
        "timeout_ns": 100 * MILLISECOND_NS,
        "ask_ns": 200 * MILLISECOND_NS,
        "abandons_when_overtaken": rng.random() < 0.5,
        "informing": rng.choice(["proposer", "acceptors"]),
        "quorums": Quorums(ids, phase1=phase1, phase2=count - phase1 + 1),
    }
    group = elected(ids, **settings) if rng.random() < 0.3 else Group.of_peers(ids, **settings)
    host = Host(fsync_ns=rng.randrange(0, 10) * MILLISECOND_NS)
    engine = cluster(group, seed=seed, host=host)
    end = 2 * SECOND_NS
    loss, again, late = rng.random() * 0.4, rng.random() * 0.3, rng.random()
    faults = [Trouble(0, end, loss, again, late, 50 * MILLISECOND_NS, 5 * MILLISECOND_NS)]
    for _ in range(rng.randrange(0, 6)):
        at = rng.randrange(0, SECOND_NS)
        faults.append(
            Crash(rng.choice(ids), at, at + rng.randrange(1, SECOND_NS), rng.randrange(0, 2))
        )
    install(engine, faults)
    for node in ids:
        for _ in range(2):
            engine.submit(node, Propose(f"value {rng.randrange(100)}"), at_ns=rng.randrange(end))
    # A client that lost its process asks again in calm times.
    engine.submit(ids[0], Propose("calm"), at_ns=end + 100 * MILLISECOND_NS)
    return engine


@pytest.mark.parametrize(
    "first", [0, 20, *(pytest.param(n, marks=pytest.mark.full) for n in range(40, 1000, 20))]
)
@pytest.mark.slow
def test_agreement_and_progress_under_hardship(first):
    """Agreement at every moment; after the trouble everybody knows the value."""
    for seed in range(first, first + 20):
        engine = hardship(seed)
        applied = set()
        engine.on_apply = lambda node, effect, now, applied=applied: applied.add(effect.command)
        engine.run(until_ns=6 * SECOND_NS)
        assert len(applied) == 1, f"hardship({seed}) applied {applied}"
        assert set(chosen(engine)) == set(engine.nodes), f"hardship({seed}) left some in the dark"
