"""A Monte Carlo result: mean, standard error, number of samples."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from consensus_lab.node import ParameterError


class Estimate(NamedTuple):
    """A mean with its standard error.

    Attributes
    ----------
    mean : float
        In the unit of the samples.
    standard_error : float
        Of the mean.
    samples : int
        Independent samples (or mined blocks) behind it.
    spread : float
        Standard deviation of one sample; nan where samples are not independent.
    spread_error : float
        Standard error of the spread, without assuming a normal law.
    batches : int
        Independent values that the standard error comes from.
    """

    mean: float
    standard_error: float
    samples: int
    spread: float = math.nan
    spread_error: float = math.nan
    batches: int = 0


def of_samples(values: ArrayLike) -> Estimate:
    """Mean and spread of independent samples."""
    data = np.asarray(values, dtype=float)
    n = len(data)
    if n < 2:
        raise ParameterError("values", n, "at least 2 samples")
    spread = float(np.std(data, ddof=1))
    fourth = float(np.mean((data - np.mean(data)) ** 4))
    variance_error = math.sqrt(max(fourth - spread**4, 0.0) / n)
    # Few samples of a nearly two-valued law can hide their own scatter: not below the normal's.
    spread_error = spread / math.sqrt(2.0 * n)
    if spread > 0.0:
        spread_error = max(spread_error, variance_error / (2.0 * spread))
    return Estimate(float(np.mean(data)), spread / math.sqrt(n), n, spread, spread_error, n)


def of_count(successes: int, trials: int) -> Estimate:
    """Share of successes.  At least half a success is assumed for the standard error."""
    share = successes / trials
    cautious = min(max(share, 0.5 / trials), 1.0 - 0.5 / trials)
    deviation = math.sqrt(cautious * (1.0 - cautious))
    return Estimate(share, deviation / math.sqrt(trials), trials, deviation, 0.0, trials)


def of_batches(values: ArrayLike, samples: int) -> Estimate:
    """Mean of batch means: the samples within a batch may depend on each other."""
    data = np.asarray(values, dtype=float)
    error = float(np.std(data, ddof=1)) / math.sqrt(len(data))
    return Estimate(float(np.mean(data)), error, samples, batches=len(data))


def of_ratio(numerators: ArrayLike, denominators: ArrayLike, samples: int) -> Estimate:
    """Ratio of two totals over the batches of one long run, with the delta method's error."""
    above = np.asarray(numerators, dtype=float)
    below = np.asarray(denominators, dtype=float)
    ratio = float(above.sum() / below.sum())
    residuals = above - ratio * below
    error = float(np.std(residuals, ddof=1)) * math.sqrt(len(above)) / float(below.sum())
    return Estimate(ratio, error, samples, batches=len(above))
