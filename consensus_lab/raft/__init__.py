"""Raft as etcd runs it: a pure state machine in small files, one per idea.

Where to look: `log` (entries, matching, what is stable), `quorum` (who must agree), `progress`
(what the leader knows of a follower), `membership` (who takes part), `messages` (what is said),
`core` (terms, roles, dispatch), `election`, `replication`, `snapshots`, `read_index`,
`leadership`, `reconfiguration` (the mechanisms), `ready` (the interface that etcd's own tests
drive, with asynchronous storage), `node` (the machine that the simulator runs).
"""
