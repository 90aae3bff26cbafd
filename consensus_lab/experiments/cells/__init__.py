"""The cells of the comparison table that are enforced by code or computed from data.

One file per kind: `limits` (unit, payload, database), `membership` (who may take part),
`loads` (replication, participants, finality, throughput).  Every function returns one `Cell`.
"""
