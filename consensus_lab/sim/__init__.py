"""The simulator: engine, links, faults, traces, invariants, explorer, linearizability checker."""
