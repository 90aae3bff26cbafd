"""All bugs that the swarm must find."""

from tests.swarm.multipaxos_bugs import MULTIPAXOS_BUGS
from tests.swarm.raft_bugs import RAFT_BUGS

BUGS = (*RAFT_BUGS, *MULTIPAXOS_BUGS)
