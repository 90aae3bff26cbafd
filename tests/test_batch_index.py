"""The page of a sweep: a card per run, its picture, what sets it apart; nothing from elsewhere."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy
import pytest

from consensus_lab import batch
from consensus_lab.batch.frames import write_plan
from consensus_lab.batch.index import write_index
from consensus_lab.report.gallery import THUMBNAIL_PX, thumbnail


def png(shade: float, *, width: int = 900) -> bytes:
    """A picture of one shade."""
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, numpy.full((width // 2, width, 3), shade), format="png")
    return buffer.getvalue()


def shade(content: bytes) -> float:
    """The shade in the middle of a picture."""
    pixels = matplotlib.image.imread(io.BytesIO(content))
    return float(pixels[pixels.shape[0] // 2, pixels.shape[1] // 2, 0])


def cell(*, tags: tuple[str, ...] = (), image: bytes = b"") -> dict[str, Any]:
    """An executed code cell."""
    data = {"image/png": base64.b64encode(image).decode()}
    output = {"output_type": "display_data", "metadata": {}, "data": data}
    return {"cell_type": "code", "metadata": {"tags": list(tags)}, "source": "x",
            "outputs": [output] if image else []}  # fmt: skip


def make_run(folder: Path, key: str, cells: list[dict[str, Any]], **parameters: Any) -> None:
    """A finished run of a notebook."""
    run = folder / "runs" / key
    run.mkdir(parents=True)
    (run / "notebook.ipynb").write_text(json.dumps({"cells": cells}))
    manifest = {"experiment": "", "notebook": "<b>.ipynb", "parameters": parameters}
    (run / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture()
def sweep(tmp_path: Path) -> Path:
    """Two finished runs, one that failed, one that was not made."""
    for key, tone in (("a", 0.2), ("b", 0.8)):
        cells = [
            cell(image=png(0.5)), cell(tags=("parameters",)), cell(tags=("injected-parameters",)),
            cell(image=png(tone)), cell(image=png(0.5)),
        ]  # fmt: skip
        make_run(tmp_path, key, cells, n_nodes=7, size=tone)
    (tmp_path / "failed").mkdir()
    (tmp_path / "failed" / "c.ipynb").write_text("{}")
    write_plan(tmp_path, ["b", "a", "c", "d"])
    return tmp_path


def test_each_run_has_a_card_with_what_sets_it_apart(sweep: Path) -> None:
    text = write_index(sweep, ["b", "a", "c", "d"]).read_text()
    cards = re.findall(r"<li>.*?</li>", text, re.DOTALL)
    assert [re.search(r">(\w)</code>", card)[1] for card in cards] == ["b", "a", "c", "d"]
    assert "<dt>size</dt><dd>0.8</dd>" in cards[0] and "n_nodes" not in cards[0]
    assert '<th scope="row">n_nodes</th><td>7</td>' in text
    assert "failed/c.ipynb" in cards[2] and "not made yet" in cards[3]
    assert "&lt;b&gt;.ipynb: 2 of 4 runs" in text


def test_its_picture_is_the_first_after_the_parameters(sweep: Path) -> None:
    write_index(sweep, ["a", "b"])
    for key, tone in (("a", 0.2), ("b", 0.8)):
        content = (sweep / "thumbnails" / f"{key}.png").read_bytes()
        assert shade(content) == pytest.approx(tone, abs=0.02)
        assert matplotlib.image.imread(io.BytesIO(content)).shape[1] == THUMBNAIL_PX


def test_all_that_it_loads_or_opens_is_there_beside_it(sweep: Path) -> None:
    text = write_index(sweep, ["a", "b", "c"]).read_text()
    places = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(places) == 5
    assert all((sweep / place).exists() for place in places), places


def test_a_small_picture_stays_as_it_is() -> None:
    small = png(0.3, width=100)
    assert thumbnail(small) == small


@pytest.mark.slow
def test_collecting_makes_the_page_of_an_experiment_s_runs_with_their_figures(
    tmp_path: Path,
) -> None:
    source = {
        "experiment": "paxos-explore", "figures": True, "seeds": 2,
        "fixed": {"n_values": 1, "n_ballots": 1, "break_rules": False, "crashes": False},
    }  # fmt: skip
    out = tmp_path / "out"
    assert batch.sweep(source, out=out, jobs=1).made == 2
    batch.collect(out)
    text = (out / "index.html").read_text()
    assert "paxos-explore: 2 of 2 runs" in text
    assert len(list((out / "thumbnails").iterdir())) == 2
