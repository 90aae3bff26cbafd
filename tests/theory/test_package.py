"""The package as a whole: light to import, complete, documented, determinate."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from consensus_lab import theory
from consensus_lab.node import ParameterError
from consensus_lab.theory.monte_carlo import elections, forks, gossip, races, snow

HEAVY = ("scipy", "numba", "numpy", "networkx", "pandas", "matplotlib")


def test_importing_theory_imports_nothing_heavy():
    """Formulas load when first used."""
    code = (
        "import sys; from consensus_lab import theory; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", theory.__all__)
def test_every_public_name_exists_and_every_function_has_an_example(name):
    """Public functions: numpydoc with parameters, result and an example that is run."""
    value = getattr(theory, name)
    if inspect.isfunction(value) and not name.endswith("_law"):
        for heading in ("Parameters\n", "Returns\n", "Examples\n", ">>> "):
            assert heading in inspect.getdoc(value), f"{name} lacks {heading.strip()}"


def test_every_public_function_of_a_module_is_exported():
    """Nothing is reachable only by accident."""
    modules = {
        getattr(theory, name).__module__
        for name in theory.__all__
        if callable(getattr(theory, name))
    }
    for module_name in sorted(modules):
        module = importlib.import_module(module_name)
        for name, value in vars(module).items():
            defined_here = inspect.isfunction(value) and value.__module__ == module_name
            if defined_here and not name.startswith("_"):
                assert name in theory.__all__, f"{module_name}.{name}"


def test_an_unknown_name_is_an_attribute_error():
    """Like in any module."""
    with pytest.raises(AttributeError, match="no attribute 'perpetual_motion'"):
        theory.perpetual_motion  # noqa: B018


def draws(seed: int) -> list[float]:
    """One number of each simulation."""
    rng = np.random.default_rng(seed)
    return [
        forks.stale_fraction([[0.2]], blocks=500, rng=rng).mean,
        forks.stale_fraction_random_delay(0.2, law="uniform", blocks=500, rng=rng).mean,
        races.double_spend(0.3, confirmations=2, trials=200, rng=rng).mean,
        races.selfish_mining(0.3, gamma=0.5, blocks=5000, rng=rng).revenue.mean,
        races.settlement_failures(0.3, slots=5, trials=200, rng=rng).mean,
        gossip.rumor_rounds(50, mode="pull", runs=20, rng=rng).mean,
        gossip.first_passage("ba2", 60, runs=3, rng=rng)["t50"].mean,
        elections.split_votes(
            5, live=4, latency_low=0.1, latency_high=0.2, trials=200, rng=rng
        ).mean,
        snow.convergence(
            "snowball", n_nodes=30, k=5, alpha=4, beta=5, start_red_fraction=0.5, runs=5, rng=rng
        ).last.mean,
    ]


@pytest.mark.slow
def test_one_seed_gives_one_result():
    """The generator is the only source of randomness."""
    assert draws(5) == draws(5)
    assert draws(5) != draws(6)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda rng: forks.stale_fraction([[0.0, 1.0]], blocks=100, rng=rng), "delays"),
        (lambda rng: forks.stale_fraction([[-1.0]], blocks=100, rng=rng), "delays"),
        (
            lambda rng: forks.stale_fraction([[1.0]], shares=[0.5, 0.5], blocks=100, rng=rng),
            "shares",
        ),
        (
            lambda rng: forks.stale_fraction_random_delay(1.0, law="pareto", blocks=100, rng=rng),
            "law",
        ),
        (lambda rng: gossip.random_graph("xyz", 10, rng), "name"),
        (lambda rng: gossip.rumor_rounds(10, mode="shout", runs=2, rng=rng), "mode"),
        (lambda rng: races.double_spend(0.5, confirmations=1, trials=1, rng=rng), "attacker_share"),
    ],
)
def test_simulations_refuse_wrong_arguments_by_name(call, name):
    """Before anything is drawn."""
    with pytest.raises(ParameterError) as caught:
        call(np.random.default_rng(1))
    assert caught.value.parameter == name


def test_no_closed_form_has_the_name_of_a_file() -> None:
    """Importing `theory/majority.py` would put the module in the place of `theory.majority`."""
    files = {path.stem for path in Path(theory.__file__).parent.iterdir()}
    assert not files & set(theory.__all__)
