"""Parameters refuse what is wrong by name, from notebooks and command lines alike."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from consensus_lab import experiments
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.node import ParameterError


class Example(ParameterSet):
    """Parameters of every supported type."""

    n_nodes: int = parameter(500, full=13_870, unit="count", meaning="nodes", minimum=2)
    block_interval_s: float = parameter(600.0, unit="s", meaning="between blocks", minimum=0.001)
    relay: str = parameter("inv", meaning="how blocks travel", choices=("inv", "push"))
    sizes: list[int] = parameter([1, 2], unit="bytes", meaning="block sizes", minimum=0)
    is_traced: bool = parameter(False, meaning="record the run")

    def check(self) -> None:
        if self.n_nodes > 10**6 and self.is_traced:
            raise ParameterError("is_traced", True, "False above a million nodes")


def test_presets_and_explicit_values() -> None:
    assert Example.of().n_nodes == 500
    assert Example.of(preset="full").n_nodes == 13_870
    assert Example.of({"n_nodes": 7}, preset="full").n_nodes == 7
    assert Example.names()[-1] == "seed"


def test_texts_of_a_command_line_become_values() -> None:
    texts = {"n_nodes": "7", "block_interval_s": "60", "relay": "push", "sizes": "[3]"}
    chosen = Example.from_texts({**texts, "is_traced": "true"})
    assert chosen.as_dict() == {
        "n_nodes": 7, "block_interval_s": 60.0, "relay": "push", "sizes": [3],
        "is_traced": True, "seed": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"block_intervall_s": 60}, "block_intervall_s .*did you mean block_interval_s"),
        ({"n_nodes": 1}, "n_nodes must be at least 2; got 1"),
        ({"n_nodes": "many"}, "n_nodes must be of type int"),
        ({"n_nodes": True}, "n_nodes must be of type int"),
        ({"n_nodes": 2.5}, "n_nodes must be of type int"),
        ({"block_interval_s": float("nan")}, "block_interval_s must be a number"),
        ({"relay": "pigeon"}, "relay must be one of inv, push"),
        ({"sizes": []}, "sizes must be not empty"),
        ({"sizes": [1, -1]}, "sizes must be at least 0"),
        ({"sizes": ["x"]}, "sizes must be of type int"),
        ({"n_nodes": 10**7, "is_traced": True}, "is_traced must be False"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_what_is_wrong_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Example.of(values)
    with pytest.raises(ParameterError, match="preset must be one of fast, full"):
        Example.of(preset="slow")


def notebook(*cells: str) -> dict[str, Any]:
    """What `globals()` of a notebook holds after these cells."""
    namespace: dict[str, Any] = {"In": ["", *cells]}
    for cell in cells:
        exec(cell, namespace)
    return namespace


PARAMETERS_CELL = "preset: str = 'fast'\nn_nodes: int = 500  # count - nodes\nseed: int = 1"


def test_a_notebook_reads_its_parameters_and_what_papermill_injects() -> None:
    namespace = notebook("import math", PARAMETERS_CELL, "# Parameters\nn_nodes = 50\n")
    assert Example.from_notebook(namespace).n_nodes == 50
    namespace = notebook(PARAMETERS_CELL, "# Parameters\npreset = 'full'\n")
    assert Example.from_notebook(namespace).n_nodes == 13_870
    namespace = notebook(PARAMETERS_CELL, "# Parameters\npreset = 'full'\nn_nodes = 9\n")
    assert Example.from_notebook(namespace).n_nodes == 9


@pytest.mark.parametrize(
    "cell", ["# Parameters\nblock_intervall_s = 60\n", "n_nodes = 5\nblock_intervall_s = 60"]
)
def test_a_notebook_with_a_misspelt_parameter_fails_loudly(cell: str) -> None:
    with pytest.raises(ParameterError, match="did you mean block_interval_s"):
        Example.from_notebook(notebook(PARAMETERS_CELL, cell))


def test_other_cells_of_a_notebook_may_assign_what_they_like() -> None:
    namespace = notebook(PARAMETERS_CELL, "other = 3", "x = print()\nn_nodes = 4")
    assert Example.from_notebook(namespace).n_nodes == 4


def test_errors_and_parameters_travel_between_processes() -> None:
    error = ParameterError("n_nodes", 4, "odd")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert pickle.loads(pickle.dumps(Example.of())) == Example.of()


@pytest.mark.parametrize("name", sorted(experiments.questions()))
def test_every_experiment_describes_its_parameters(name: str) -> None:
    module = experiments.load(name)
    for row in module.Parameters.describe():
        assert row["meaning"], row["name"]
    assert module.Parameters.of() != module.Parameters.of({"seed": 2})
    assert module.Parameters.of(preset="full").seed == module.Parameters.of().seed


def test_an_unknown_experiment_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ParameterError, match="one of"):
        experiments.load("no-such-thing")
