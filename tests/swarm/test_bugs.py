"""Every classic bug is found by the swarm, within a bounded number of seeds, for what it is."""

import pytest

from consensus_lab.sim.swarm import run_plan
from consensus_lab.sim.swarm_plan import draw_plan
from tests.swarm.bug import Bug
from tests.swarm.bugs import BUGS
from tests.swarm.raft_bugs import RAFT_BUGS


def first_finding(bug: Bug) -> tuple[int, str] | None:
    """The first seed whose failure is one that this bug may show, or None."""
    with bug.in_force():
        for seed in range(bug.seeds_max):
            failure = run_plan(draw_plan(seed), bug.protocol).failure
            if failure is not None and failure.startswith(bug.noticed_as):
                return seed, failure
    return None


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_bug_is_found(bug):
    """A mechanism that is taken out is missed."""
    assert first_finding(bug) is not None, bug.rule


def test_there_are_at_least_ten_bugs_with_names_of_their_own():
    """What the swarm is measured by: at least ten of Raft, and some of Multi-Paxos."""
    assert len({bug.name for bug in BUGS}) == len(BUGS)
    assert len(RAFT_BUGS) >= 10


def test_a_bug_that_replaces_a_function_leaves_no_trace():
    """What is replaced during a run is as before afterwards."""
    replaced = [(bug, *part) for bug in BUGS for part in bug.replaced]
    assert replaced
    for bug, owner, name, function in replaced:
        before = getattr(owner, name)
        with bug.in_force():
            assert getattr(owner, name) is function
        assert getattr(owner, name) is before
