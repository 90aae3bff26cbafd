"""Paxos, explored: the published counts, agreement in every interleaving, every bug found."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from consensus_lab.node import ParameterError
from consensus_lab.paxos.broken import VARIANTS, VARIANTS_OF_THREE_BALLOTS, Variant
from consensus_lab.paxos.group import Group
from consensus_lab.paxos.message_set import MessageSet
from consensus_lab.paxos.message_set_trace import Said
from consensus_lab.paxos.messages import Accept, Accepted, Prepare, Promise, Propose
from consensus_lab.paxos.proposer import BackOff
from consensus_lab.paxos.quorum import Quorums
from consensus_lab.paxos.single import SinglePaxos
from consensus_lab.sim.explore import Exploration, explore
from consensus_lab.sim.local_steps import NoChance
from consensus_lab.sim.world import World

ACCEPTORS = (3, 4, 5)

# Sizes of the published models; 1 acceptor and 1 value, and 3 acceptors and 2 values.
SMALLEST = {"acceptor_count": 1, "value_count": 1, "ballot_count": 2}
TINY = {"acceptor_count": 3, "value_count": 2, "ballot_count": 2}


def published() -> dict[str, tuple[int, int, int]]:
    """Distinct states, generated states and depth that TLC reports, by model."""
    reference = os.environ.get("CONSENSUS_LAB_REFERENCE")
    path = Path(reference or "nowhere") / "raft" / "model_checker_state_counts.csv"
    if not path.is_file():
        pytest.skip(
            "set CONSENSUS_LAB_REFERENCE to the folder with raft/model_checker_state_counts.csv"
            " (facts from the manifests in tlaplus/Examples)"
        )
    found = {}
    with path.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row["depth"]:
                counts = (row["distinct_states"], row["generated_states"], row["depth"])
                found[row["model"]] = tuple(int(count) for count in counts)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "model", "counts"),
    [
        (SMALLEST, "Paxos (Paxos/MCPaxos)", (25, 82, 9)),
        (TINY, "Paxos (PaxosHowToWinATuringAward/MCPaxosTiny)", (3921, 23563, 17)),
    ],
    ids=["smallest", "tiny"],
)
def test_state_counts_are_lamports(sizes, model, counts):
    """Distinct states, states generated (the initial one included) and depth, as TLC counts."""
    result = explore(MessageSet(**sizes))
    assert (result.states, result.transitions + 1, result.depth) == counts
    assert result.is_complete
    assert published()[model] == counts


@pytest.mark.slow
def test_crashes_lead_to_no_new_state():
    """All that matters is on disk: an acceptor that starts again is where it was."""
    assert explore(MessageSet(**TINY, crashes=True)).states == 3921


def test_no_ballot_below_one_and_no_size_of_nothing():
    for name in TINY:
        with pytest.raises(ParameterError, match=name):
            MessageSet(**{**TINY, name: 0})


def refute(variant: Variant, ballot_count: int) -> Exploration:
    """Explore a broken variant until two values are chosen."""
    sizes = {**TINY, "ballot_count": ballot_count}
    return explore(
        MessageSet(
            **sizes,
            process_class=variant.process_class,
            quorums=variant.quorums((1, 2, 3)),
            crashes=variant.crashes,
        )
    )


# Steps of a shortest way to two chosen values.  At least: a Prepare and an Accept for each
# ballot, a promise quorum for each, an acceptance quorum for each.
STEPS = {
    "quorum minus one": 8,
    "promise not persisted": 13,
    "accepts below its promise": 12,
    "compares with accepted only": 12,
    "own value after a report": 12,
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_every_seeded_bug_is_found_with_a_shortest_trace(variant):
    result = refute(variant, 2)
    assert result.violation is not None
    assert result.violation.text == "v1 and v2 are both chosen"
    path = result.violation.path
    assert len(path) == STEPS[variant.name] == result.depth - 1
    assert ("Crash" in [step.event for step in path]) == variant.crashes
    check_trace(result)


@pytest.mark.slow
def test_a_forgotten_promise_does_no_harm_without_a_crash():
    variant = next(variant for variant in VARIANTS if variant.crashes)
    result = refute(variant._replace(crashes=False), 2)
    assert result.is_complete and result.states == 3921


@pytest.mark.full
@pytest.mark.parametrize("variant", VARIANTS_OF_THREE_BALLOTS, ids=lambda variant: variant.name)
def test_bugs_that_need_a_third_ballot(variant):
    assert refute(variant, 2).is_complete
    result = refute(variant, 3)
    assert result.violation is not None and len(result.violation.path) == 17


def check_trace(result: Exploration) -> None:
    """Every reception has its sending, earlier; and two values are accepted by quorums in it."""
    assert result.violation is not None
    records = result.violation.records
    sent = {r.number: r for r in records if r.event == "send"}
    times = [r.time_ns for r in records]
    assert times == sorted(times) and len(set(times)) == len(result.violation.path)
    for record in records:
        if record.event == "receive":
            send = sent[record.number]
            assert (send.node, send.peer, send.detail) == (record.peer, record.node, record.detail)
            assert send.time_ns < record.time_ns
    said: set[Said] = set()
    for step in result.violation.path:
        assert set(step.heard) <= said
        said |= set(step.said)
    values = {s.message.value for s in said if isinstance(s.message, Accepted)}
    assert values == {"v1", "v2"}


# The same classes on a real network model: messages one by one, to one receiver each.


def network(
    acceptors: tuple[int, ...] = ACCEPTORS,
    *,
    process_class: type[SinglePaxos] = SinglePaxos,
    quorums: Quorums | None = None,
    values: tuple[str, str] = ("x", "y"),
    **settings,
) -> World:
    """Two proposers that each propose once, with a value of their own."""
    group = Group(
        proposers=(1, 2),
        quorums=quorums or Quorums(acceptors),
        learners=(),
        # A proposer that gives up waits for a timer, of which there are none: one ballot each.
        back_off=BackOff(1, is_random=False),
    )

    def make(node_id, disk):
        return process_class(node_id, disk, group=group, source=NoChance())

    submissions = [(1, Propose(values[0])), (2, Propose(values[1]))]
    settings.setdefault("invariants", (one_value,))
    return World(make, group.processes, submissions=submissions, **settings)


def one_value(view) -> str | None:
    """No two processes take different values for chosen."""
    known = {node.chosen for node in view.nodes.values() if node.chosen is not None}
    return f"{' and '.join(sorted(known))} are both chosen" if len(known) > 1 else None


@pytest.mark.slow
def test_one_acceptor_with_everything_that_can_go_wrong():
    trouble = {"crashes_max": 1, "losses_max": 1, "duplicates_max": 1}
    result = explore(network((3,), **trouble))
    assert result.is_complete and result.states > 5_000


@pytest.mark.full
def test_three_acceptors_in_every_interleaving():
    """Symmetry folds the acceptors: the classes, counted with their sizes, are all states."""
    folded = network(symmetric=[ACCEPTORS])
    states = every_state(folded)
    assert folded.symmetry is not None
    total = sum(folded.symmetry.class_size(state.locals, state.wire) for state in states)
    result = explore(network(symmetric=[ACCEPTORS]))
    whole = explore(network())
    assert result.is_complete and whole.is_complete
    assert (result.states, total, result.depth) == (len(states), whole.states, whole.depth)
    assert result.states < whole.states / 5


def every_state(world: World) -> list:
    """One state of each class, by the simplest possible search."""
    known, todo = {}, [world.initial()]
    while todo:
        state = todo.pop()
        name = world.key(state)
        if name not in known:
            known[name] = state
            todo += [following for _, following in world.successors(state)]
    return list(known.values())


@pytest.mark.slow
def test_classes_of_two_acceptors_add_up_to_all_states():
    acceptors = (3, 4)
    folded = network(acceptors, symmetric=[acceptors])
    states = every_state(folded)
    assert folded.symmetry is not None
    total = sum(folded.symmetry.class_size(state.locals, state.wire) for state in states)
    assert len(states) == explore(network(acceptors, symmetric=[acceptors])).states
    assert total == explore(network(acceptors)).states > len(states)


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant",
    [VARIANTS[0], *(pytest.param(variant, marks=pytest.mark.full) for variant in VARIANTS[1:])],
    ids=lambda variant: variant.name,
)
def test_every_seeded_bug_is_found_on_the_network_too(variant):
    settings = {"crashes_max": 1} if variant.crashes else {}
    result = explore(
        network(
            process_class=variant.process_class,
            quorums=variant.quorums(ACCEPTORS),
            symmetric=[ACCEPTORS],
            **settings,
        ),
        states_max=3_000_000,
    )
    assert result.violation is not None
    assert "both chosen" in result.violation.text
    records = result.violation.records
    assert sum(r.kind == "chosen" for r in records if r.event == "note") >= 2
    sent = {r.number: r for r in records if r.event == "send"}
    for record in records:
        if record.event == "receive":
            assert sent[record.number].node == record.peer


@pytest.mark.slow
@pytest.mark.parametrize("acceptors", [(3,), (3, 4)], ids=len)
def test_the_network_reaches_exactly_the_states_of_the_message_set(acceptors):
    """Processes that keep their own state, on a set as network: from outside, the same states.

    Outside means: the acceptors' variables, and which messages have ever been sent.  Both values
    for each proposer, as the specification lets any ballot propose any value.
    """
    seen = set()
    for values in (("v1", "v1"), ("v1", "v2"), ("v2", "v1"), ("v2", "v2")):
        world = network(acceptors, values=values, network="set")
        for state in every_state(world):
            view = world.view(state)
            memory = tuple(
                (a.promised, a.accepted_number, a.accepted_value)
                for a in (view.nodes[node_id].acceptor for node_id in acceptors)
            )
            said = frozenset(
                (type(m).__name__, *m, sender if isinstance(m, (Promise, Accepted)) else None)
                for sender, _, m in view.wire
                if isinstance(m, (Prepare, Promise, Accept, Accepted))
            )
            seen.add((memory, said))
    model = MessageSet(acceptor_count=len(acceptors), value_count=2, ballot_count=2)
    assert len(seen) == explore(model).states
