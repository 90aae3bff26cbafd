"""Does the essay's closing table hold when it is measured?

Its eleven rows, and eight more that it names in its text, for Paxos, Raft (etcd) and Nakamoto
(Bitcoin): the published value, ours with its interval, the real system's, how ours came about and
what to call to get it again, and a verdict.  Every cell has a stated tolerance (`outside`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consensus_lab import constants
from consensus_lab.experiments import Progress, live_etcd, quiet
from consensus_lab.experiments.cells import real, rows, tolerances
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.replicates import whole
from consensus_lab.experiments.result import Measure, Published, Result, checksum, new_folder
from consensus_lab.network import geography
from consensus_lab.report import table, table_changes, table_html, table_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "The essay's table, measured"
SAVED = "table"
"""Where a notebook looks for a table that was measured already, under its working directory."""

SYSTEMS = ("Paxos", "Raft (etcd)", "Nakamoto (Bitcoin)")
LIVE = {"n_failovers": 3, "clients": [1, 64, 256], "load_s": 2.0}
"""How long real etcd is measured for its column: about a minute."""

SIZES = ("n_nodes", "replicates", "seed")
"""Parameters that say how much is measured; `baseline` keeps them."""

NUMBERS = ("value", "low", "high", "published_value", "live_value", "ratio")


class Parameters(ParameterSet):
    """What the table is measured with; a change shows what would change in it."""

    n_servers: int = parameter(
        3, unit="count", meaning="servers of the cluster", minimum=1, maximum=9
    )
    server_geography: str = parameter(
        "single_region", meaning="where the servers stand", choices=geography.NAMES
    )
    n_nodes: int = parameter(
        13_870, unit="count", meaning="nodes of the network", minimum=50, maximum=200_000
    )
    block_interval_s: float = parameter(
        600.0, unit="s", meaning="mean time between blocks", minimum=1.0
    )
    block_size_bytes: int = parameter(
        constants.BLOCK_SIZE_BYTES_MAX, unit="bytes", meaning="size of full blocks", minimum=1000
    )
    transaction_size_bytes: int = parameter(
        226, unit="bytes", meaning="size of a payment with one input and change", minimum=60
    )
    confirmations: int = parameter(
        6, unit="blocks", meaning="depth at which a transaction counts as final", minimum=1,
        maximum=100,
    )  # fmt: skip
    replicates: int = parameter(
        5, full=20, unit="count", meaning="independent runs behind each interval", minimum=2
    )
    is_live: bool = parameter(
        False, meaning="measure real etcd on this machine now, not as it was measured before"
    )


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Measure every cell.

    Returns
    -------
    Result
        `frame`: one row per statement and system; `the_table` makes the table again.

    Raises
    ------
    ParameterError
        With `is_live`, where there is no etcd program or no grpcio.
    """
    statements = (*constants.ESSAY_TABLE, *constants.ESSAY_TEXT)
    real_values = {**real.saved_etcd(), **real.bitcoin()}
    if parameters.is_live:
        progress(0, len(statements), "rows; now: real etcd")
        real_values |= real.live_etcd(live_etcd.run(_live_parameters(parameters)))
    limits, makers, made = tolerances.tolerances(), rows.Rows(parameters).makers(), []
    for place, essay in enumerate(statements):
        progress(place, len(statements), f"rows; now: {essay.title.lower()}")
        with whole():
            cells = makers[essay.key](*essay.cells)
        made.append(table.Row(essay.key, essay.title, tuple(
            tolerances.judged(
                _with_sources(cell, essay, real_values.get((essay.key, system))),
                limits[essay.key, system],
            )
            for system, cell in zip(tolerances.SYSTEMS, cells, strict=True)
        )))  # fmt: skip
    progress(len(statements), len(statements), "rows")
    return _result(parameters, table.Table(TITLE, SYSTEMS, tuple(made), _notes(parameters)))


def _live_parameters(parameters: Parameters) -> live_etcd.Parameters:
    size = parameters.n_servers if parameters.n_servers in (3, 5) else 3
    return live_etcd.Parameters.of({**LIVE, "n_servers": size, "seed": parameters.seed})


def _with_sources(
    cell: table.Cell, essay: constants.EssayRow, known: real.Real | None
) -> table.Cell:
    """The cell with where its published value is from, and with the real one."""
    place = "table" if essay in constants.ESSAY_TABLE else "text"
    source = f"the essay's {place}" if cell.published else ""
    if known is None:
        return cell._replace(source=source)
    return cell._replace(
        source=source, live=known.text, live_value=known.value, live_source=known.source
    )


def _result(parameters: Parameters, whole: table.Table) -> Result:
    """The table as a result: cells that are numbers are its measures."""
    named = [
        (f"{row.key}, {system}", cell)
        for row in whole.rows
        for system, cell in zip(SYSTEMS, row.cells, strict=True)
        if cell.value is not None
    ]
    measures = [
        Measure(name, cell.value or 0.0, cell.low or 0.0, cell.high or 0.0, cell.unit,
                cell.replicates, cell.how)
        for name, cell in named
    ]  # fmt: skip
    known = [
        Published(name, cell.published_value, cell.unit, "essay")
        for name, cell in named
        if cell.published_value is not None
    ]
    frame = table.table_frame(whole)
    return Result("comparison", parameters, frame, measures, known, figure, notes=[*whole.notes])


def _notes(parameters: Parameters) -> tuple[str, ...]:
    return (
        f"Seed {parameters.seed}, {parameters.replicates} replicates, {parameters.n_nodes:,} "
        f"nodes; intervals are 95 %. Published: {constants.ESSAY}.",
        "The Paxos column is single-decree Paxos where one decision is looked at, else Multi-Paxos "
        "under the same key-value store as Raft. The essay states one value for both.",
        "The essay's two figures for etcd, below 10 ms and above 10,000 TPS, are of different "
        "loads; the cells of the rate say how far both hold together.",
    )


def the_table(result: Result) -> table.Table:
    """The table of a result of this experiment."""
    found: dict[str, list[Any]] = {}
    frame = result.frame.astype(object).where(result.frame.notna(), None)
    for record in frame.to_dict("records"):
        fields = {name: record[name] for name in table.Cell._fields}
        found.setdefault(record["row"], [record["title"]]).append(table.Cell(**fields))
    made = tuple(table.Row(key, title, tuple(cells)) for key, (title, *cells) in found.items())
    return table.Table(TITLE, SYSTEMS, made, tuple(result.notes))


def outside(result: Result) -> list[str]:
    """One line for each cell that is outside its stated tolerance."""
    return [
        f"{row.title}, {system}: {cell.ours} {cell.interval}".rstrip()
        + f"; published {table.published_text(cell)}"
        + (f", real {cell.live}" if cell.live else "") + f"; {cell.tolerance}"
        for row in the_table(result).rows
        for system, cell in zip(SYSTEMS, row.cells, strict=True)
        if not cell.is_kept
    ]  # fmt: skip


def baseline(parameters: Parameters) -> Parameters | None:
    """What a table is compared with: the defaults, but for how much is measured.

    Returns
    -------
    Parameters or None
        The parameters in `SIZES` are kept where anything else was changed; None where nothing is
        left to compare.
    """
    default = Parameters.of()
    changed = {name for name, value in parameters.as_dict().items()
               if value != getattr(default, name)}  # fmt: skip
    kept = SIZES if changed - {*SIZES, "is_live"} else ("replicates", "seed")
    made = default.replace(**{name: getattr(parameters, name) for name in kept})
    # Real etcd does not move a cell of ours: it is not measured a second time.
    return made if made != parameters.replace(is_live=False) else None


def changes(before: Result, after: Result) -> list[table_changes.Change]:
    """The cells of a table that another one has otherwise, in order."""
    return table_changes.changes(the_table(before), the_table(after))


def save_changes(before: Result, after: Result, folder: str | Path, *, width: int) -> str:
    """Write what moved between two tables beside the second, as CSV; returns it as text."""
    found = changes(before, after)
    target = Path(folder) / "changes.csv"
    target.write_text(table_changes.csv_text(found), encoding="utf-8")
    default = Parameters.of().as_dict()
    kept = [f"{name}={value}" for name, value in before.parameters.as_dict().items()
            if value != default[name]]  # fmt: skip
    against = ", ".join([*kept, "the rest at its default" if kept else "the defaults"])
    return table_changes.text(found, against=against, total=len(after.frame), width=width)


def as_text(result: Result, *, width: int, colour: bool) -> str:
    """The table for a terminal of that width."""
    return table_text.terminal(the_table(result), width=width, is_coloured=colour)


def save(result: Result, folder: str | Path) -> Path:
    """Write the table as text, Markdown, CSV, LaTeX and HTML with a manifest, whole or not."""
    whole = the_table(result)
    with new_folder(folder) as temporary:
        for name, text in (
            ("table.txt", table_text.terminal(whole, width=120, is_coloured=False)),
            ("table.md", table_text.markdown(whole)),
            ("table.tex", table_text.latex(whole)),
            ("table.csv", table_text.csv_text(whole)),
            ("table.html", table_html.html(whole)),
        ):
            (temporary / name).write_text(text, encoding="utf-8")
        files = {path.name: checksum(path) for path in sorted(temporary.iterdir())}
        manifest = json.dumps({**result.manifest(), "files": files}, indent=2)
        (temporary / "manifest.json").write_text(manifest + "\n", encoding="utf-8")
    return Path(folder)


def saved(parameters: Parameters, folder: str | Path = SAVED) -> Result | None:
    """The table that `save` wrote there, if it was measured with these parameters by this code.

    Parameters
    ----------
    parameters : Parameters
    folder : path
        Relative to the working directory; there `consensus-lab table` lays the table that it has
        just measured when it executes the table's notebook.

    Returns
    -------
    Result or None
        None when there is no such table, or one that was measured otherwise.
    """
    import pandas

    place = Path(folder)
    try:
        manifest = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
        is_whole = checksum(place / "table.csv") == manifest["files"]["table.csv"]
        empty = {name: [""] for name in NUMBERS}
        frame = pandas.read_csv(place / "table.csv", keep_default_na=False, na_values=empty)
    except (OSError, ValueError, KeyError):
        return None
    found = Result("comparison", parameters, frame, [], notes=[*_notes(parameters)])
    same = ("experiment", "parameters", "versions", "commit", "code")
    if not is_whole or any(manifest.get(name) != found.manifest()[name] for name in same):
        return None
    whole = the_table(found)
    made = _result(parameters, whole)
    made.wall_s, made.inputs = manifest["wall_s"], manifest["inputs"]
    return made


def figure(result: Result) -> Figure:
    """Ratio of our value to the published one for every cell that is a number."""
    from consensus_lab.report.figures import comparison_figure

    return comparison_figure(result)
