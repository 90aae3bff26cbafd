"""Simulated against published, one file per kind of source; every function returns comparisons.

`years`: the real network; `gervais` and `coins`: Bitcoin-Simulator's runs and what its authors
measured; `simblock`: SimBlock's recorded runs; `forks` and `first_passage`: closed forms.
"""
