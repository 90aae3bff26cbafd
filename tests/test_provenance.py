"""A saved result is made again, to the byte, or the difference is named."""

import functools
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pandas
import pytest

from consensus_lab import batch, data, experiments, provenance
from consensus_lab.batch import work
from consensus_lab.experiments import result
from consensus_lab.experiments.result import Measure
from consensus_lab.node import ParameterError

SMALL = {"n_nodes": 20, "n_blocks": 30, "replicates": 2, "block_intervals_s": [20.0],
         "block_sizes_bytes": [250_000, 1_000_000]}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def one_commit():
    """Somebody may commit while these tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result, "code_commit", lambda: "c" * 40)
        work._circumstances.cache_clear()
        yield
    work._circumstances.cache_clear()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "stale"
    experiments.run("stale-rate", SMALL).save(folder)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    """A copy to be spoilt; its manifest as a dictionary, and how to write it back."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in saved.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((folder / "manifest.json").read_text())

    def write(**changes):
        (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))

    return folder, manifest, write


@pytest.mark.slow
def test_a_result_is_made_again_to_the_byte(saved, tmp_path):
    again = provenance.reproduce(saved, into=tmp_path / "again")
    assert again.is_identical
    assert again.changes == ()
    assert set(again.files) == {path.name for path in saved.iterdir()} - {"manifest.json"}
    assert "identical to the byte" in again.text()
    for name in again.files:
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes()


@pytest.mark.slow
def test_another_seed_is_found_out_by_file_column_and_row(copied):
    folder, manifest, write = copied
    write(parameters={**manifest["parameters"], "seed": 2})
    again = provenance.reproduce(folder)
    assert not again.is_identical
    assert again.altered == ()
    said = {difference.file: difference.detail for difference in again.differences}
    assert {"frame.csv", "frame.parquet", "summary.csv"} <= set(said)
    assert "published.csv" not in said
    assert re.match(r"column \w+ differs in \d of 2 rows, first in row \d: ", said["frame.csv"])
    assert "this is a bug" in again.text()


@pytest.mark.slow
def test_changed_circumstances_are_named(copied):
    folder, manifest, write = copied
    name = next(iter(manifest["inputs"]))
    write(
        commit="0" * 40,
        versions={**manifest["versions"], "numpy": "1.0.0"},
        inputs={**manifest["inputs"], name: "f" * 64},
    )
    again = provenance.reproduce(folder)
    assert again.is_identical
    whats = {change.what: change for change in again.changes}
    assert set(whats) == {"code commit", "numpy", f"data {name}"}
    assert whats["numpy"].then == "1.0.0"
    assert "0" * 12 + " then" in again.text()


@pytest.mark.slow
def test_code_that_nobody_committed_is_a_changed_circumstance(copied, monkeypatch):
    """Otherwise it would be taken for a bug."""
    folder, manifest, write = copied
    write(parameters={**manifest["parameters"], "seed": 2}, code="0.1.0+other")
    said = provenance.reproduce(folder).text()
    assert "code and data: 0.1.0+other then, " in said and "this is a bug" not in said


@pytest.mark.slow
def test_a_real_system_is_not_taken_for_a_bug(copied, monkeypatch):
    """Its numbers differ each time."""
    folder, manifest, write = copied
    write(parameters={**manifest["parameters"], "seed": 2}, code=result.code_version())
    assert "this is a bug" in provenance.reproduce(folder).text()
    measure = functools.partial(Measure, how=provenance.LIVE)
    monkeypatch.setattr("consensus_lab.experiments.stale_rate.Measure", measure)
    said = provenance.reproduce(folder).text()
    assert "no two runs give the same numbers" in said and "this is a bug" not in said


@pytest.mark.slow
@pytest.mark.parametrize("figures", [False, True])
def test_a_run_of_a_sweep_is_made_again_to_the_byte(tmp_path, figures):
    made = batch.sweep({"experiment": "stale-rate", "fixed": SMALL, "figures": figures},
                       out=tmp_path, executor=lambda: ThreadPoolExecutor(1))  # fmt: skip
    assert made.failures == ()
    (run,) = (tmp_path / "runs").iterdir()
    again = provenance.reproduce(run)
    assert again.is_identical and again.changes == (), again.text()
    assert ("figure.png" in again.files) == figures
    with pytest.raises(ParameterError, match="one run of this sweep"):
        provenance.reproduce(tmp_path)


@pytest.mark.slow
def test_a_file_changed_by_hand_is_not_taken_for_the_result(copied):
    folder, _, _ = copied
    frame = pandas.read_csv(folder / "frame.csv")
    frame.loc[0, "stale_blocks"] = 0
    frame.to_csv(folder / "frame.csv", index=False)
    (folder / "figure.png").unlink()
    again = provenance.reproduce(folder)
    assert not again.is_identical
    assert [str(one) for one in again.altered] == [
        "figure.png: is missing", "frame.csv: is not the file that was saved",
    ]  # fmt: skip
    assert again.differences == ()


def test_a_users_mistakes_are_named(tmp_path, copied):
    folder, manifest, write = copied
    with pytest.raises(ParameterError, match="folder must be the folder of a saved result"):
        provenance.reproduce(tmp_path / "nowhere")
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ParameterError, match="it is no JSON"):
        provenance.reproduce(folder)
    (folder / "manifest.json").write_text(json.dumps({"experiment": "stale-rate"}))
    with pytest.raises(ParameterError, match="it has no 'parameters'"):
        provenance.reproduce(folder)
    write(files=[])
    with pytest.raises(ParameterError, match="its 'files' is no JSON object"):
        provenance.reproduce(folder)
    write(experiment="stale-ratio")
    with pytest.raises(ParameterError, match="did you mean stale-rate"):
        provenance.reproduce(folder)
    write(parameters={**manifest["parameters"], "block_size": 3})
    with pytest.raises(ParameterError, match="block_size must be a parameter"):
        provenance.reproduce(folder)


def test_changed_data_is_found_without_running(copied):
    folder, manifest, write = copied
    assert provenance.data_differences(folder) == ()
    name = next(iter(manifest["inputs"]))
    write(inputs={name: "f" * 64, "gone/away.csv": "e" * 64})
    found = {change.what: change.now for change in provenance.data_differences(folder)}
    assert set(found) == {f"data {name}", "data gone/away.csv"}
    assert found[f"data {name}"] == data.checksum(name)[:12]


@pytest.mark.parametrize(("then", "now", "said"), [
    ({"a": [1, 2]}, {"a": [1, 3]},
     "column a differs in 1 of 2 rows, first in row 2: 2 then, 3 now"),
    ({"a": [1]}, {"b": [1]}, "columns gone: a; new columns: b"),
    ({"a": [1]}, {"a": [1, 1]}, "1 rows then, 2 now"),
    ({"a": [1]}, {"a": [1]}, "the same values, written differently"),
])  # fmt: skip
def test_tables_are_compared_cell_by_cell(then, now, said):
    assert provenance._table_detail(pandas.DataFrame(then), pandas.DataFrame(now)) == said


def test_texts_are_compared_line_by_line(tmp_path):
    (tmp_path / "a.svg").write_text("1\n2\n3\n")
    (tmp_path / "b.svg").write_text("1\n9\n8\n")
    detail = provenance._detail(tmp_path / "a.svg", tmp_path / "b.svg")
    assert detail == "differs in 2 lines, first in line 2"
