"""A miner who does not let a payee be paid: leaves the payment out, and refuses blocks with it.

Rules of this file: a Node around an honest `FullNode`.

Theory of operation (essay: who holds more than half "can refuse to accept or transmit blocks").
Leaving a payment out of one's own blocks only delays it until an honest miner's turn.  A censor
also does not build on a block that holds it: it mines on the block before, and publishes its
branch when that is longer.  With more than half of the hash power its branch always gets there,
and then every block on the chain is its own; with less it has to give up at some deficit, and has
paid for the blocks that it lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from consensus_lab.adversaries.private_branch import PrivateBranch
from consensus_lab.nakamoto.block import Block
from consensus_lab.nakamoto.block_selection import select
from consensus_lab.nakamoto.full_node import FullNode
from consensus_lab.nakamoto.full_node_messages import Found
from consensus_lab.nakamoto.transaction import Transaction
from consensus_lab.node import Effects, Message, Note, ParameterError


class Censor:
    """Mines as if payments to some scripts were against the rules.

    Parameters
    ----------
    node : FullNode
        Its public face.
    refused_scripts : iterable of bytes
        Who is not to be paid.
    give_up_deficit : int
        Blocks behind the public chain at which it puts up with what happened.

    Attributes
    ----------
    branch : PrivateBranch or None
        While it mines against a block that it refuses.
    outcomes : list of bool
        Of each branch that ended: was it published (True), or given up?
    """

    def __init__(
        self, node: FullNode, *, refused_scripts: Iterable[bytes], give_up_deficit: int
    ) -> None:
        if give_up_deficit < 1:
            raise ParameterError("give_up_deficit", give_up_deficit, "at least 1")
        self.node, self.node_id = node, node.node_id
        self.refused_scripts = frozenset(refused_scripts)
        if not self.refused_scripts:
            raise ParameterError("refused_scripts", refused_scripts, "at least one")
        self.give_up_deficit = give_up_deficit
        self.branch: PrivateBranch | None = None
        self.outcomes: list[bool] = []
        # Blocks of the public chain up to here were looked at, and put up with.
        self._checked_height = 0

    def start(self, now: int) -> Effects:
        """As the honest node."""
        return self.node.start(now)

    def receive(self, sender: int, message: Message, now: int) -> Effects:
        """Listen to the public chain, and look for what it refuses."""
        return [*self.node.receive(sender, message, now), *self._decide(now)]

    def timer(self, name: str, now: int) -> Effects:
        """As the honest node."""
        return self.node.timer(name, now)

    def submit(self, command: Any, now: int) -> Effects:
        """Mine: on its own branch, or on the tip without what it refuses."""
        if not isinstance(command, Found):
            return self.node.submit(command, now)
        if self.branch is not None:
            self.branch.mine(now=now)
            return self._decide(now)
        branch = PrivateBranch(self.node)
        payments, fees = self._selection()
        branch.mine(payments, fees_satoshi=fees, now=now)
        self._checked_height = branch.tip.height
        return branch.publish(now)

    def _refuses(self, payment: Transaction) -> bool:
        return any(output.script_pubkey in self.refused_scripts for output in payment.outputs)

    def _selection(self) -> tuple[list[Transaction], int]:
        """What an honest miner would choose, without refused payments and all that need them."""
        pool = self.node.pool
        left_out: set[bytes] = set()
        kept: list[Transaction] = []
        for payment in select(pool).transactions:
            needs = {item.previous.txid for item in payment.inputs}
            if needs & left_out or self._refuses(payment):
                left_out.add(payment.txid)
            else:
                kept.append(payment)
        return kept, sum(pool.entries[payment.txid].fee_satoshi for payment in kept)

    def _block(self, height: int) -> Block:
        chain = self.node.chain
        return chain.blocks[chain.active[height].block_id]

    def _decide(self, now: int) -> Effects:
        """Begin a branch below a refused block, publish it, or give up."""
        chain = self.node.chain
        if self.branch is None:
            for height in range(self._checked_height + 1, chain.height + 1):
                if any(self._refuses(one) for one in self._block(height).transactions[1:]):
                    self.branch = PrivateBranch(self.node, fork=chain.active[height - 1])
                    break
            else:
                self._checked_height = chain.height
                return []
        if self.branch.lead > 0:
            effects, self._checked_height = self.branch.publish(now), self.branch.tip.height
            self.branch = None
            self.outcomes.append(True)
            return effects
        if -self.branch.lead >= self.give_up_deficit:
            self.branch = None
            self.outcomes.append(False)
            self._checked_height = chain.height
            return [Note("given up", chain.height)]
        return []
