"""The index of a sweep: one HTML page with a card per run, and a page per executed notebook.

It is made anew from what lies in the folder each time, and can be thrown away: the runs are the
truth.  A picture is made once per run and kept, since a finished run does not change.
"""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from consensus_lab.batch.parameter_cells import INJECTED
from consensus_lab.batch.work import FAILED, MANIFEST, RUNS
from consensus_lab.node import ParameterError

INDEX = "index.html"
PAGES, THUMBNAILS = "pages", "thumbnails"


def write_index(folder: Path, planned: Sequence[str]) -> Path:
    """Write the page `index.html` of a sweep.

    Parameters
    ----------
    folder : Path
        The sweep's folder.
    planned : sequence of str
        Keys of its runs, in order; one that is not there yet gets a card that says so.

    Returns
    -------
    Path
        The page.
    """
    from consensus_lab.report import gallery

    manifests = {key: manifest_of(folder / RUNS / key) for key in planned}
    there = {key: manifest for key, manifest in manifests.items() if manifest}
    apart = _apart([manifest["parameters"] for manifest in there.values()])
    cards = []
    for key, manifest in manifests.items():
        if not manifest:
            broken = (folder / FAILED / f"{key}.ipynb").is_file()
            target = f"{FAILED}/{key}.ipynb" if broken else ""
            note = "failed: the notebook shows where" if broken else "not made yet"
            cards.append(gallery.Card(key, target, "", {}, note))
            continue
        values = {name: _text(manifest["parameters"].get(name)) for name in apart}
        picture = _thumbnail(folder, key)
        cards.append(gallery.Card(key, _page(folder, key), picture, values))
    first: Mapping[str, Any] = next(iter(there.values()), {"parameters": {}})
    common = {n: _text(v) for n, v in first["parameters"].items() if n not in apart}
    subject = first.get("experiment") or first.get("notebook") or "sweep"
    title = f"{subject}: {len(there)} of {len(planned)} runs"
    target = folder / INDEX
    temporary = folder / f".{INDEX}"
    temporary.write_text(gallery.gallery(title, cards, common=common), encoding="utf-8")
    temporary.replace(target)
    return target


def manifest_of(run: Path) -> dict[str, Any]:
    """A finished run's manifest; empty for a run that is not there.

    Raises
    ------
    ParameterError
        When something has damaged it since.
    """
    path = run / MANIFEST
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        allowed = f"sound; remove {run}, and the sweep makes it again"
        raise ParameterError("manifest", str(path), allowed) from None
    assert isinstance(found, dict), path
    return found


def _apart(parameters: Sequence[Mapping[str, Any]]) -> list[str]:
    """Parameters that are not the same in all runs, in their order."""
    names = list(dict.fromkeys(name for one in parameters for name in one))
    return [name for name in names if len({_text(one.get(name)) for one in parameters}) > 1]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _page(folder: Path, key: str) -> str:
    """Relative address of what a card opens: the notebook as a page, or the run's folder."""
    from consensus_lab.batch.notebooks import EXECUTED
    from consensus_lab.report import notebook_html
    from consensus_lab.report.page import page

    notebook = folder / RUNS / key / EXECUTED
    if not notebook.is_file():
        return f"{RUNS}/{key}/"
    target = folder / PAGES / f"{key}.html"
    if not target.is_file():
        try:
            read = notebook_html.read_notebook(notebook)
        except ParameterError:  # A notebook without outputs has no page.
            return f"{RUNS}/{key}/{EXECUTED}"
        _write(target, page(read.title, read.body, extra_css=notebook_html.CSS).encode())
    return f"{PAGES}/{key}.html"


def _thumbnail(folder: Path, key: str) -> str:
    """Relative address of the run's small picture, or "" when it drew none."""
    from consensus_lab.batch.notebooks import EXECUTED
    from consensus_lab.report.gallery import thumbnail

    target = folder / THUMBNAILS / f"{key}.png"
    if not target.is_file():
        run = folder / RUNS / key
        figure, notebook = run / "figure.png", run / EXECUTED
        png = figure.read_bytes() if figure.is_file() else b""
        if not png and notebook.is_file():
            png = _result_picture(json.loads(notebook.read_text(encoding="utf-8")))
        if not png:
            return ""
        _write(target, thumbnail(png))
    return f"{THUMBNAILS}/{key}.png"


def _result_picture(notebook: Mapping[str, Any]) -> bytes:
    """The first picture after the parameters: the pictures before them are the same in all runs."""
    found = b""
    for cell in reversed(notebook["cells"]):
        tags = cell["metadata"].get("tags", [])
        if found and ("parameters" in tags or INJECTED in tags):
            break
        for output in reversed(cell.get("outputs", [])):
            if "image/png" in output.get("data", {}):
                found = base64.b64decode("".join(output["data"]["image/png"]))
    return found


def _write(target: Path, content: bytes) -> None:
    """Whole or not at all, also when two calls write at once."""
    target.parent.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as part:
        part.write(content)
    Path(part.name).chmod(0o644)
    shutil.move(part.name, target)
