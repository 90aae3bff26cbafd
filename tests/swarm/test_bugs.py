"""Every classic bug is found by the swarm, within a bounded number of seeds, for what it is."""

import pytest

from consensus_lab.sim.swarm import run_plan
from consensus_lab.sim.swarm_plan import draw_plan
from tests.swarm.bugs import BUGS, Bug


def first_finding(bug: Bug) -> tuple[int, str] | None:
    """The first seed whose failure is one that this bug may show, or None."""
    protocol = bug.protocol()
    with bug.in_force():
        for seed in range(bug.first_seed, bug.first_seed + bug.seeds_max):
            failure = run_plan(draw_plan(seed), protocol).failure
            if failure is not None and failure.startswith(bug.noticed_as):
                return seed, failure
    return None


@pytest.mark.slow
@pytest.mark.parametrize("bug", [bug for bug in BUGS if not bug.is_rare], ids=lambda bug: bug.name)
def test_the_bug_is_found(bug):
    """A mechanism that is taken out is missed."""
    assert first_finding(bug) is not None, bug.rule


@pytest.mark.full
@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug.is_rare], ids=lambda bug: bug.name)
def test_the_rare_bug_is_found(bug):
    """The same for bugs that need many seeds."""
    assert first_finding(bug) is not None, bug.rule


def test_there_are_at_least_ten_bugs_with_names_of_their_own():
    """What the swarm is measured by."""
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 10


def test_a_bug_that_replaces_a_function_leaves_no_trace():
    """What is replaced during a run is as before afterwards."""
    replaced = [(bug, *part) for bug in BUGS for part in bug.replaced]
    assert replaced
    for bug, module, name, function in replaced:
        before = getattr(module, name)
        with bug.in_force():
            assert getattr(module, name) is function
        assert getattr(module, name) is before
