"""Merkle tree: one hash in the header commits to every transaction and their order.

Rules of this file: identities are 32 bytes in wire order.

Theory of operation.  Neighbouring identities are hashed in pairs, the results again, until one is
left.  A level with an odd count repeats its last hash.  So two different lists can have the same
root: [1, 2, 3] and [1, 2, 3, 3] (CVE-2012-2459).  A block whose tree pairs two equal hashes
anywhere is therefore refused, without marking its identity as invalid: the honest block with the
same header may still come.

A proof that a transaction is in a block is the sibling at each level, so log2(n) hashes.  A
transaction of 64 bytes would look like an inner node and let a proof end early; verifiers give
the number of leaves, which fixes the depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from consensus_lab.nakamoto.encoding import NULL_ID, sha256d


class MerkleRoot(NamedTuple):
    """A root, and whether the tree paired two equal hashes that the list itself brought in."""

    root: bytes
    has_duplicate_pair: bool


def merkle_root(leaves: Sequence[bytes]) -> MerkleRoot:
    """Root of the tree over the leaves; 32 zero bytes for none.

    Parameters
    ----------
    leaves : sequence of bytes
        Transaction identities in block order.

    Examples
    --------
    >>> a, b, c = (bytes([n]) * 32 for n in range(3))
    >>> merkle_root([a, b, c]).root == merkle_root([a, b, c, c]).root
    True
    >>> merkle_root([a, b, c]).has_duplicate_pair, merkle_root([a, b, c, c]).has_duplicate_pair
    (False, True)
    """
    if not leaves:
        return MerkleRoot(NULL_ID, False)
    level, has_duplicate_pair = list(leaves), False
    while len(level) > 1:
        pairs = range(0, len(level) - 1, 2)
        has_duplicate_pair |= any(level[i] == level[i + 1] for i in pairs)
        level = _next_level(level)
    return MerkleRoot(level[0], has_duplicate_pair)


def _next_level(level: list[bytes]) -> list[bytes]:
    """Hash the pairs of a level; the last one of an odd level is its own partner."""
    if len(level) % 2:
        level = [*level, level[-1]]
    return [sha256d(level[i] + level[i + 1]) for i in range(0, len(level), 2)]


class MerkleProof(NamedTuple):
    """That a leaf stands at a position of a list of `leaf_count`: its siblings, lowest first."""

    position: int
    leaf_count: int
    siblings: tuple[bytes, ...]


def merkle_proof(leaves: Sequence[bytes], position: int) -> MerkleProof:
    """Proof for the leaf at `position`."""
    assert 0 <= position < len(leaves)
    level, place, siblings = list(leaves), position, []
    while len(level) > 1:
        sibling = place ^ 1
        siblings.append(level[sibling] if sibling < len(level) else level[place])
        level = _next_level(level)
        place //= 2
    return MerkleProof(position, len(leaves), tuple(siblings))


def verify_merkle_proof(root: bytes, leaf: bytes, proof: MerkleProof) -> bool:
    """Does the proof lead from the leaf to the root?

    Parameters
    ----------
    root : bytes
        From a header that is trusted.
    leaf : bytes
        Identity of the transaction.
    proof : MerkleProof
        From anybody.

    Examples
    --------
    >>> leaves = [bytes([n]) * 32 for n in range(5)]
    >>> proof = merkle_proof(leaves, 4)
    >>> verify_merkle_proof(merkle_root(leaves).root, leaves[4], proof)
    True
    >>> verify_merkle_proof(merkle_root(leaves).root, leaves[3], proof)
    False
    """
    position, count, siblings = proof
    if not 0 <= position < count or len(siblings) != (count - 1).bit_length():
        return False
    digest = leaf
    for sibling in siblings:
        is_last_of_odd = position == count - 1 and count % 2 == 1
        if sibling == digest and not is_last_of_odd:
            return False  # Only the last of an odd level is its own sibling (CVE-2012-2459).
        pair = sibling + digest if position % 2 else digest + sibling
        digest, position, count = sha256d(pair), position // 2, (count + 1) // 2
    return digest == root
