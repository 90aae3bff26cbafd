"""Paxos: what a leader has to carry, and what happens when two proposers duel.

Theory of operation.  *Leader load* (Ailijiang, Charapko and Demirbas 2019): for every command a
leader handles a number of messages that grows with the quorum Q, spread over L leaders:
load = (1 + c) (Q + L - 2) / L, with c the share of commands that conflict.  Multi-Paxos has L = 1,
EPaxos L = n.  The time one command takes at the leader counts n messages coming in (the client's
and n - 1 answers), two serialisations going out (one for all followers, one for the client) and
2 n messages through the network card.

*Duelling proposers*: each round both wait a uniform backoff in [0, B] and succeed when one is ahead
by more than the exclusive window d that a ballot needs: with probability (1 - d/B)^2.
"""

from __future__ import annotations

from typing import NamedTuple

from consensus_lab.node import ParameterError
from consensus_lab.theory._checks import count, number, probability
from consensus_lab.theory.quorums import majority


class LeaderLoad(NamedTuple):
    """Messages at a Multi-Paxos leader per command.

    Attributes
    ----------
    quorum : int
        Size of a majority, the leader included.
    messages_in : int
        The client's request and the followers' answers.
    serialised_out : int
        Messages serialised: one for all followers, one for the client.
    network_card : int
        Messages through the network card, in and out.
    """

    quorum: int
    messages_in: int
    serialised_out: int
    network_card: int


def leader_messages(n_nodes: int) -> LeaderLoad:
    """Messages that a Multi-Paxos leader handles per command.

    Parameters
    ----------
    n_nodes : int
        n, at least 2.

    Returns
    -------
    LeaderLoad
        Counts per command, without batching.

    Examples
    --------
    >>> leader_messages(5)
    LeaderLoad(quorum=3, messages_in=5, serialised_out=2, network_card=10)
    """
    n = count("n_nodes", n_nodes, at_least=2)
    return LeaderLoad(majority(n), n, 2, 2 * n)


def leader_load(*, quorum: int, leaders: int = 1, conflicts: float = 0.0) -> float:
    """Load of each leader, (1 + c) (Q + L - 2) / L.

    Parameters
    ----------
    quorum : int
        Q, nodes of a quorum, the leader included; Q + L must be at least 2.
    leaders : int
        L, nodes that lead at the same time, at least 1.
    conflicts : float
        c, the share of commands that conflict and need a second phase, in [0, 1].

    Returns
    -------
    float
        Follower messages per command (Ailijiang, Charapko and Demirbas 2019).

    Examples
    --------
    Multi-Paxos and EPaxos with five nodes:

    >>> leader_load(quorum=3), leader_load(quorum=3, leaders=5), leader_load(
    ...     quorum=3, leaders=5, conflicts=1.0)
    (2.0, 1.2, 2.4)
    """
    q = count("quorum", quorum, at_least=1)
    leading = count("leaders", leaders, at_least=1)
    share = probability("conflicts", conflicts)
    return (1.0 + share) * (q + leading - 2) / leading


def leader_service_time_s(
    n_nodes: int,
    *,
    receive_s: float,
    send_s: float,
    message_size_bytes: float,
    bandwidth_bits_per_s: float,
) -> float:
    """Time that one command keeps the leader busy; its inverse is the largest throughput.

    n t_in + 2 t_out + 2 n s / b.

    Parameters
    ----------
    n_nodes : int
        n, at least 2.
    receive_s, send_s : float
        t_in and t_out, processor time per message, seconds.
    message_size_bytes : float
        Size of every message, bytes.
    bandwidth_bits_per_s : float
        Bandwidth of the leader's network card, bits per second.

    Returns
    -------
    float
        Seconds.

    Examples
    --------
    Five nodes, 10 us per message, 1 kB messages, 1 Gbit/s:

    >>> round(leader_service_time_s(5, receive_s=1e-5, send_s=1e-5,
    ...       message_size_bytes=1000, bandwidth_bits_per_s=1e9) * 1e6, 9)
    150.0
    """
    load = leader_messages(n_nodes)
    receive = number("receive_s", receive_s, at_least=0.0)
    send = number("send_s", send_s, at_least=0.0)
    size = number("message_size_bytes", message_size_bytes, at_least=0.0)
    bandwidth = number("bandwidth_bits_per_s", bandwidth_bits_per_s, above=0.0)
    wire = load.network_card * size * 8.0 / bandwidth
    return load.messages_in * receive + load.serialised_out * send + wire


def duelling_proposers_success(*, window: float, backoff: float) -> float:
    """Probability that one of two proposers gets through in a round, (1 - d/B)^2.

    Parameters
    ----------
    window : float
        d, how far ahead a proposer must be (about two round trips), same unit as the backoff.
    backoff : float
        B, the largest backoff; both draw uniformly from [0, B].

    Returns
    -------
    float
        A probability; 0 where the window is as long as the backoff.

    Examples
    --------
    >>> round(duelling_proposers_success(window=0.1, backoff=1.0), 12)
    0.81
    """
    longest = number("backoff", backoff, above=0.0)
    ratio = number("window", window, at_least=0.0) / longest
    return (1.0 - ratio) ** 2 if ratio < 1.0 else 0.0


def duelling_proposers_rounds(*, window: float, backoff: float) -> float:
    """Mean number of rounds until one of two proposers gets through, 1 / (1 - d/B)^2.

    Parameters
    ----------
    window, backoff : float
        d and B as for `duelling_proposers_success`; the window must be shorter.

    Returns
    -------
    float
        Rounds (geometric).

    Raises
    ------
    ParameterError
        When the duel never ends.

    Examples
    --------
    >>> duelling_proposers_rounds(window=0.5, backoff=1.0)
    4.0
    """
    success = duelling_proposers_success(window=window, backoff=backoff)
    if success == 0.0:
        raise ParameterError("window", window, f"shorter than the backoff {backoff:g}")
    return 1.0 / success
