"""Nakamoto consensus as Bitcoin runs it: keys, transactions, proof of work, blocks and the chain.

Every module is named for its mechanism and is pure: bytes and integers in, values out, no clock,
no file, no network.  Import the mechanism that you want:
`from consensus_lab.nakamoto.chain import Chain`.
"""
