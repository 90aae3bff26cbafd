"""Replays etcd-io/raft's data-driven test files; see `__main__` for the command."""
