"""When a block-withholding pool publishes: selfish and stubborn mining.

Rules of this file: plain values in, decisions out; `gossip` compiles the function `decide`.

Theory of operation.  A *withholding* pool keeps its blocks to itself and watches two numbers since
its branch and the public one parted: `own`, the length of its branch, and `public`, that of the
best branch that everybody may know.  After every block it decides (Eyal and Sirer 2014; in the
words of Sapirshtein, Sompolinsky and Zohar 2016, section 3):

    ADOPT     give the branch up and work on the public one.
    OVERRIDE  publish one block more than the public branch has: it wins.
    WAIT      publish nothing.
    MATCH     publish as many blocks as the public branch has: a race, in which those miners who
              hear of the pool's branch first work for the pool.  Their share is called gamma.

What came last matters: a public block can be matched only when it is new (RELEVANT), after the
pool's own block it can not (IRRELEVANT), and while a published tie is raced (ACTIVE) the pool
either ends the race with its next block or, if it is equal-fork stubborn, goes on with it.

SM1 gives up as soon as it is behind.  A stubborn pool (Nayak, Kumar, Miller and Shi 2016) refuses
one or more of SM1's retreats: *lead* stubborn, it never overrides after a public block but matches
it and keeps its lead; *equal-fork* stubborn, it keeps the block that would win a race; *trail*
stubborn, it works on while it is no more than that many blocks behind.
"""

from __future__ import annotations

from typing import NamedTuple

from consensus_lab.nakamoto.abstract_block import GENESIS, AbstractBlock
from consensus_lab.node import ParameterError

ADOPT, OVERRIDE, WAIT, MATCH = range(4)
IRRELEVANT, RELEVANT, ACTIVE = range(3)


class Strategy(NamedTuple):
    """How a pool withholds; as it stands, selfish mining (SM1).

    Attributes
    ----------
    lead, equal_fork : bool
        Lead stubborn, equal-fork stubborn.
    trail : int
        How many blocks behind the pool goes on.
    """

    lead: bool = False
    equal_fork: bool = False
    trail: int = 0

    def validated(self) -> Strategy:
        """This strategy, or a `ParameterError` naming what is wrong with it."""
        if not 0 <= self.trail <= 1000:
            raise ParameterError("trail", self.trail, "from 0 to 1000 blocks")
        return self


def decide(
    own: int, public: int, fork: int, *, lead: bool, equal_fork: bool, trail: int
) -> int:  # fmt: skip
    """What a withholding pool does after a block.

    Parameters
    ----------
    own, public : int
        Blocks on the pool's branch and on the public one since they parted.
    fork : int
        RELEVANT after a public block, IRRELEVANT after an own one, ACTIVE in a published race.
    lead, equal_fork, trail
        See `Strategy`.

    Examples
    --------
    A public block meets a branch of one, two and three blocks:

    >>> [decide(own, 1, RELEVANT, lead=False, equal_fork=False, trail=0) for own in (1, 2, 3)]
    [3, 1, 2]
    """
    if own < public:
        is_stubborn = own >= 1 and public - own <= trail
        return WAIT if is_stubborn else ADOPT
    if fork == RELEVANT:
        if own == public or lead:
            return MATCH
        return OVERRIDE if own == public + 1 else WAIT
    if fork == IRRELEVANT:
        return OVERRIDE if own == public + 1 and public > 0 else WAIT
    if own == public + 1 and not equal_fork:
        return OVERRIDE
    return MATCH


class Orders(NamedTuple):
    """What a withholding pool's gateways are to do, in this order.

    Attributes
    ----------
    follow : AbstractBlock or None
        Give up the own branch, work on this block, and tell on it as any node does.
    release : tuple of AbstractBlock
        Announce these own blocks, lowest first.
    match : AbstractBlock or None
        The public block that the last released one races against.
    """

    follow: AbstractBlock | None = None
    release: tuple[AbstractBlock, ...] = ()
    match: AbstractBlock | None = None


class Withholding:
    """What a withholding pool knows, whichever of its gateways heard it.

    Parameters
    ----------
    strategy : Strategy
    """

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy.validated()
        self.blocks: dict[int, AbstractBlock] = {GENESIS.number: GENESIS}
        self.private = GENESIS  # What the pool mines on.
        self.public = GENESIS  # The best block that anyone may know, the first heard among equals.
        self.fork = IRRELEVANT
        self.released: set[int] = set()  # What need not be released any more: others' as well.

    def found(self, block: AbstractBlock) -> Orders:
        """The pool found a block; one that does not lengthen its branch is lost."""
        self.blocks[block.number] = block
        if block.height <= self.private.height:
            return Orders()
        self.private = block
        if self.fork != ACTIVE:
            self.fork = IRRELEVANT
        return self._act()

    def heard(self, block: AbstractBlock) -> Orders:
        """A gateway accepted somebody else's block; only a new best one matters."""
        self.blocks[block.number] = block
        self.released.add(block.number)
        if block.height <= self.public.height:
            return Orders()
        self.public, self.fork = block, RELEVANT
        return self._act()

    def branch(self) -> list[AbstractBlock]:
        """The pool's blocks since its branch and the public one parted, lowest first."""
        own, public = self.private, self.public
        branch = []
        while own.number != public.number:
            if own.height >= public.height:
                branch.append(own)
                own = self.blocks[own.parent]
            else:
                public = self.blocks[public.parent]
        return branch[::-1]

    def _act(self) -> Orders:
        branch = self.branch()
        public = self.public.height - (self.private.height - len(branch))
        lead, equal_fork, trail = self.strategy
        action = decide(
            len(branch), public, self.fork, lead=lead, equal_fork=equal_fork, trail=trail
        )
        if action == ADOPT:
            self.private = self.public
            return Orders(follow=self.public)
        if action == WAIT:
            return Orders()
        shown = branch[: public + (action == OVERRIDE)]
        release = tuple(block for block in shown if block.number not in self.released)
        self.released.update(block.number for block in release)
        if action == OVERRIDE:
            self.public, self.fork = shown[-1], IRRELEVANT
            return Orders(release=release)
        is_new = self.fork == RELEVANT
        self.fork = ACTIVE
        return Orders(release=release, match=self.public if is_new else None)
