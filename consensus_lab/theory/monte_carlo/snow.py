"""Snowflake and Snowball by simulation, all nodes sampling at the same time.

Theory of operation (Yin et al. 2020 figures 2 and 3).  In each round every undecided node asks k of
the other nodes for their colour at the start of the round.  A colour with at least alpha answers is
a success for it.  Snowflake: the node takes over that colour; its counter goes up when it is the
colour of the last success, otherwise it restarts at 1; a round without success resets it to 0; at
beta the node decides.  Snowball also counts the successes of each colour and prefers the one with
more; its counter follows the colour of the last success in the same way, and a node decides on its
preference.  Decided nodes keep answering.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from consensus_lab.theory._checks import choice, count, number
from consensus_lab.theory.monte_carlo.estimate import Estimate, of_count, of_samples

PROTOCOLS = ("snowflake", "snowball")

ROUNDS_MAX = 1_000_000
"""A run that takes longer is a bug of the parameters (alpha out of reach)."""


def _answer_tables(others: int, k: int) -> NDArray[np.float64]:
    """Cumulative hypergeometric probabilities: [red among the others, red answers up to j]."""
    total = math.comb(others, k)
    table = np.empty((others + 1, k + 1))
    for red in range(others + 1):
        ways = [math.comb(red, j) * math.comb(others - red, k - j) for j in range(k + 1)]
        table[red] = np.cumsum(np.array([way / total for way in ways]))
    table[:, -1] = 1.0
    return table


@njit(cache=True)
def _one_run(
    n: int,
    k: int,
    alpha: int,
    beta: int,
    red_at_start: int,
    snowball: bool,
    answers: NDArray[np.float64],
    rounds_max: int,
    rng: np.random.Generator,
) -> tuple[int, float, int, bool]:  # pragma: no cover - compiled
    """Last, mean and first round of decision, and whether decisions differ."""
    colour = np.zeros(n, np.int64)
    colour[:red_at_start] = 1
    last = colour.copy()
    counter = np.zeros(n, np.int64)
    confidence = np.zeros((n, 2), np.int64)
    decided = np.zeros(n, np.int64)
    red, left, rounds = red_at_start, n, 0
    while left > 0 and rounds < rounds_max:
        rounds += 1
        before = red
        for node in range(n):
            if decided[node]:
                continue
            # `red` counts this round's changes; answers come from the start of the round, and a
            # node's own colour has not changed before its own turn.
            draws = answers[before - colour[node]]
            red_answers = np.searchsorted(draws, rng.random(), side="right")
            if red_answers >= alpha:
                winner = 1
            elif k - red_answers >= alpha:
                winner = 0
            else:
                counter[node] = 0
                continue
            if snowball:
                confidence[node, winner] += 1
                prefers = colour[node]
                if confidence[node, winner] > confidence[node, 1 - winner]:
                    prefers = winner
            else:
                prefers = winner
            counter[node] = counter[node] + 1 if winner == last[node] else 1
            last[node] = winner
            red += prefers - colour[node]
            colour[node] = prefers
            if counter[node] >= beta:
                decided[node] = rounds
                left -= 1
    disagree = False
    for node in range(1, n):
        disagree = disagree or colour[node] != colour[0]
    return decided.max(), decided.mean(), decided.min(), disagree


class SnowRuns(NamedTuple):
    """Rounds until the last, the average and the first node decides, and disagreements."""

    last: Estimate
    average: Estimate
    first: Estimate
    disagreement: Estimate


def convergence(
    protocol: str,
    *,
    n_nodes: int,
    k: int,
    alpha: int,
    beta: int,
    start_red_fraction: float,
    runs: int,
    rng: np.random.Generator,
) -> SnowRuns:
    """Rounds to decision with honest nodes only.

    Parameters
    ----------
    protocol : str
        "snowflake" or "snowball".
    n_nodes : int
        n, at least 2.
    k, alpha, beta : int
        Sample size, answers needed (more than k / 2), length of the run.
    start_red_fraction : float
        Share of red nodes at the start, rounded to whole nodes.
    runs : int
        Independent runs.
    rng : numpy.random.Generator
        Source of all randomness.

    Returns
    -------
    SnowRuns
        Rounds, and the share of runs in which decisions differ.

    Examples
    --------
    >>> result = convergence("snowflake", n_nodes=50, k=10, alpha=7, beta=20,
    ...                      start_red_fraction=0.6, runs=500, rng=np.random.default_rng(1))
    >>> abs(result.average.mean - 20.99) < 0.1
    True
    """
    snowball = choice("protocol", protocol, PROTOCOLS) == "snowball"
    n = count("n_nodes", n_nodes, at_least=2)
    size = count("k", k, at_least=1, at_most=n - 1)
    needed = count("alpha", alpha, at_least=size // 2 + 1, at_most=size)
    length = count("beta", beta, at_least=1)
    red = round(n * number("start_red_fraction", start_red_fraction, at_least=0.0, at_most=1.0))
    answers = _answer_tables(n - 1, size)
    results = np.array(
        [
            _one_run(n, size, needed, length, red, snowball, answers, ROUNDS_MAX, rng)
            for _ in range(count("runs", runs, at_least=2))
        ],
        dtype=float,
    )
    return SnowRuns(
        of_samples(results[:, 0]),
        of_samples(results[:, 1]),
        of_samples(results[:, 2]),
        of_count(int(results[:, 3].sum()), len(results)),
    )
