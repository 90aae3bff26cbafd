"""Raft as etcd runs it: a pure state machine in small files, one per idea.

What there is: `entries` (what is written down), `messages` (what is said), `log` (matching, what is
stable, committed, applied), `quorum` (who must agree), `progress` (what the leader knows of a
follower), `membership` (who takes part).

What happens: `core` (terms, roles, dispatch), `election`, `sending`, `replication`, `snapshots`,
`read_index`, `leadership` (transfer, forgetting), `reconfiguration`, `storage`.

Who drives it: `ready` (the interface of etcd's own tests, with asynchronous storage) and `node`
(the machine that the simulator runs), with `disk`, `compaction`, `clients`, `reading`, `timeouts`,
and `config` and `requests` for its users.
"""
