"""Merkle trees: roots, proofs, and lists that share a root."""

from __future__ import annotations

import random

import pytest

from consensus_lab.nakamoto.encoding import NULL_ID, sha256d
from consensus_lab.nakamoto.merkle import merkle_proof, merkle_root, verify_merkle_proof

LEAVES = [sha256d(bytes((n,))) for n in range(40)]


def slow_root(leaves):
    """The definition, written again: pair, repeat the last of an odd level, hash."""
    if len(leaves) == 1:
        return leaves[0]
    if len(leaves) % 2:
        leaves = [*leaves, leaves[-1]]
    return slow_root([sha256d(a + b) for a, b in zip(leaves[::2], leaves[1::2], strict=True)])


@pytest.mark.parametrize("count", range(1, 34))
def test_every_leaf_has_a_proof_that_fits_it_alone(count):
    """All sizes; another leaf, place, count or sibling does not fit."""
    leaves, source = LEAVES[:count], random.Random(count)
    root = merkle_root(leaves).root
    assert root == slow_root(leaves)
    for place, leaf in enumerate(leaves):
        proof = merkle_proof(leaves, place)
        assert verify_merkle_proof(root, leaf, proof)
        assert not verify_merkle_proof(root, LEAVES[-1], proof)
        if count == 1:
            continue
        other = (place + source.randrange(1, count)) % count
        assert not verify_merkle_proof(root, leaf, proof._replace(position=other))
        assert not verify_merkle_proof(root, leaf, proof._replace(siblings=proof.siblings[:-1]))
        wrong = (*proof.siblings[:-1], LEAVES[-1])
        assert not verify_merkle_proof(root, leaf, proof._replace(siblings=wrong))


def test_order_matters():
    """Changing the order changes the root (essay: the order is immutable)."""
    assert merkle_root(LEAVES[:3]).root != merkle_root(LEAVES[2::-1]).root
    assert merkle_root([]).root == NULL_ID


@pytest.mark.parametrize("count", [3, 5, 6, 7, 11, 12])
def test_a_doubled_tail_has_the_same_root_and_is_seen(count):
    """CVE-2012-2459 at every level where a level can be odd."""
    leaves = LEAVES[:count]
    odd_level = 1
    while count // odd_level % 2 == 0:
        odd_level *= 2
    forged = leaves + leaves[-odd_level:]
    assert merkle_root(forged).root == merkle_root(leaves).root
    assert merkle_root(forged).has_duplicate_pair
    assert not merkle_root(leaves).has_duplicate_pair


def test_a_proof_for_the_invented_twin_of_the_last_leaf_is_refused():
    """The repeated hash is no second transaction."""
    leaves = LEAVES[:3]
    root = merkle_root(leaves).root
    twin = merkle_proof([*leaves, leaves[2]], 3)
    assert not verify_merkle_proof(root, leaves[2], twin)
    honest = merkle_proof(leaves, 2)
    assert verify_merkle_proof(root, leaves[2], honest)
    assert not verify_merkle_proof(root, leaves[2], honest._replace(leaf_count=4))
    assert not verify_merkle_proof(root, leaves[2], honest._replace(position=3))
