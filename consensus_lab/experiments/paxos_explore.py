"""Can Paxos ever choose two values?  Every reachable state of a small system is looked at.

The system is Lamport's specification of Paxos, with this package's own acceptors and proposers in
the place of its actions; its states are counted as TLC counts them, beside the published counts.
Then one rule at a time is broken, and a shortest way to two chosen values is found for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from consensus_lab import data
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.node import ParameterError
from consensus_lab.paxos.broken import VARIANTS, Variant
from consensus_lab.paxos.message_set import MessageSet
from consensus_lab.paxos.quorum import Quorums, majority
from consensus_lab.sim.explore import Exploration, explore

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CORRECT = "correct"
VARIANT_NAMES = tuple(variant.name for variant in VARIANTS)

# Sizes (acceptors, values, ballots) for which others have published counts, by row of the data.
PUBLISHED_SIZES = {
    (1, 1, 2): "Paxos (Paxos/MCPaxos)",
    (3, 2, 2): "Paxos (PaxosHowToWinATuringAward/MCPaxosTiny)",
}


class Parameters(ParameterSet):
    """Size of the system, what may happen, and where to stop."""

    n_acceptors: int = parameter(3, unit="count", meaning="acceptors", minimum=1, maximum=5)
    n_values: int = parameter(2, unit="count", meaning="values to propose", minimum=1, maximum=4)
    n_ballots: int = parameter(2, unit="count", meaning="ballots", minimum=1, maximum=4)
    phase1_quorum: int = parameter(
        0, unit="count", meaning="acceptors in a phase-1 quorum; 0 is a majority", minimum=0
    )
    phase2_quorum: int = parameter(
        0, unit="count", meaning="acceptors in a phase-2 quorum; 0 is a majority", minimum=0
    )
    crashes: bool = parameter(
        True, meaning="acceptors may at any time start again from their disks"
    )
    break_rules: bool = parameter(True, meaning="also search the variants that break one rule")
    shown: str = parameter(
        VARIANT_NAMES[-1], meaning="the variant whose counterexample is drawn",
        choices=(CORRECT, *VARIANT_NAMES),
    )  # fmt: skip
    states_max: int = parameter(
        300_000, full=3_000_000, unit="count", meaning="stop at that many states", minimum=1
    )
    depth_max: int = parameter(
        0, unit="count", meaning="stop at that many states from the start; 0 is no limit", minimum=0
    )

    def check(self) -> None:
        """Refuse quorums that do not intersect."""
        self.quorums()

    def quorums(self) -> Quorums:
        """The quorums of both phases among acceptors 1, 2, ..."""
        usual = majority(self.n_acceptors)
        return Quorums(
            range(1, self.n_acceptors + 1),
            phase1=self.phase1_quorum or usual,
            phase2=self.phase2_quorum or usual,
        )

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Acceptors, values, ballots."""
        return self.n_acceptors, self.n_values, self.n_ballots


class Search(NamedTuple):
    """One system that was searched, and what was found."""

    name: str
    rule: str
    exploration: Exploration


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Search Paxos, then each broken variant.

    Returns
    -------
    Result
        `frame`: one row per system: states, transitions, depth, whether the search is complete,
        steps of the shortest counterexample (0 if there is none), verdict.
    """
    import pandas

    searches = [Search(CORRECT, "none broken", search(parameters, None))]
    broken = VARIANTS if parameters.break_rules else ()
    for place, variant in enumerate(broken):
        progress(place, len(broken), "broken variants")
        searches.append(Search(variant.name, variant.rule, search(parameters, variant)))
    progress(len(broken), len(broken), "broken variants")
    rows = [_row(found) for found in searches]
    draw = _drawing(parameters, searches)
    return Result(
        "paxos-explore", parameters, pandas.DataFrame(rows), _measures(searches),
        published(parameters), draw, notes=_notes(parameters, searches),
    )  # fmt: skip


def search(parameters: Parameters, variant: Variant | None) -> Exploration:
    """Look at every state of correct Paxos, or of a variant that breaks a rule."""
    acceptors, values, ballots = parameters.sizes
    settings: dict[str, Any] = {"quorums": parameters.quorums(), "crashes": parameters.crashes}
    if variant is not None:
        settings["process_class"] = variant.process_class
        settings["crashes"] = variant.crashes
        if variant.quorum_deficit and majority(acceptors) > variant.quorum_deficit:
            settings["quorums"] = variant.quorums(parameters.quorums().acceptors)
    model = MessageSet(
        acceptor_count=acceptors, value_count=values, ballot_count=ballots, **settings
    )
    depth_max = parameters.depth_max or None
    return explore(model, states_max=parameters.states_max, depth_max=depth_max)


def _row(found: Search) -> dict[str, Any]:
    exploration = found.exploration
    violation = exploration.violation
    return {
        "system": found.name, "broken_rule": found.rule,
        "states_count": exploration.states, "transitions_count": exploration.transitions,
        "depth": exploration.depth, "is_complete": exploration.is_complete,
        "counterexample_steps": 0 if violation is None else len(violation.path),
        "verdict": exploration.verdict,
    }  # fmt: skip


def _measures(searches: Sequence[Search]) -> list[Measure]:
    correct = searches[0].exploration
    caught = sum(found.exploration.violation is not None for found in searches[1:])
    counts = {
        "distinct_states": correct.states,
        "depth": correct.depth,
        "violations": int(correct.violation is not None),
        "broken_variants_caught": caught,
    }
    return [
        Measure(name, count, count, count, "count", 1, "exhaustive search")
        for name, count in counts.items()
    ]


def _notes(parameters: Parameters, searches: Sequence[Search]) -> list[str]:
    notes = [f"Correct Paxos: {searches[0].exploration.verdict}", parameters.quorums().remark]
    if parameters.crashes:
        notes.append(
            "Crashes add transitions but no state: all that an acceptor needs is on its disk."
        )
    for found in searches[1:]:
        notes.append(f"Broken, {found.name} ({found.rule}): {found.exploration.verdict}")
    return notes


def published(parameters: Parameters) -> list[Published]:
    """What TLC reports for a model of the same size, where it is published."""
    model = PUBLISHED_SIZES.get(parameters.sizes)
    if model is None or parameters.quorums() != Quorums(parameters.quorums().acceptors):
        return []
    row = next(
        row for row in data.rows("raft/published/model_checker_state_counts.csv")
        if row["model"] == model
    )  # fmt: skip
    source = f"TLC, {row['source']}"
    return [
        Published("distinct_states", float(row["distinct_states"]), "count", source),
        Published("depth", float(row["depth"]), "count", source),
    ]


def _drawing(parameters: Parameters, searches: Sequence[Search]) -> Any:
    """The counterexample of the shown variant, or states per depth where there is none."""
    for found in searches:
        violation = found.exploration.violation
        if found.name == parameters.shown and violation is not None:
            return partial(
                counterexample_figure, records=list(violation.records), name=found.name,
                text=violation.text, steps=len(violation.path),
            )  # fmt: skip
    return partial(levels_figure, levels=searches[0].exploration.levels)


def counterexample_figure(
    result: Result, *, records: list[Any], name: str, text: str, steps: int
) -> Figure:
    """The space-time diagram of a way to two chosen values."""
    from consensus_lab.report.paxos import counterexample

    parameters = result.parameters
    assert isinstance(parameters, Parameters)
    return counterexample(
        records, n_acceptors=parameters.n_acceptors, name=name, text=text, steps=steps
    )


def levels_figure(result: Result, *, levels: Sequence[int]) -> Figure:
    """How many states there are at each depth."""
    from consensus_lab.report.paxos import states_per_depth

    parameters = result.parameters
    assert isinstance(parameters, Parameters)
    acceptors, values, ballots = parameters.sizes
    return states_per_depth(
        levels,
        title=result.notes[0],
        detail=f"{sum(levels):,} states; {acceptors} acceptors, {values} values, {ballots} ballots",
    )


def variant_named(name: str) -> Variant:
    """The broken variant of that name, for notebooks.

    Raises
    ------
    ParameterError
        When there is none.
    """
    for variant in VARIANTS:
        if variant.name == name:
            return variant
    raise ParameterError("shown", name, "one of " + ", ".join(VARIANT_NAMES))
