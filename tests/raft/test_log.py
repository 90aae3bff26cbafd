"""The log: matching, marks, paging; and a model of it that keeps whole lists."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus_lab.raft.entries import Entry, Snapshot
from consensus_lab.raft.log import RaftLog, limited
from tests.raft.helpers import entries_of


def log_of(*terms, base=0, base_term=0, **settings):
    """A log on disk with entries of those terms after the base."""
    entries = entries_of(terms, first=base + 1)
    return RaftLog(entries, base_index=base, base_term=base_term, **settings)


def test_terms_are_known_from_the_base_to_the_end():
    """The compacted entry's own term is still known; before it and after the end none is."""
    log = log_of(5, 6, base=3, base_term=4)
    assert [log.term(index) for index in range(2, 7)] == [None, 4, 5, 6, None]
    assert (log.first_index, log.last_index, log.last_term) == (4, 5, 6)


@pytest.mark.parametrize(
    ("index", "term", "expected"),
    [(2, 3, True), (3, 2, False), (3, 3, True), (4, 3, True), (1, 4, True), (9, 2, False)],
)
def test_up_to_date_compares_terms_before_lengths(index, term, expected):
    """Later last term wins; with equal terms the longer log wins, and equal logs pass (§5.4.1)."""
    log = log_of(1, 3, 3) if (index, term) != (2, 3) else log_of(1, 3)
    assert log.is_up_to_date(index, term) is expected


def test_an_append_that_does_not_match_changes_nothing():
    """No entry of that term at that index: None, and the log as it was."""
    log = log_of(1, 2)
    assert log.maybe_append(2, 3, 9, entries_of([3], first=3)) is None
    assert log.maybe_append(3, 2, 9, ()) is None
    assert (log.last_index, log.committed) == (2, 0)


def test_entries_that_are_here_already_are_not_touched():
    """An old append that arrives late must not cut what came after it (Raft Fig. 2)."""
    log = log_of(1, 1, 1)
    assert log.maybe_append(0, 0, 1, entries_of([1, 1])) == 2
    assert log.last_index == 3
    assert log.stable == 3
    assert log.committed == 1


def test_a_conflict_cuts_the_rest_and_moves_the_marks_back():
    """What was on disk beyond the conflict must be written again."""
    log = log_of(1, 1, 1)
    assert log.maybe_append(1, 1, 0, entries_of([2], first=2)) == 2
    assert [entry.term for entry in log.entries] == [1, 2]
    assert (log.stable, log.handed_out, log.last_index) == (1, 1, 2)
    assert [entry.term for entry in log.next_unstable()] == [2]


def test_a_committed_entry_is_never_replaced():
    """That would be a bug, not a message to refuse."""
    log = log_of(1, 1)
    log.commit_to(2)
    with pytest.raises(AssertionError, match="committed"):
        log.maybe_append(0, 0, 0, entries_of([2]))
    with pytest.raises(AssertionError, match="beyond the log"):
        log.commit_to(3)


def test_commit_follows_the_append_but_not_beyond_it():
    """The leader's commit index counts only as far as the append proves that the logs match."""
    log = log_of(1, 1, 1)
    log.maybe_append(1, 1, 3, ())
    assert log.committed == 1


def test_counting_commits_only_entries_of_that_term():
    """Raft §5.4.2."""
    log = log_of(1, 2)
    assert not log.maybe_commit(1, 2)
    assert log.maybe_commit(2, 2)
    assert not log.maybe_commit(2, 2)
    assert log.committed == 2


@pytest.mark.parametrize(
    ("index", "term", "expected"),
    [
        (6, 9, (6, 5)), (6, 4, (4, 3)), (5, 3, (4, 3)), (3, 1, (1, 0)), (9, 9, (9, 0)),
        (0, 0, (0, 0)),
    ],
)  # fmt: skip
def test_where_logs_may_still_match(index, term, expected):
    """The highest index with a term of at most the given one; unknown terms are taken for it."""
    log = log_of(3, 3, 5, 5, base=2, base_term=2)
    assert log.find_conflict_by_term(index, term) == expected


def test_stable_marks_follow_the_disk_unless_the_entry_was_replaced():
    """An answer for an entry that has another term by now proves nothing (the ABA race)."""
    log = log_of()
    log.append(entries_of([1, 1]))
    log.hand_out()
    assert log.next_unstable() == ()
    log.append(entries_of([2, 2], first=2))
    assert [entry.index for entry in log.next_unstable()] == [2, 3]
    log.stable_to(2, 1)
    assert log.stable == 0
    log.stable_to(1, 1)
    assert log.stable == 1
    log.stable_to(3, 2)
    assert not log.has_unstable
    log.stable_to(2, 2)
    assert log.stable == 3


def test_only_durable_entries_are_applied_when_told_so():
    """With asynchronous storage an entry is applied once it is committed and on this disk."""
    log = log_of()
    log.append(entries_of([1, 1]))
    log.commit_to(2)
    assert not log.has_next_committed(allow_unstable=False)
    assert [entry.index for entry in log.next_committed()] == [1, 2]
    log.stable_to(1, 1)
    assert [entry.index for entry in log.next_committed(allow_unstable=False)] == [1]


def test_applying_pauses_at_the_bound_and_goes_on_after_an_answer():
    """The bound counts what is with the state machine, and lets one entry through always."""
    entries = tuple(Entry(1, index, "x" * 100) for index in range(1, 6))
    size = entries[0].size_bytes
    log = RaftLog(entries, applying_bytes_max=2 * size)
    log.commit_to(5)
    first = log.next_committed()
    assert [entry.index for entry in first] == [1, 2]
    log.accept_applying(first)
    assert log.next_committed() == ()
    log.applied_to(1, size)
    assert [entry.index for entry in log.next_committed()] == [3]
    loose = RaftLog(entries, applying_bytes_max=3 * size - 1)
    loose.commit_to(5)
    loose.accept_applying(loose.next_committed())
    assert loose.applying == 2
    assert loose.next_committed() == ()  # There is room left, but not for the third.
    tight = RaftLog(entries, applying_bytes_max=1)
    tight.commit_to(5)
    assert len(tight.next_committed()) == 1


def test_a_pending_snapshot_holds_back_entries():
    """What is to be applied first would be unclear."""
    log = log_of(1, 1)
    log.restore(Snapshot(9, 3))
    assert (log.first_index, log.last_index, log.last_term, log.committed) == (10, 9, 3, 9)
    assert log.next_snapshot() == Snapshot(9, 3)
    log.append(entries_of([3], first=10))
    log.commit_to(10)
    assert not log.has_next_committed()
    log.hand_out()
    assert log.next_snapshot() is None
    log.stable_snapshot_to(8)
    assert log.snapshot is not None
    log.stable_snapshot_to(9)
    log.applied_to(9)
    assert [entry.index for entry in log.next_committed()] == [10]


def test_compaction_keeps_the_term_of_the_last_dropped_entry():
    """An append that follows it must still be matched."""
    log = log_of(1, 1, 2, 3)
    log.commit_to(3)
    log.applied_to(3)
    log.compact(3)
    assert (log.base_index, log.base_term, log.first_index) == (3, 2, 4)
    assert log.matches(3, 2)
    assert log.slice(4, 5) == entries_of([3], first=4)
    log.compact(1)
    assert log.base_index == 3
    with pytest.raises(AssertionError):
        log.compact(4)


@pytest.mark.slow
@given(
    sizes=st.lists(st.integers(0, 300), max_size=8),
    limit=st.one_of(st.none(), st.integers(0, 1000)),
)
def test_paging_takes_the_longest_prefix_that_fits_but_at_least_one(sizes, limit):
    """Against the definition."""
    entries = tuple(Entry(1, n, "x" * size) for n, size in enumerate(sizes, 1))
    page = limited(entries, limit)
    assert page == entries[: len(page)]
    total = sum(entry.size_bytes for entry in page)
    if limit is not None and len(page) < len(entries):
        assert total + entries[len(page)].size_bytes > limit
    if limit is None:
        assert page == entries
    elif len(page) > 1:
        assert total <= limit
    assert page or not entries


TERMS = st.lists(st.integers(1, 4), max_size=8).map(sorted)


@pytest.mark.slow
@given(own=TERMS, other=TERMS, data=st.data())
def test_appending_a_leaders_log_keeps_log_matching(own, other, data):
    """Logs of one history: after a successful append both agree up to where it reaches.

    The two logs share a prefix, as log matching promises; beyond it terms differ.
    """
    shared = data.draw(st.integers(0, min(len(own), len(other))))
    prefix = other[:shared]
    tail = [term + 10 for term in own[shared:]]
    log = log_of(*prefix, *tail)
    leader = entries_of([*prefix, *(term + 20 for term in other[shared:])])
    terms = [0, *(entry.term for entry in leader)]
    index = data.draw(st.integers(0, len(leader)))
    upto = data.draw(st.integers(index, len(leader)))
    before = list(log.entries)
    last = log.maybe_append(index, terms[index], 0, leader[index:upto])
    if index <= shared:
        assert last == upto
        assert tuple(log.entries[:upto]) == leader[:upto]
        if upto <= shared:
            assert log.entries == before
    else:
        assert last is None
        assert log.entries == before
