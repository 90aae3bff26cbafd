"""The deterministic graphs of the fork tables, by name, as matrices of hop counts."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

import networkx as nx
import numpy as np

_BUILDERS: tuple[tuple[str, Callable[..., nx.Graph]], ...] = (
    (r"complete_(\d+)", nx.complete_graph),
    (r"cycle_(\d+)", nx.cycle_graph),
    (r"path_(\d+)", nx.path_graph),
    (r"star_(\d+)", lambda n: nx.star_graph(n - 1)),
    (r"wheel_(\d+)", nx.wheel_graph),
    (r"hypercube_(\d+)", nx.hypercube_graph),
    (r"torus_(\d+)x(\d+)", lambda a, b: nx.grid_2d_graph(a, b, periodic=True)),
    (r"grid_(\d+)x(\d+)", nx.grid_2d_graph),
    (r"petersen", nx.petersen_graph),
    (r"balanced_tree_(\d+)_(\d+)", nx.balanced_tree),
    (r"complete_bipartite_(\d+)_(\d+)", nx.complete_bipartite_graph),
    (r"circular_ladder_(\d+)", nx.circular_ladder_graph),
    (r"barbell_(\d+)_(\d+)", nx.barbell_graph),
    (r"lollipop_(\d+)_(\d+)", nx.lollipop_graph),
)


@lru_cache(maxsize=64)
def graph_distances(name: str) -> np.ndarray | None:
    """Hops between every pair of nodes, or None for a graph that is not known."""
    for pattern, build in _BUILDERS:
        found = re.fullmatch(pattern, name)
        if found:
            graph = nx.convert_node_labels_to_integers(build(*map(int, found.groups())))
            return np.asarray(nx.floyd_warshall_numpy(graph), dtype=float)
    return None
