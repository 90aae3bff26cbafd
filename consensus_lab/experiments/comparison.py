"""Does the essay's closing table hold when it is measured?

All eleven rows for Paxos (etcd) and Nakamoto (Bitcoin): the published cell, ours with its
interval, how ours came about and what to call to get it again, and a verdict.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consensus_lab import constants
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.cells import limits, loads, membership
from consensus_lab.experiments.clusters import ClusterParameters
from consensus_lab.experiments.networks import NetworkParameters
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.result import Measure, Published, Result, checksum, new_folder
from consensus_lab.network import geography
from consensus_lab.report import table, table_html, table_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "The essay's table, measured"
SAVED = "table"
"""Where a notebook looks for a table that was measured already, under its working directory."""

SYSTEMS = ("Paxos (etcd)", "Nakamoto (Bitcoin)")
RELAY_BLOCKS = 30


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


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Measure every cell.

    Returns
    -------
    Result
        `frame`: one row per statement and system; `the_table` makes the table again.
    """
    rows = []
    makers = _rows(parameters)
    for place, essay in enumerate(constants.ESSAY_TABLE):
        progress(place, len(makers), f"rows; now: {essay.title.lower()}")
        cells = makers[essay.key](essay.paxos, essay.nakamoto)
        rows.append(table.Row(essay.key, essay.title, cells))
    progress(len(makers), len(makers), "rows")
    whole = table.Table(TITLE, SYSTEMS, tuple(rows), _notes(parameters))
    return _result(parameters, whole)


def _result(parameters: Parameters, whole: table.Table) -> Result:
    """The table as a result: cells that are numbers are its measures."""
    named = [
        (f"{row.key}, {system}", cell)
        for row in whole.rows
        for system, cell in zip(SYSTEMS, row.cells, strict=True)
        if cell.value is not None
    ]
    measures = [
        Measure(name, cell.value, cell.low or 0.0, cell.high or 0.0, cell.unit, cell.replicates,
                cell.how)
        for name, cell in named
    ]  # fmt: skip
    known = [
        Published(name, cell.published_value, cell.unit, "essay")
        for name, cell in named
        if cell.published_value is not None
    ]
    frame = table.table_frame(whole)
    return Result("comparison", parameters, frame, measures, known, figure, notes=[*whole.notes])


def _rows(p: Parameters) -> dict[str, Callable[[str, str], tuple[table.Cell, table.Cell]]]:
    """What makes each row's two cells from their published texts; loads are run once."""
    seed = p.seed
    cluster = ClusterParameters.of({
        "n_servers": p.n_servers, "server_geography": p.server_geography, "seed": seed,
    })  # fmt: skip
    network = NetworkParameters.of({"n_nodes": p.n_nodes, "seed": seed})
    found: dict[str, Any] = {}

    def race() -> Any:
        if "race" not in found:
            size = p.block_size_bytes
            found["race"] = loads.relay_race(network, n_blocks=RELAY_BLOCKS, size_bytes=size)
        return found["race"]

    def results() -> tuple[Result, Result]:
        if "results" not in found:
            found["results"] = loads.results(
                {"n_servers": p.n_servers, "server_geography": p.server_geography},
                {"replicates": p.replicates, "seed": seed},
                {"block_interval_s": p.block_interval_s, "block_size_bytes": p.block_size_bytes,
                 "transaction_size_bytes": p.transaction_size_bytes,
                 "confirmations": p.confirmations},
            )  # fmt: skip
        return found["results"]

    sizes = {
        "block_size_bytes": p.block_size_bytes,
        "transaction_size_bytes": p.transaction_size_bytes,
    }
    return {
        "publication": lambda a, b: (
            limits.publication("paxos", a), limits.publication("nakamoto", b)),
        "unit_of_consensus": lambda a, b: (
            limits.unit_of_paxos(a), limits.unit_of_nakamoto(b, **sizes)),
        "payload_limit": lambda a, b: (limits.payload_of_etcd(a), limits.payload_of_bitcoin(b)),
        "database_size": lambda a, b: (limits.database_of_etcd(a), limits.database_of_bitcoin(b)),
        "network": lambda a, b: (
            membership.permissioned(a), membership.permissionless(b, seed=seed)),
        "data_replication": lambda a, b: (
            loads.replication_in_cluster(a, cluster, p.replicates),
            loads.replication_in_network(b, race())),
        "sybil_protection": lambda a, b: (
            membership.sybil_in_paxos(a, seed=seed), membership.sybil_in_nakamoto(b, seed=seed)),
        "participants": lambda a, b: (
            loads.participants_of_cluster(a, seed=seed), loads.participants_of_network(b, race())),
        "peer_discovery": lambda a, b: (
            membership.discovery_in_paxos(a, n_servers=p.n_servers),
            membership.discovery_in_bitcoin(b, seed=seed)),
        "finality": lambda a, b: (
            loads.finality_of_cluster(a, results()[0]), loads.finality_of_chain(b, results()[0])),
        "throughput": lambda a, b: (
            loads.throughput_of_cluster(a, results()[1]),
            loads.throughput_of_chain(b, results()[1])),
    }  # fmt: skip


def _notes(parameters: Parameters) -> tuple[str, ...]:
    return (
        f"Seed {parameters.seed}, {parameters.replicates} replicates, {parameters.n_nodes:,} "
        f"nodes; intervals are 95 %. Published: {constants.ESSAY}.",
        "The sizes of the essay are rounded: 1.5 MB is 1.5 MiB, 8 GB is 8 GiB.",
    )


def the_table(result: Result) -> table.Table:
    """The table of a result of this experiment."""
    rows: dict[str, list[Any]] = {}
    frame = result.frame.astype(object).where(result.frame.notna(), None)
    for record in frame.to_dict("records"):
        fields = {name: record[name] for name in table.Cell._fields}
        rows.setdefault(record["row"], [record["title"]]).append(table.Cell(**fields))
    made = tuple(table.Row(key, title, tuple(cells)) for key, (title, *cells) in rows.items())
    return table.Table(TITLE, SYSTEMS, made, tuple(result.notes))


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
        frame = pandas.read_csv(place / "table.csv", keep_default_na=False, na_values={
            name: [""] for name in ("value", "low", "high", "published_value", "ratio")
        })  # fmt: skip
    except (OSError, ValueError, KeyError):
        return None
    found = Result("comparison", parameters, frame, [], notes=_notes(parameters))
    same = ("experiment", "parameters", "versions", "commit")
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
