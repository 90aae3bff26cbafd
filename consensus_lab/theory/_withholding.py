"""The chain of a block-withholding pool: states, actions, exact evaluation, policy improvement.

Rules of this file: plain arrays and integers, compiled by numba; `selfish_optimal` and `stubborn`
give it policies.

Theory of operation (Sapirshtein, Sompolinsky and Zohar 2016 section 3).  A state (a, h, fork) is
decided in right after a block was found: a is the length of the pool's secret branch, h that of
the public one, both since they parted.  fork is RELEVANT when the last block was honest (publishing
a tie now splits the honest miners), IRRELEVANT when it was the pool's, ACTIVE while a published tie
is being raced.  Actions:

    ADOPT     give up the branch: the public h blocks count, the fork is over.
    OVERRIDE  publish h + 1 blocks (a > h): they count, the rest a - h - 1 stays secret.
    WAIT      publish nothing.
    MATCH     publish h blocks (a >= h): a share gamma of the honest miners builds on them.

Then the next block comes: alpha for the pool, otherwise honest; in a race an honest block lands on
the pool's branch with probability gamma, and then the pool's h published blocks count.

At the truncation T (a = T or h = T) only OVERRIDE and ADOPT are left, so every number is the
revenue of a possible strategy: a lower bound that converges quickly for alpha < 1/2.

Why this is fast.  WAIT and MATCH only lengthen a branch; a state can recur only through the states
right after blocks were settled: (m, 0, IRRELEVANT) and (m, 1, RELEVANT), at most 2 T + 2 of them,
called *entries*.  Going backwards through all others, each state's totals until the next ADOPT are
linear in the entries' totals; what remains is one dense system of size 2 T + 2.  Evaluating a
policy is thus exact, with no iteration and no tolerance.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

IRRELEVANT, RELEVANT, ACTIVE = 0, 1, 2
ADOPT, OVERRIDE, WAIT, MATCH = 0, 1, 2, 3

GAIN = 1e-13
"""An action replaces another only when better by more: equal actions must not alternate."""

Policy = NDArray[np.int8]
Floats = NDArray[np.float64]


@njit(cache=True)
def _entry_system(
    policy: Policy, alpha: float, gamma: float
) -> tuple[Floats, Floats]:  # pragma: no cover - compiled
    """Transition matrix among entries and the (pool, honest) blocks settled on the way."""
    limit = policy.shape[0] - 1
    n = limit + 1
    matrix = np.zeros((2 * n, 2 * n))
    blocks = np.zeros((2 * n, 2))
    # Dependence on the entries and settled blocks of each state in rows h (here) and h + 1.
    here = np.zeros((n + 1, 3, 2 * n))
    longer = np.zeros((n + 1, 3, 2 * n))
    here_blocks = np.zeros((n + 1, 3, 2))
    longer_blocks = np.zeros((n + 1, 3, 2))
    for h in range(limit, -1, -1):
        here, longer = longer, here
        here_blocks, longer_blocks = longer_blocks, here_blocks
        for a in range(limit, -1, -1):
            for fork in range(3):
                action = policy[a, h, fork]
                weights = here[a, fork]
                settled = here_blocks[a, fork]
                if action == ADOPT:
                    weights[:] = 0.0
                    settled[0], settled[1] = 0.0, h
                elif action == OVERRIDE:
                    weights[:] = 0.0
                    weights[a - h] = alpha
                    weights[n + a - h - 1] = 1.0 - alpha
                    settled[0], settled[1] = h + 1.0, 0.0
                elif action == WAIT:
                    for j in range(2 * n):
                        weights[j] = (
                            alpha * here[a + 1, IRRELEVANT, j]
                            + (1.0 - alpha) * longer[a, RELEVANT, j]
                        )
                    for j in range(2):
                        settled[j] = (
                            alpha * here_blocks[a + 1, IRRELEVANT, j]
                            + (1.0 - alpha) * longer_blocks[a, RELEVANT, j]
                        )
                else:
                    apart = (1.0 - alpha) * (1.0 - gamma)
                    joined = (1.0 - alpha) * gamma
                    for j in range(2 * n):
                        weights[j] = alpha * here[a + 1, ACTIVE, j] + apart * longer[a, RELEVANT, j]
                    for j in range(2):
                        settled[j] = (
                            alpha * here_blocks[a + 1, ACTIVE, j]
                            + apart * longer_blocks[a, RELEVANT, j]
                        )
                    weights[n + a - h] += joined
                    settled[0] += joined * h
            if h == 0:
                matrix[a] = here[a, IRRELEVANT]
                blocks[a] = here_blocks[a, IRRELEVANT]
            elif h == 1:
                matrix[n + a] = here[a, RELEVANT]
                blocks[n + a] = here_blocks[a, RELEVANT]
    return matrix, blocks


def settled_blocks(policy: Policy, alpha: float, gamma: float) -> Floats:
    """Expected (pool, honest) blocks from each entry until the fork is given up, shape (2T+2, 2).

    Entry m is (m, 0, IRRELEVANT), entry T + 1 + m is (m, 1, RELEVANT).
    """
    matrix, blocks = _entry_system(policy, alpha, gamma)
    return np.asarray(np.linalg.solve(np.eye(len(matrix)) - matrix, blocks), dtype=np.float64)


def from_the_start(totals: Floats, alpha: float) -> Floats:
    """Expected (pool, honest) blocks of a whole fork: it starts with one block of either side."""
    n = len(totals) // 2
    start: Floats = alpha * totals[1] + (1.0 - alpha) * totals[n]
    return start


def revenue(policy: Policy, alpha: float, gamma: float) -> float:
    """Relative revenue of a policy: the pool's share of all settled blocks."""
    pool, honest = from_the_start(settled_blocks(policy, alpha, gamma), alpha)
    return float(pool / (pool + honest))


@njit(cache=True)
def improve(
    policy: Policy, entries: Floats, alpha: float, gamma: float, share: float, any_time: bool
) -> int:  # pragma: no cover - compiled
    """Make the policy greedy for the entries' values; return the number of changed states.

    A settled block of the pool is worth 1 - share, an honest one -share.  The backward pass uses
    the improved values of later states at once.
    """
    limit = policy.shape[0] - 1
    n = limit + 1
    changed = 0
    here = np.zeros((n + 1, 3))
    longer = np.zeros((n + 1, 3))
    value = np.empty(4)
    for h in range(limit, -1, -1):
        here, longer = longer, here
        for a in range(limit, -1, -1):
            for fork in range(3):
                value[:] = -np.inf
                value[ADOPT] = -share * h
                if a > h:
                    value[OVERRIDE] = (
                        (1.0 - share) * (h + 1.0)
                        + alpha * entries[a - h]
                        + (1.0 - alpha) * entries[n + a - h - 1]
                    )
                if a < limit and h < limit:
                    may_match = fork == ACTIVE or (h > 0 and (fork == RELEVANT or any_time))
                    if fork != ACTIVE:
                        value[WAIT] = (
                            alpha * here[a + 1, IRRELEVANT] + (1.0 - alpha) * longer[a, RELEVANT]
                        )
                    if may_match and a >= h:
                        value[MATCH] = alpha * here[a + 1, ACTIVE] + (1.0 - alpha) * (
                            gamma * ((1.0 - share) * h + entries[n + a - h])
                            + (1.0 - gamma) * longer[a, RELEVANT]
                        )
                best = np.argmax(value)
                if value[best] > value[policy[a, h, fork]] + GAIN:
                    policy[a, h, fork] = best
                    changed += 1
                here[a, fork] = value[policy[a, h, fork]]
    return changed


def honest_policy(truncation: int) -> Policy:
    """Publish every own block, adopt every other: the strategy that earns alpha."""
    size = truncation + 1
    a, h = np.indices((size, size))
    policy = np.where(a > h, OVERRIDE, ADOPT).astype(np.int8)
    return np.repeat(policy[:, :, None], 3, axis=2)


def extended_policy(policy: Policy, truncation: int) -> Policy:
    """Carry a policy over to longer branches: states beyond the border act as those of their lead.

    A good start for a larger truncation, nothing more.
    """
    inner = policy.shape[0] - 2
    a, h = np.indices((truncation + 1, truncation + 1))
    shift = np.maximum(np.maximum(a, h) - inner, 0)
    extended: Policy = policy[np.maximum(a - shift, 0), np.maximum(h - shift, 0)].copy()
    # Where the shift left the quadrant the lead is larger than the small policy knows.
    beyond = np.minimum(a, h) < shift
    border = (a == truncation) | (h == truncation)
    simple = np.where(a > h, OVERRIDE, ADOPT).astype(np.int8)
    extended[beyond | border] = simple[beyond | border][:, None]
    return extended
