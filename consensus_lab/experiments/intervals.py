"""Confidence intervals: every statistic that is shown comes with one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

CONFIDENCE = 0.95
RESAMPLES = 100

Item = TypeVar("Item")


def proportion_interval(hits: int, trials: int) -> tuple[float, float, float]:
    """Estimate and Wilson 95 % interval of a proportion (Wilson 1927).

    Examples
    --------
    >>> [round(part, 4) for part in proportion_interval(5, 100)]
    [0.05, 0.0215, 0.1118]
    """
    if trials == 0:
        return float("nan"), 0.0, 1.0
    z = 1.959963984540054  # Two-sided 95 % quantile of the normal law.
    share = hits / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    spread = z / (1 + z * z / trials)
    spread *= (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    return share, max(0.0, centre - spread), min(1.0, centre + spread)


def mean_interval(values: Iterable[float]) -> tuple[float, float, float]:
    """Mean and Student 95 % interval of independent values; (nan, nan, nan) when empty.

    Examples
    --------
    >>> [round(part, 3) for part in mean_interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    import numpy
    from scipy.special import stdtrit

    array = numpy.asarray(list(values), dtype=float)
    if array.size == 0:
        return float("nan"), float("nan"), float("nan")
    mean = float(array.mean())
    if array.size == 1:
        return mean, float("-inf"), float("inf")
    spread = float(array.std(ddof=1)) / array.size**0.5
    half = float(stdtrit(array.size - 1, 0.5 + CONFIDENCE / 2)) * spread
    return mean, mean - half, mean + half


def quantile_interval(values: Iterable[float], share: float) -> tuple[float, float, float]:
    """Sample quantile and its distribution-free 95 % interval from order statistics.

    Examples
    --------
    >>> quantile_interval(range(101), 0.5)
    (50.0, 40.0, 60.0)
    """
    import numpy
    from scipy.special import bdtrik

    array = numpy.sort(numpy.asarray(list(values), dtype=float))
    if array.size == 0:
        return float("nan"), float("nan"), float("nan")
    tail = (1 - CONFIDENCE) / 2
    low = int(numpy.ceil(bdtrik(tail, array.size, share))) - 1
    high = int(numpy.ceil(bdtrik(1 - tail, array.size, share)))
    last = array.size - 1
    estimate = float(numpy.quantile(array, share))
    return estimate, float(array[max(0, min(low, last))]), float(array[min(high, last)])


def bootstrap_interval(
    items: Sequence[Item], statistic: Callable[[list[Item]], float], *, source: random.Random
) -> tuple[float, float, float]:
    """A statistic of independent observations and its bootstrap percentile 95 % interval.

    For statistics that no formula gives the error of (Efron 1979); one observation has no spread.

    Examples
    --------
    >>> from statistics import fmean
    >>> bootstrap_interval([2.0, 2.0, 2.0], fmean, source=random.Random(1))
    (2.0, 2.0, 2.0)
    """
    import numpy

    tail = (1 - CONFIDENCE) / 2
    drawn = [
        statistic([items[source.randrange(len(items))] for _ in items]) for _ in range(RESAMPLES)
    ]
    low, high = (float(end) for end in numpy.quantile(drawn, [tail, 1 - tail]))
    return statistic(list(items)), low, high
