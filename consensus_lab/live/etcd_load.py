"""What is measured on a real etcd cluster: latency, throughput, failover, the largest request.

Times are taken by the client with the machine's monotonic clock, so the client's own work, about
0.2 ms per call in Python, is part of them.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import NamedTuple

from consensus_lab.live import machine
from consensus_lab.live.etcd import CHANNEL_OPTIONS, EtcdCluster, ServerEnded, load_grpc
from consensus_lab.live.etcd_messages import (
    PUT,
    Status,
    put_request,
    varint,
)
from consensus_lab.node import ParameterError

WARM_UP_REQUESTS = 10
FAILOVER_S_MAX = 30.0
POLL_S = 0.002
VALUE_SIZE_BYTES_MAX = 2_000_000
"""Beyond 2 MiB it is not etcd but gRPC that refuses."""


class Failover(NamedTuple):
    """One failover: time until a survivor named a new leader, and terms that it took."""

    new_leader_ms: float
    terms: int


class RequestLimit(NamedTuple):
    """The largest value taken with a one-byte key, and the words that refuse a larger one."""

    value_size_bytes_max: int
    error: str


class Puts(NamedTuple):
    """Puts of one client: each one's latency, and the mean processor time that a put took.

    Milliseconds; `cpu_ms` of each server in their order, none where this system does not tell it.
    """

    latencies_ms: list[float]
    cpu_ms: list[float]
    client_cpu_ms: float


def watched_puts(
    cluster: EtcdCluster, *, server: int, n_requests: int, value_size_bytes: int
) -> Puts:
    """Puts of one client that waits for each answer; keys of eight bytes.

    Some puts before warm up the connection.
    """
    value, call, clock = b"v" * value_size_bytes, cluster.call(server, PUT), time.perf_counter_ns
    for _ in range(WARM_UP_REQUESTS):
        call(put_request(b"warm-up", value))
    requests = [put_request(b"%08d" % number, value) for number in range(n_requests)]
    before, client_before = _cpu_ms(cluster), time.process_time()
    latencies_ms = []
    for request in requests:
        begin_ns = clock()
        call(request)
        latencies_ms.append((clock() - begin_ns) / 1e6)
    client_ms = (time.process_time() - client_before) * 1e3 / n_requests
    spent = zip(before, _cpu_ms(cluster), strict=True)
    return Puts(latencies_ms, [(after - begin) / n_requests for begin, after in spent], client_ms)


def _cpu_ms(cluster: EtcdCluster) -> list[float]:
    """Processor time of each server so far; none where this system does not tell it."""
    try:
        return [
            machine.process_cpu_ms(process.pid) for _, process in sorted(cluster.processes.items())
        ]
    except OSError:
        return []


def puts_per_s(
    cluster: EtcdCluster, *, server: int, clients: int, duration_s: float, value_size_bytes: int
) -> tuple[float, list[float]]:
    """Completed puts per second of that many clients, each with one request under way.

    Returns
    -------
    (float, list of float)
        The rate, and the latency of each put, milliseconds.  What is under way at the end is
        waited for but not counted.

    Raises
    ------
    ParameterError
        For less than one client or no time.
    """
    if clients < 1:
        raise ParameterError("clients", clients, "at least 1")
    if duration_s <= 0:
        raise ParameterError("duration_s", duration_s, "above 0")
    work = _load(cluster.address(server), clients, duration_s, b"v" * value_size_bytes)
    # In a thread of its own: a notebook has an event loop that runs already.
    with ThreadPoolExecutor(1) as pool:
        latencies_ms = pool.submit(asyncio.run, work).result()
    return len(latencies_ms) / duration_s, latencies_ms


async def _load(address: str, clients: int, duration_s: float, value: bytes) -> list[float]:
    """All clients side by side on one connection."""
    grpc = load_grpc()
    numbers, clock = count(), time.perf_counter
    latencies_ms: list[float] = []
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        put = channel.unary_unary(PUT)
        for _ in range(WARM_UP_REQUESTS):
            await put(put_request(b"warm-up", value))
        deadline = clock() + duration_s

        async def client() -> None:
            while (begin := clock()) < deadline:
                await put(put_request(b"%08d" % next(numbers), value))
                if (end := clock()) <= deadline:
                    latencies_ms.append((end - begin) * 1e3)

        await asyncio.gather(*(client() for _ in range(clients)))
    return latencies_ms


def fail_over(cluster: EtcdCluster, *, settle_s: float = 1.3) -> Failover:
    """Kill the leader, wait for a new one, and bring the old one back.

    Parameters
    ----------
    cluster : EtcdCluster
        Of three or five servers.
    settle_s : float
        Time that the cluster runs undisturbed before: more than an election timeout, for a
        server that has just come back counts its first timeout shorter.

    Raises
    ------
    ParameterError
        For a cluster of one.
    ServerEnded
        When no new leader is there after 30 s.
    """
    if cluster.n_servers < 3:
        raise ParameterError("n_servers", cluster.n_servers, "3 or 5: one alone has no successor")
    cluster.wait_for_leader()
    time.sleep(settle_s)
    leader = cluster.wait_for_leader()
    before = cluster.status(leader)
    survivors = [server for server in range(cluster.n_servers) if server != leader]
    begin = time.perf_counter()
    cluster.kill(leader)
    try:
        while time.perf_counter() - begin < FAILOVER_S_MAX:
            for server in survivors:
                status = _status_or_none(cluster, server)
                if status is None:
                    continue
                if status.term > before.term and status.leader_id not in (0, before.member_id):
                    took_ms = (time.perf_counter() - begin) * 1e3
                    return Failover(took_ms, status.term - before.term)
            time.sleep(POLL_S)
    finally:
        cluster.start(leader)
    raise ServerEnded(f"no new leader within {FAILOVER_S_MAX:.0f} s")


def _status_or_none(cluster: EtcdCluster, server: int) -> Status | None:
    """What a server says about itself; None when this machine is too busy to let it answer."""
    try:
        return cluster.status(server)
    except load_grpc().RpcError:
        return None


def request_limit(cluster: EtcdCluster, *, server: int) -> RequestLimit:
    """The largest value that is taken, found by halving, and the error for one byte more."""
    accepted, refused = 1, VALUE_SIZE_BYTES_MAX
    errors = {size: _refusal(cluster, server, size) for size in (accepted, refused)}
    assert errors[accepted] is None and errors[refused] is not None, errors
    while refused - accepted > 1:
        middle = (accepted + refused) // 2
        errors[middle] = _refusal(cluster, server, middle)
        if errors[middle] is None:
            accepted = middle
        else:
            refused = middle
    return RequestLimit(accepted, errors[refused] or "")


def request_number_bytes(member_id: int) -> int:
    """Encoded size of the numbers that a server gives to the requests that it passes on.

    A number's first two bytes are the last two of the server's identity, the rest time and count
    (etcd-io/etcd `pkg/idutil`), and each byte of the encoding holds seven bits: nine or ten bytes,
    as chance has it.  The number counts towards the limit of a request.

    Examples
    --------
    >>> request_number_bytes(0x1234_8000), request_number_bytes(0x1234_7FFF)
    (10, 9)
    """
    return len(varint((member_id & 0xFFFF) << 48 | (1 << 40)))


def _refusal(cluster: EtcdCluster, server: int, value_size_bytes: int) -> str | None:
    """Why a put with a one-byte key is refused; None when it is taken."""
    grpc = load_grpc()
    try:
        cluster.put(b"k", b"v" * value_size_bytes, server=server)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
            raise
        return f"{error.code().name}: {error.details()}"
    return None
