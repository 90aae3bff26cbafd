"""The command line: `consensus-lab list | describe | run | sweep | collect | table | ...`.

Every import beyond the standard library waits until a command needs it, so that `--help` is
instant.  A user's mistake is one line on standard error and exit code 2, never a traceback.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consensus_lab.cli_examples import EXAMPLES
from consensus_lab.node import ParameterError

if TYPE_CHECKING:
    from consensus_lab.experiments import Progress

EXIT_OK, EXIT_DIFFERS, EXIT_MISTAKE, EXIT_INTERRUPTED = 0, 1, 2, 130
RESULTS = "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the process's exit code."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        return int(chosen.command(chosen) or EXIT_OK)
    except ParameterError as error:
        print(f"consensus-lab: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        print("consensus-lab: interrupted; nothing was written by this command", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # The reader left (`| head`); there is nobody to tell.
        return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="consensus-lab",
        description="Measure Paxos, Raft and Nakamoto consensus in one seeded simulator.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, function: Callable[..., int | None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=text, description=text + ".", epilog=EXAMPLES.get(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        command.set_defaults(command=function)
        return command

    add("list", _list, "list the experiments and the question that each answers")
    describe = add("describe", _describe, "show an experiment's parameters")
    describe.add_argument("name", help="of an experiment, as `consensus-lab list` prints it")
    run = add("run", _run, "run an experiment and save its result")
    run.add_argument("name", help="of an experiment, as `consensus-lab list` prints it")
    _add_parameters(run)
    _add_jobs(run)
    run.add_argument("--out", help=f"folder for the result (default {RESULTS}/NAME)")
    table = add("table", _table, "reproduce the essay's comparison table")
    _add_parameters(table)
    table.add_argument("--out", default=f"{RESULTS}/table", help="folder (default %(default)s)")
    table.add_argument(
        "--no-notebook", action="store_true", help="leave out the executed notebook"
    )
    table.add_argument(
        "--live", action="store_true", help="measure a real etcd cluster on this machine, too"
    )
    table.add_argument(
        "--check", action="store_true", help="exit with 1 where a cell leaves its stated tolerance"
    )
    report = add("report", _report, "execute all notebooks and build the HTML report")
    report.add_argument("--out", default=f"{RESULTS}/report", help="folder (default %(default)s)")
    report.add_argument("--preset", default="fast", help="fast (default) or full")
    report.add_argument("--quiet", action="store_true", help="show no progress")
    books = add("notebooks", _notebooks, "copy the notebooks to a folder of yours")
    books.add_argument("folder", help="made if it is missing; no file in it is replaced")
    again = add("reproduce", _reproduce, "run a saved result again and compare to the byte")
    again.add_argument("folder", help="that `run` or `table` saved, or SWEEP/runs/KEY of a sweep")
    _add_jobs(again)
    again.add_argument("--quiet", action="store_true", help="show no progress")
    sweep = add("sweep", _sweep, "make every run of a sweep that is not there yet")
    sweep.add_argument("file", help="YAML file, see below")
    sweep.add_argument("--out", help=f"folder (default {RESULTS}/NAME of the file)")
    sweep.add_argument(
        "--jobs", default="all", metavar="N",
        help="worker processes (default %(default)s: one per core)",
    )  # fmt: skip
    sweep.add_argument(
        "--scheduler", metavar="ADDRESS",
        help="run on this Dask cluster instead, tcp://HOST:8786",
    )  # fmt: skip
    sweep.add_argument("--quiet", action="store_true", help="show no progress")
    collect = add("collect", _collect, "collect a sweep into one table, parameters as columns")
    collect.add_argument("folder", help="of the sweep, finished or not")
    collect.add_argument(
        "--frames", action="store_true", help="the runs' observations, not their summaries"
    )
    where = add("where", _where, "find a mechanism of the essay in the code")
    where.add_argument("word", help="or words, of the mechanism's description or name")
    return parser


def _add_parameters(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-p", dest="parameters", action="append", default=[], metavar="KEY=VALUE",
        help="set a parameter (`consensus-lab describe NAME` lists them); may be given many times",
    )  # fmt: skip
    command.add_argument("--preset", default="fast", help="fast (default) or full")
    command.add_argument("--quiet", action="store_true", help="show no progress")


def _add_jobs(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--jobs", default="1", metavar="N",
        help="processes for independent replicates, all: one per core (default %(default)s); "
        "the result is the same to the byte",
    )  # fmt: skip


def _jobs(text: str) -> int:
    from consensus_lab.experiments.pool import cores

    if text != "all" and not (text.isdecimal() and int(text)):
        raise ParameterError("--jobs", text, "a whole number, at least 1, or all (one per core)")
    return cores() if text == "all" else int(text)


def _replicates(chosen: argparse.Namespace) -> AbstractContextManager[None]:
    from consensus_lab.experiments import replicates

    return replicates.jobs(_jobs(chosen.jobs))


def _list(chosen: argparse.Namespace) -> None:
    from consensus_lab.experiments import questions

    width = max(len(name) for name in questions())
    for name, question in questions().items():
        print(f"{name:{width}}  {question}")


def _describe(chosen: argparse.Namespace) -> None:
    from consensus_lab.experiments import load

    module = load(chosen.name)
    print((module.__doc__ or "").strip(), end="\n\n")
    for row in module.Parameters.describe():
        unit = f" {row['unit']}" if row["unit"] else ""
        print(f"{row['name']}: {row['type']} = {row['default']!r}{unit}")
        full = "" if row["full"] == row["default"] else f"; full preset {row['full']!r}"
        print(f"    {row['meaning']}; allowed: {row['allowed']}{full}")


def _run(chosen: argparse.Namespace) -> int:
    from consensus_lab.experiments import load, timed

    module = load(chosen.name)
    texts = _texts(chosen.parameters)
    parameters = module.Parameters.from_texts(texts, preset=chosen.preset)
    out = Path(chosen.out or f"{RESULTS}/{chosen.name.replace('_', '-')}")
    _require_writable(out)
    with _replicates(chosen):
        result = timed(module.run, parameters, _progress(quiet=chosen.quiet))
    result.save(out)
    print(_text_of(result))
    print(f"\nsaved in {out} ({result.wall_s:.1f} s)")
    if not result.interruption:
        return EXIT_OK
    print(f"consensus-lab: interrupted; what had ended is saved in {out}", file=sys.stderr)
    return EXIT_INTERRUPTED


def _table(chosen: argparse.Namespace) -> int:
    from consensus_lab.experiments import comparison, timed

    texts = _texts(chosen.parameters) | ({"is_live": "true"} if chosen.live else {})
    parameters = comparison.Parameters.from_texts(texts, preset=chosen.preset)
    out = Path(chosen.out)
    _require_writable(out)
    result = timed(comparison.run, parameters, _progress(quiet=chosen.quiet))
    comparison.save(result, out)
    width = shutil.get_terminal_size((100, 24)).columns
    print(comparison.as_text(result, width=width, colour=sys.stdout.isatty()), flush=True)
    print(f"saved in {out} ({result.wall_s:.0f} s)", flush=True)
    code = EXIT_OK
    try:
        _table_links(out)
        _table_changes(result, out, width, quiet=chosen.quiet)
        if not chosen.no_notebook:
            code = _table_notebook(out, parameters.as_dict())
    except KeyboardInterrupt:
        print(f"consensus-lab: interrupted; the table is saved in {out}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return _table_check(result) or code if chosen.check else code


def _table_links(out: Path) -> None:
    """Lay the notebooks where the table's links lead; a table without them is one all the same."""
    from consensus_lab.publish import copy_notebooks

    try:
        copy_notebooks(out / "notebooks")
    except ParameterError as error:
        print(f"consensus-lab: the table's links lead nowhere: {error}", file=sys.stderr)


def _table_changes(result: Any, out: Path, width: int, *, quiet: bool) -> None:
    """What would be otherwise in the table with the defaults, if parameters were changed."""
    from consensus_lab.experiments import comparison

    against = comparison.baseline(result.parameters)
    if against is None:
        return
    before = comparison.saved(against, Path(RESULTS) / "table")
    if before is None:
        print("measuring the table with the defaults, to compare", file=sys.stderr)
        before = comparison.run(against, _progress(quiet=quiet))
    print("\n" + comparison.save_changes(before, result, out, width=width), flush=True)


def _table_check(result: Any) -> int:
    """1, and a line on standard error for each cell, where any is outside its tolerance."""
    from consensus_lab.experiments import comparison

    outside = comparison.outside(result)
    for line in outside:
        print(f"consensus-lab: outside its tolerance: {line}", file=sys.stderr)
    cells = len(result.frame)
    print(f"check: {cells - len(outside)} of {cells} cells are inside their stated tolerance")
    return EXIT_DIFFERS if outside else EXIT_OK


def _table_notebook(out: Path, values: dict[str, object]) -> int:
    """Execute the table's notebook; the table is saved by then, and stays whatever happens."""
    from consensus_lab.publish import NotebookError, execute_table

    try:
        print(f"executed notebook: {execute_table(out, values)}")
    except NotebookError as error:
        print(f"consensus-lab: the table is saved, but {error}", file=sys.stderr)
        return EXIT_DIFFERS
    return EXIT_OK


def _report(chosen: argparse.Namespace) -> int:
    from consensus_lab.publish import build

    out = Path(chosen.out)
    _require_writable(out, mark="index.html")
    pages, failures = build(out, preset=chosen.preset, progress=_progress(quiet=chosen.quiet))
    for failure in failures:
        print(f"consensus-lab: {failure}", file=sys.stderr)
    print(f"{len(pages)} pages; open {pages[0]}")
    return EXIT_DIFFERS if failures else EXIT_OK


def _notebooks(chosen: argparse.Namespace) -> None:
    from consensus_lab.publish import copy_notebooks

    copied = copy_notebooks(chosen.folder)
    print(f"{len(copied)} notebooks; open them with: jupyter lab {shlex.quote(chosen.folder)}")


def _reproduce(chosen: argparse.Namespace) -> int:
    from consensus_lab.provenance import reproduce

    with _replicates(chosen):
        outcome = reproduce(Path(chosen.folder), progress=_progress(quiet=chosen.quiet))
    print(outcome.text())
    return EXIT_OK if outcome.is_identical else EXIT_DIFFERS


def _sweep(chosen: argparse.Namespace) -> int:
    from consensus_lab.batch import sweep

    out = Path(chosen.out or f"{RESULTS}/{Path(chosen.file).stem}")
    show = _progress(quiet=chosen.quiet)
    try:
        came = sweep(
            chosen.file, out=out, jobs=_jobs(chosen.jobs), scheduler=chosen.scheduler, progress=show
        )
    except KeyboardInterrupt:
        print("consensus-lab: interrupted; finished runs stay, the same command goes on from there",
              file=sys.stderr)  # fmt: skip
        return EXIT_INTERRUPTED
    for failure in came.failures:
        print(f"consensus-lab: run {failure.key} failed: {failure.why}", file=sys.stderr)
    print(f"{came.planned} runs in {out}: {came.made} made now ({came.wall_s:.1f} s), "
          f"{came.present} there before, {len(came.failures)} failed")  # fmt: skip
    if came.others:
        print(f"{came.others} more lie there, of other code or of another file; collect skips them")
    return EXIT_DIFFERS if came.failures else EXIT_OK


def _collect(chosen: argparse.Namespace) -> None:
    from consensus_lab.batch import collect
    from consensus_lab.batch.frames import FRAMES, SUMMARY
    from consensus_lab.batch.index import INDEX

    frame = collect(chosen.folder, frames=chosen.frames)
    there, planned = frame.attrs["runs_done"], frame.attrs["runs_planned"]
    target = Path(chosen.folder) / (FRAMES if chosen.frames else SUMMARY)
    print(f"{len(frame):,} rows of {there} of {planned} runs in {target}; "
          f"the runs at a glance: {Path(chosen.folder) / INDEX}")  # fmt: skip


def _where(chosen: argparse.Namespace) -> None:
    from consensus_lab.mechanisms import where

    for hit in where(chosen.word):
        print(f"{hit.section}: {hit.statement}")
        print(f"    code {hit.symbols}\n    test {hit.tests}\n    notebook {hit.notebook}")


def _texts(pairs: Sequence[str]) -> dict[str, str]:
    texts = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ParameterError("-p", pair, "of the form KEY=VALUE")
        if name.strip() == "preset":
            raise ParameterError("-p", pair, f"a parameter; here it is --preset {text}")
        texts[name.strip()] = text
    return texts


def _require_writable(out: Path, *, mark: str = "manifest.json") -> None:
    """Find out before a long run, not after it, that the result could not be saved."""
    from consensus_lab.experiments.result import new_folder, replaceable

    try:
        folder = replaceable(out, mark=mark)
        probe = folder.with_name(f".{folder.name}-probe")
        with new_folder(probe):
            pass
        probe.rmdir()
    except ParameterError as error:
        raise ParameterError("--out", str(out), error.allowed) from None


def _text_of(result: object) -> str:
    lines = []
    for measure in result.measures:  # type: ignore[attr-defined]
        exact = measure.low == measure.high
        interval = "" if exact else f"  (95 % CI {measure.low:.4g} to {measure.high:.4g})"
        lines.append(
            f"{measure.quantity:36} {measure.value:.4g} {measure.unit}{interval}"
            f"  n={measure.replicates}  {measure.how}"
        )
    for known in result.references:  # type: ignore[attr-defined]
        lines.append(f"published {known.quantity}: {known.value:g} {known.unit} ({known.source})")
    for note in result.notes:  # type: ignore[attr-defined]
        lines += textwrap.wrap(note, 100)
    return "\n".join(lines)


def _progress(*, quiet: bool) -> Progress:
    from consensus_lab.experiments import progress
    from consensus_lab.experiments import quiet as silence

    return silence if quiet else progress.shown()


if __name__ == "__main__":
    sys.exit(main())
