"""Attackers, each a Node like any other: they break no law of the engine, only their manners.

Rules of this folder: pure, as the protocols; an attacker wraps an honest node or speaks the same
messages, and knows what a real one could know: what it was sent, and what its owner tells it.
"""
