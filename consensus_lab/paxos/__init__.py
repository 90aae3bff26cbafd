"""Paxos: single-decree (one value is chosen, once) and Multi-Paxos (a log of such choices)."""
