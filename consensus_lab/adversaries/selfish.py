"""Selfish mining with real blocks: a miner that publishes only when that costs others theirs.

Rules of this file: a Node around an honest `FullNode`; when to publish is decided by the same
function as in the compiled races (`nakamoto.relay_withholding.decide`).

Theory of operation (Eyal and Sirer 2014).  The miner keeps what it finds.  When others find a
block it matches it with one of its own (a race), overrides it when it is two ahead, or gives up.
A matched branch is as long as the public one, so nobody asks for it: its headers are sent unasked,
and nodes download a branch of equal work, but stay with the one that they saw first.
"""

from __future__ import annotations

from typing import Any

from consensus_lab.adversaries.private_branch import PrivateBranch, clock_s, to_connected
from consensus_lab.nakamoto.full_node import FullNode
from consensus_lab.nakamoto.full_node_messages import Found, Headers
from consensus_lab.nakamoto.relay_withholding import (
    ACTIVE,
    ADOPT,
    IRRELEVANT,
    OVERRIDE,
    RELEVANT,
    WAIT,
    Strategy,
    decide,
)
from consensus_lab.node import Effects, Message, NodeId, Note


class SelfishMiner:
    """A full node whose blocks are told by a withholding strategy.

    Parameters
    ----------
    node : FullNode
        Its public face; its chain is the public one, as the miner sees it.
    strategy : Strategy, optional
        SM1 unless told otherwise.

    Attributes
    ----------
    branch : PrivateBranch
        What it mines on; some of its blocks may be public already.
    """

    def __init__(self, node: FullNode, *, strategy: Strategy | None = None) -> None:
        self.node, self.node_id = node, node.node_id
        self.strategy = (strategy or Strategy()).validated()
        self.branch = PrivateBranch(node)
        self._fork = IRRELEVANT

    def start(self, now: int) -> Effects:
        """As the honest node."""
        return self.node.start(now)

    def receive(self, sender: NodeId, message: Message, now: int) -> Effects:
        """Whatever comes, a new public tip is what matters."""
        old_tip = self.node.chain.tip
        effects = self.node.receive(sender, message, now)
        if self.node.chain.tip is not old_tip:
            self._fork = RELEVANT
            effects += self._act(now)
        return effects

    def timer(self, name: str, now: int) -> Effects:
        """As the honest node."""
        return self.node.timer(name, now)

    def submit(self, command: Any, now: int) -> Effects:
        """Mine on the own branch."""
        if not isinstance(command, Found):
            return self.node.submit(command, now)
        if self._lengths() == (0, 0):
            self.branch = PrivateBranch(self.node)
        self.branch.mine(now=now)
        if self._fork != ACTIVE:
            self._fork = IRRELEVANT
        return self._act(now)

    def _lengths(self) -> tuple[int, int]:
        """Blocks on the own and on the public branch since they parted."""
        chain = self.node.chain
        parted = chain.tree.fork_point(chain.tip, self.branch.tip).height
        return self.branch.tip.height - parted, chain.height - parted

    def _act(self, now: int) -> Effects:
        """Give up, wait, or publish as many blocks as it takes."""
        own, public = self._lengths()
        lead, equal_fork, trail = self.strategy
        action = decide(own, public, self._fork, lead=lead, equal_fork=equal_fork, trail=trail)
        if action == ADOPT:
            self.branch, self._fork = PrivateBranch(self.node), IRRELEVANT
        if action in (ADOPT, WAIT):
            return []
        is_override = action == OVERRIDE
        self._fork = IRRELEVANT if is_override else ACTIVE
        parted = self.branch.tip.height - own
        return self._release(parted, parted + public + is_override, now)

    def _release(self, above: int, up_to: int, now: int) -> Effects:
        """Tell the blocks of these heights, unasked."""
        nodes, effects, shown = self.node.chain.tree.nodes, [], []
        for block in self.branch.blocks:
            place = nodes[block.block_id]
            if above < place.height <= up_to:
                shown.append(block.header.serialize())
                if not place.has_data:
                    now_s = clock_s(self.node, now)
                    effects += self.node.ledger.take(block, now_s=now_s).effects
        effects += to_connected(self.node, Headers(tuple(shown)), now)
        return [*effects, Note("released", len(shown))]
