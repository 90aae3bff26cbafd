"""The event loop leaves the process as it was."""

from __future__ import annotations

import gc

import pytest

from consensus_lab.sim.engine import Engine
from tests.sim.test_engine import engine_of


@pytest.mark.parametrize(("usual", "inside"), [(700, 50_000), (90_000, 90_000), (0, 0)])
def test_a_run_makes_collections_rare_and_leaves_them_as_they_were(usual: int, inside: int) -> None:
    def stop(engine: Engine, node_id: int) -> None:
        seen.append(gc.get_threshold())
        assert engine.now < 7

    seen: list[tuple[int, int, int]] = []
    before = gc.get_threshold()
    gc.set_threshold(usual, 11, 12)
    try:
        engine = engine_of({0: {}}, invariants=[stop])
        engine.submit(0, "go", 3)
        engine.run()
        assert gc.get_threshold() == (usual, 11, 12)
        engine.submit(0, "go", 7)
        with pytest.raises(AssertionError):
            engine.run()
        assert gc.get_threshold() == (usual, 11, 12)
    finally:
        gc.set_threshold(*before)
    assert seen == [(inside, 11, 12)] * 2
