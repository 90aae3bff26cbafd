"""The models behind the closed forms, sampled directly.

Rules of this package: each function draws from a `numpy.random.Generator` given by the caller and
from nothing else, returns an `Estimate` with its standard error, and shares no code with the
closed form that it is held against.  These are the bare models of the papers, without a protocol
engine: they tell whether a formula is right, not whether Raft or Bitcoin are built right.
"""
