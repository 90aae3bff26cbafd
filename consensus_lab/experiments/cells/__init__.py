"""The cells of the comparison table; every function that is called for a row returns one `Cell`.

What is enforced by code or computed from data is in `limits`; who may take part in `membership` and
`joining`; what may fail or lie in `failures` and `adversary`; how a decision comes about in
`decisions`; how fast and how much in `loads` and `spreading`.  `rows` puts them together, `real`
has the real systems' values, `tolerances` the verdicts.
"""
