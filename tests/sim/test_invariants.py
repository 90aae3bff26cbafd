"""Every invariant is quiet when its rule holds and speaks when it is broken."""

import pickle
from collections import deque
from types import SimpleNamespace

import pytest

from consensus_lab.node import Apply
from consensus_lab.paxos.quorum import Quorums
from consensus_lab.raft.entries import Entry
from consensus_lab.raft.log import RaftLog
from consensus_lab.sim.invariants import AppliedInOrder, EqualStates, InvariantViolation, Promised
from consensus_lab.sim.log_invariants import LogInvariants, is_majority_of_each
from consensus_lab.sim.slot_invariants import COVERED, SlotInvariants


class FakeEngine:
    """What invariants look at: processes with nodes, disks, and the apply hook."""

    def __init__(self, nodes):
        self.processes = {
            i: SimpleNamespace(node_id=i, node=node, stream=deque(), incarnation=0)
            for i, node in nodes.items()
        }
        self.disks = {i: i for i in nodes}
        self.on_apply = None

    def node(self, node_id):
        return self.processes[node_id].node

    def restart(self, node_id, node):
        process = self.processes[node_id]
        process.node, process.incarnation = node, process.incarnation + 1


def broken(rule):
    """Expect a violation of that rule."""
    return pytest.raises(InvariantViolation, match=f"^{rule}: node ")


# What holds for every protocol.


def test_two_nodes_may_not_apply_different_commands_at_an_index():
    """State-machine safety (Raft §5.4.3)."""
    engine, applied = FakeEngine({1: None, 2: None}), AppliedInOrder()
    applied.attach(engine)
    engine.on_apply(1, Apply(1, "a"), 0)
    engine.on_apply(2, Apply(1, "a"), 0)
    engine.on_apply(1, Apply(2, "b"), 0)
    with broken("state-machine safety"):
        engine.on_apply(2, Apply(2, "c"), 0)


def test_a_node_applies_each_index_once_in_a_life():
    """After a restart it may begin again."""
    engine, applied = FakeEngine({1: None}), AppliedInOrder()
    applied.attach(engine)
    engine.on_apply(1, Apply(1, "a"), 0)
    engine.restart(1, None)
    engine.on_apply(1, Apply(1, "a"), 0)
    with broken("applied in order"):
        engine.on_apply(1, Apply(1, "a"), 0)


class Machine:
    """A state machine that is its snapshot."""

    def __init__(self, state):
        self.state = state

    def snapshot(self):
        return self.state


def test_equal_prefixes_give_equal_states():
    """Two replicas that applied as far are in one state."""
    engine = FakeEngine({1: (3, Machine("x")), 2: (2, Machine("w")), 3: (3, Machine("y"))})
    check = EqualStates(lambda node: node)
    check(engine, 1)
    check(engine, 2)
    with broken("equal states"):
        check(engine, 3)


def test_a_promise_outlives_a_crash_once_nothing_waits_for_the_disk():
    """What was still under way may be lost, what was told may not."""
    engine, check = FakeEngine({1: 5}), Promised("ballots never go back", lambda node: node)
    check(engine, 1)
    engine.processes[1].node = 7
    engine.processes[1].stream.append("a write under way")
    check(engine, 1)
    engine.processes[1].stream.clear()
    engine.restart(1, 5)
    check(engine, 1)
    engine.restart(1, 4)
    with broken("ballots never go back"):
        check(engine, 1)


def test_a_violation_survives_a_worker():
    """Swarm workers send it to their parent."""
    violation = InvariantViolation("rule", 3, "detail")
    assert str(pickle.loads(pickle.dumps(violation))) == "rule: node 3: detail"


# Logs with terms.

VOTERS = frozenset({1, 2, 3})


def core(*terms, term=0, vote=0, is_leader=False, committed=0, base=(0, 0), voters=VOTERS):
    """A server's core: its log holds entries of those terms."""
    base_index, base_term = base
    entries = [Entry(t, base_index + i, f"{t}.{base_index + i}") for i, t in enumerate(terms, 1)]
    log = RaftLog(entries, base_index=base_index, base_term=base_term)
    log.committed = committed or base_index
    return SimpleNamespace(
        term=term, vote=vote, is_leader=is_leader, log=log,
        configuration=SimpleNamespace(voters=voters, outgoing=frozenset()),
    )  # fmt: skip


class Disk:
    """A disk that holds everything and has voted for somebody, unless told otherwise."""

    def __init__(self, term=99, vote=0, holds=True):
        self.term, self.vote, self._holds = term, vote, holds

    def holds(self, index, term):
        return self._holds


def log_invariants(disks=None):
    """The invariant, with given disks by node."""
    disks = disks or {}
    return LogInvariants(view=lambda node: node, durable=lambda disk: disks.get(disk, Disk()))


def look(check, engine, node_id, now):
    """The node is as given now; look at it."""
    engine.processes[node_id].node = now
    check(engine, node_id)


def cluster():
    """Three servers that have done nothing yet."""
    return FakeEngine({1: core(), 2: core(), 3: core()})


def test_an_ordinary_run_breaks_nothing():
    """An election, two entries, a commit, a snapshot, a crash."""
    engine, check = cluster(), log_invariants()
    look(check, engine, 1, core(term=1, vote=1))
    look(check, engine, 1, core(1, term=1, vote=1, is_leader=True))
    look(check, engine, 2, core(1, term=1, vote=1))
    look(check, engine, 1, core(1, 1, term=1, vote=1, is_leader=True, committed=2))
    look(check, engine, 2, core(1, 1, term=1, vote=1, committed=1))
    look(check, engine, 1, core(1, term=1, vote=1, is_leader=True, base=(2, 1), committed=3))
    engine.restart(1, core(1, term=1, vote=1, base=(2, 1)))
    check(engine, 1)
    look(check, engine, 3, core(term=1, base=(3, 1)))


def test_a_term_has_one_leader():
    """Election safety (Raft §5.2)."""
    engine, check = cluster(), log_invariants()
    look(check, engine, 1, core(1, term=1, is_leader=True))
    with broken("election safety"):
        look(check, engine, 2, core(1, term=1, is_leader=True))


def test_votes_are_on_the_disks_of_a_majority():
    """Raft Fig. 2: the vote is written before it is answered."""
    disks = {1: Disk(1, 1), 2: Disk(1, 3), 3: Disk(0, 0)}
    with broken("elected by a durable quorum"):
        look(log_invariants(disks), cluster(), 1, core(1, term=1, vote=1, is_leader=True))
    disks[2] = Disk(1, 1)
    look(log_invariants(disks), cluster(), 1, core(1, term=1, vote=1, is_leader=True))


def test_a_joint_configuration_needs_both_majorities():
    """Joint consensus (Raft §6): in the old half as in the new one."""
    disks = {1: Disk(1, 1), 2: Disk(1, 1), 3: Disk(1, 1), 4: Disk(0), 5: Disk(0)}
    engine = FakeEngine({i: core() for i in disks})
    leader = core(1, term=1, vote=1, is_leader=True)
    leader.configuration = SimpleNamespace(voters=VOTERS, outgoing=frozenset({3, 4, 5}))
    with broken("elected by a durable quorum"):
        look(log_invariants(disks), engine, 1, leader)
    assert is_majority_of_each({1, 2, 4}, [VOTERS, frozenset({4})])


def test_a_server_votes_once_per_term_also_after_a_crash():
    """Raft §5.2."""
    engine, check = cluster(), log_invariants()
    look(check, engine, 1, core(term=1, vote=2))
    engine.restart(1, core(term=1, vote=3))
    with broken("one vote per term"):
        check(engine, 1)


def test_a_vote_that_never_reached_the_disk_may_be_given_again():
    """A crash before the write: nobody was told."""
    engine, check = cluster(), log_invariants()
    engine.processes[1].stream.append("a write under way")
    look(check, engine, 1, core(term=1, vote=2))
    engine.processes[1].stream.clear()
    engine.restart(1, core(term=1, vote=3))
    check(engine, 1)


def test_terms_never_go_back():
    """Raft §5.1, within a life and across a crash."""
    engine, check = cluster(), log_invariants()
    look(check, engine, 1, core(term=5))
    with broken("term never goes back"):
        look(check, engine, 1, core(term=4))
    engine.restart(1, core(term=4))
    with broken("term never goes back"):
        check(engine, 1)


def test_the_commit_index_never_goes_back_in_a_life():
    """After a crash it may: it is learned again."""
    engine, check = cluster(), log_invariants()
    look(check, engine, 1, core(1, 1, term=1, committed=1))
    look(check, engine, 1, core(1, 1, term=1, committed=2))
    engine.restart(1, core(1, 1, term=1, committed=1))
    check(engine, 1)
    look(check, engine, 1, core(1, 1, term=1, committed=2))
    with broken("commit never goes back"):
        look(check, engine, 1, core(1, 1, term=1, committed=1))


def test_equal_entries_hold_equal_commands():
    """Log matching, first half (Raft §5.3)."""
    engine, check = cluster(), log_invariants()
    look(check, engine, 1, core(1, 2, term=2))
    other = core(1, 2, term=2)
    other.log.entries[1] = Entry(2, 2, "something else")
    with broken("log matching"):
        look(check, engine, 2, other)


def test_equal_entries_have_equal_prefixes():
    """Log matching, second half (Raft §5.3)."""
    engine, check = cluster(), log_invariants()
    look(check, engine, 1, core(1, 2, term=2))
    with broken("log matching"):
        look(check, engine, 2, core(2, 2, term=2))


def test_a_leader_only_appends():
    """Raft §5.3."""
    engine, check = cluster(), log_invariants()
    look(check, engine, 1, core(1, 2, 2, term=2, is_leader=True))
    with broken("leader append-only"):
        look(check, engine, 1, core(1, 2, term=2, is_leader=True))


def test_a_leader_holds_what_was_committed_before():
    """Leader completeness (Raft §5.4)."""
    engine, check = cluster(), log_invariants()
    look(check, engine, 1, core(1, 1, term=1, is_leader=True, committed=2))
    with broken("leader completeness"):
        look(check, engine, 2, core(1, 2, term=2, is_leader=True))


def test_a_leader_of_an_older_term_may_be_elected_late():
    """It need not hold what a later term committed, and commits nothing any more."""
    engine, check = cluster(), log_invariants()
    look(check, engine, 1, core(3, 3, term=3, is_leader=True, committed=2))
    look(check, engine, 2, core(2, term=2, is_leader=True))


def test_nobody_commits_another_entry():
    """State-machine safety (Raft §5.4.3)."""
    engine, check = cluster(), log_invariants()
    look(check, engine, 1, core(1, 1, term=1, committed=2))
    with broken("state-machine safety"):
        look(check, engine, 2, core(1, 2, term=2, committed=2))


def test_a_snapshot_ends_with_the_committed_entry():
    """The same for the entry that a snapshot stands for (Raft §7)."""
    engine, check = cluster(), log_invariants()
    look(check, engine, 1, core(1, 1, term=1, committed=2))
    with broken("state-machine safety"):
        look(check, engine, 2, core(term=2, base=(2, 2)))


def test_what_is_committed_is_on_the_disks_of_a_majority():
    """Raft §5.3."""
    disks = {1: Disk(), 2: Disk(holds=False), 3: Disk(holds=False)}
    with broken("committed is durable on a quorum"):
        look(log_invariants(disks), cluster(), 1, core(1, term=1, is_leader=True, committed=1))


def test_only_entries_of_the_leaders_term_are_counted():
    """Raft §5.4.2."""
    engine, check = cluster(), log_invariants()
    look(check, engine, 1, core(1, 1, term=2, is_leader=True))
    with broken("commits its own term"):
        look(check, engine, 1, core(1, 1, term=2, is_leader=True, committed=2))


# Slots with ballots.


def replica(*accepted, promised=0, chosen=0, trimmed=0, first_slot=1):
    """A replica that accepted (ballot, value) pairs in consecutive slots."""
    entries = {
        slot: SimpleNamespace(ballot=ballot, value=value)
        for slot, (ballot, value) in enumerate(accepted, first_slot)
    }
    log = SimpleNamespace(promised=promised, entries=entries, chosen_index=chosen, trimmed=trimmed)
    return SimpleNamespace(log=log, eras=SimpleNamespace(all=lambda: ((1, Quorums((1, 2, 3))),)))


def slot_invariants(held=None):
    """The invariant; `held` gives what a disk has in a slot."""
    held = held or (lambda disk, slot: COVERED)
    return SlotInvariants(
        view=lambda node: node, durable=lambda disk: lambda slot: held(disk, slot)
    )


def replicas():
    """Three replicas that have done nothing yet."""
    return FakeEngine({1: replica(), 2: replica(), 3: replica()})


def test_an_ordinary_run_of_slots_breaks_nothing():
    """Two values accepted and chosen, one slot trimmed, one overtaken by a higher ballot."""
    engine, check = replicas(), slot_invariants()
    look(check, engine, 1, replica((1, "a"), (1, "b"), promised=1))
    look(check, engine, 1, replica((1, "a"), (1, "b"), promised=1, chosen=1))
    look(check, engine, 2, replica((1, "a"), (2, "c"), promised=2, chosen=1))
    look(check, engine, 1, replica((1, "b"), promised=2, chosen=1, trimmed=1, first_slot=2))
    look(check, engine, 1, replica((2, "c"), promised=2, chosen=2, trimmed=1, first_slot=2))


def test_a_ballot_has_one_value_per_slot():
    """Whoever accepted it (Paxos Made Simple §2.2)."""
    engine, check = replicas(), slot_invariants()
    look(check, engine, 1, replica((1, "a"), promised=1))
    with broken("one value per ballot"):
        look(check, engine, 2, replica((1, "b"), promised=1))


def test_a_slot_has_one_chosen_value():
    """P2 of Paxos Made Simple."""
    engine, check = replicas(), slot_invariants()
    look(check, engine, 1, replica((1, "a"), promised=1, chosen=1))
    with broken("one value per slot"):
        look(check, engine, 2, replica((2, "b"), promised=2, chosen=1))


def test_what_is_chosen_is_on_the_disks_of_a_quorum():
    """Two of three acceptors; a snapshot counts for its slots."""
    engine, check = replicas(), slot_invariants(lambda disk, slot: "a" if disk == 1 else None)
    with broken("chosen is durable on a quorum"):
        look(check, engine, 1, replica((1, "a"), promised=1, chosen=1))
    held = {1: "a", 2: COVERED, 3: "b"}
    check = slot_invariants(lambda disk, slot: held[disk])
    look(check, replicas(), 1, replica((1, "a"), promised=1, chosen=1))


def test_ballots_and_chosen_prefixes_never_go_back():
    """Within a life."""
    engine, check = replicas(), slot_invariants()
    look(check, engine, 1, replica((3, "a"), promised=3, chosen=1))
    with broken("ballots never go back"):
        look(check, engine, 1, replica((3, "a"), promised=2, chosen=1))
    with broken("chosen never goes back"):
        look(check, engine, 1, replica((3, "a"), promised=3))


def test_a_chosen_slot_is_known():
    """A replica that believes a slot chosen has its value."""
    engine, check = replicas(), slot_invariants()
    with broken("chosen slots are known"):
        look(check, engine, 1, replica((1, "a"), promised=1, chosen=2))
