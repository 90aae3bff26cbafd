"""How many copies must a primary wait for before its crash can lose nothing?

A primary sends every write to its backups and crashes; a person names one of the backups the new
primary.  The share of acknowledged writes that this backup lacks falls with the number of copies
that were waited for, and so does the share of writes that are acknowledged at all: without
agreement there is no setting that is both safe and live.
"""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING

from consensus_lab.client import Request
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.intervals import proportion_interval
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.primary_backup import PrimaryBackup
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import Link
from consensus_lab.sim.streams import derive_seed, stream

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LATENCY_NS = 500_000
BETWEEN_WRITES_NS = 10_000_000
"""Long enough that a write has ended, well or badly, before the next begins."""


class Parameters(ParameterSet):
    """The cluster, and how bad its network is."""

    n_servers: int = parameter(
        5, unit="count", meaning="servers, the primary included", minimum=2, maximum=15
    )
    loss: float = parameter(
        0.1, meaning="chance that one copy of one write is lost on its way", minimum=0.0,
        maximum=1.0,
    )  # fmt: skip
    n_writes: int = parameter(
        2000, full=50_000, unit="count", meaning="writes per number of copies", minimum=1
    )


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Write, crash, look what the next primary has.

    Returns
    -------
    Result
        `frame`: one row per number of copies waited for: acknowledged and lost writes with their
        shares and 95 % intervals (Wilson), and the closed forms.
    """
    import pandas

    n = parameters.n_servers
    rows, measures, known = [], [], []
    for needed in range(1, n + 1):
        progress(needed - 1, n, "numbers of copies")
        acknowledged, lost = write_and_crash(parameters, needed)
        live = proportion_interval(acknowledged, parameters.n_writes)
        gone = proportion_interval(lost, acknowledged)
        exact_live, exact_lost = closed_form(n, copies_needed=needed, loss=parameters.loss)
        rows.append({
            "copies_needed": needed, "writes": parameters.n_writes, "acknowledged": acknowledged,
            "lost": lost, "acknowledged_share": live[0], "acknowledged_low": live[1],
            "acknowledged_high": live[2], "lost_share": gone[0], "lost_low": gone[1],
            "lost_high": gone[2], "acknowledged_exact": exact_live, "lost_exact": exact_lost,
        })  # fmt: skip
        for name, values, exact, count in (
            ("acknowledged", live, exact_live, parameters.n_writes),
            ("lost", gone, exact_lost, acknowledged),
        ):
            quantity = f"{name}_share_{needed}_copies"
            measures.append(Measure(quantity, *values, "share", count))
            known.append(Published(quantity, exact, "share", "closed form (binomial)"))
    progress(n, n, "numbers of copies")
    notes = [
        "Lost: acknowledged, and not on the disk of the backup that is named the new primary. A "
        f"majority is {n // 2 + 1}: enough for Paxos and Raft, because they choose who takes over "
        "by asking a majority too."
    ]
    frame = pandas.DataFrame(rows)
    return Result("primary-backup", parameters, frame, measures, known, figure, notes=notes)


def write_and_crash(parameters: Parameters, copies_needed: int) -> tuple[int, int]:
    """Writes that were acknowledged, and those of them that the next primary lacks."""
    servers = range(parameters.n_servers)
    engine = Engine(
        lambda i, disk: PrimaryBackup(i, disk, servers=servers, copies_needed=copies_needed),
        servers, seed=derive_seed(parameters.seed, "copies", copies_needed),
        links=Link(LATENCY_NS, loss=parameters.loss),
    )  # fmt: skip
    for write in range(parameters.n_writes):
        engine.submit(0, Request(write, f"x = {write}"), at_ns=write * BETWEEN_WRITES_NS)
    engine.run()
    acknowledged = sorted(engine.nodes[0].acknowledged)  # type: ignore[attr-defined]
    # Each write is asked of a backup of its own choice, as if the crash came right after it.
    draw = stream(parameters.seed, "next primary", copies_needed)
    lost = sum(
        index not in engine.nodes[1 + draw.randrange(len(servers) - 1)].log  # type: ignore[attr-defined]
        for index in acknowledged
    )
    return len(acknowledged), lost


def closed_form(n_servers: int, *, copies_needed: int, loss: float) -> tuple[float, float]:
    """Share of writes acknowledged, and of those the share that one random backup lacks.

    The number of backups with a copy is binomial; a lost answer counts as a lost copy for the
    primary, though the backup has the write.

    Examples
    --------
    >>> closed_form(3, copies_needed=1, loss=0.5)
    (1.0, 0.5)
    """
    backups, arrives, answers = n_servers - 1, 1.0 - loss, 1.0 - loss
    total = missing = 0.0
    for heard in range(copies_needed - 1, backups + 1):
        chance = comb(backups, heard) * (arrives * answers) ** heard
        chance *= (1.0 - arrives * answers) ** (backups - heard)
        # A backup that was not heard of has the write all the same if only its answer was lost.
        silent_lacks = loss / (1.0 - arrives * answers) if loss else 0.0
        total += chance
        missing += chance * (backups - heard) / backups * silent_lacks
    return total, missing / total if total else float("nan")


def figure(result: Result) -> Figure:
    """Both shares over the number of copies, the closed forms as points."""
    import pandas

    from consensus_lab.report.curves import curve_with_band

    frame, parts, points = result.frame, [], []
    for name, label in (("acknowledged", "acknowledged at all"), ("lost", "of those, lost")):
        columns = {f"{name}_share": "share", f"{name}_low": "low", f"{name}_high": "high"}
        parts.append(frame.rename(columns=columns)[["copies_needed", *columns.values()]].assign(
            what=label))  # fmt: skip
        exact = zip(frame["copies_needed"], frame[f"{name}_exact"], strict=True)
        points += [(x, y, "closed form") for x, y in exact if y == y]
    p = result.parameters
    last = frame.iloc[-1]
    return curve_with_band(
        pandas.concat(parts), x="copies_needed", y="share", low="low", high="high", group="what",
        published=points, is_share=True, x_label="copies waited for (servers, of "
        f"{p.n_servers})", y_label="share of writes",
        title=f"Waiting for all loses nothing and refuses {1 - last['acknowledged_share']:.0%}",
        detail=f"{p.n_writes:,} writes per point, {p.loss:.0%} of copies lost, 95 % intervals, "
        f"seed {p.seed}",
    )  # fmt: skip
