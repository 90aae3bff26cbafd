"""What this machine's disk and loopback interface take: what a prediction is made from."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_PREALLOCATED_BYTES = 1 << 20


def fdatasync_ms(
    folder: str | Path, *, writers: int = 1, n_writes: int = 200, size_bytes: int = 512
) -> list[float]:
    """Milliseconds of durable appends to preallocated files, as write-ahead logs make them.

    Parameters
    ----------
    folder : path
        On the file system in question; the files are removed again.
    writers : int
        How many files are written at the same time: servers of one machine share its disk.
    n_writes : int
        Writes per file.
    size_bytes : int
        Bytes per write.

    Returns
    -------
    list of float
        All writers' times, one writer after the other.
    """
    barrier = threading.Barrier(writers)

    def write(number: int) -> list[float]:
        path = Path(folder) / f"fdatasync-{os.getpid()}-{number}"
        barrier.wait()
        return _timed_appends(path, n_writes, size_bytes)

    with ThreadPoolExecutor(writers) as pool:
        return [time_ms for times_ms in pool.map(write, range(writers)) for time_ms in times_ms]


def _timed_appends(path: Path, n_writes: int, size_bytes: int) -> list[float]:
    """One writer's times."""
    synchronise = getattr(os, "fdatasync", os.fsync)
    block, clock, times_ms = b"x" * size_bytes, time.perf_counter_ns, []
    with open(path, "xb", buffering=0) as file:
        try:
            if hasattr(os, "posix_fallocate"):
                room_bytes = max(_PREALLOCATED_BYTES, n_writes * size_bytes)
                os.posix_fallocate(file.fileno(), 0, room_bytes)
            for _ in range(n_writes):
                begin_ns = clock()
                file.write(block)
                synchronise(file.fileno())
                times_ms.append((clock() - begin_ns) / 1e6)
        finally:
            path.unlink()
    return times_ms


def round_trips_ms(*, n_messages: int = 500, size_bytes: int = 256) -> list[float]:
    """Milliseconds in which a message goes to another thread over TCP on loopback and back."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        echo = threading.Thread(target=_echo, args=(server,), daemon=True)
        echo.start()
        with socket.create_connection(server.getsockname()) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            message, clock, times_ms = b"x" * size_bytes, time.perf_counter_ns, []
            for _ in range(n_messages):
                begin_ns = clock()
                client.sendall(message)
                client.recv(size_bytes, socket.MSG_WAITALL)
                times_ms.append((clock() - begin_ns) / 1e6)
        echo.join()
    return times_ms


def _echo(server: socket.socket) -> None:
    """Send back what comes until the other side closes."""
    connection, _ = server.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := connection.recv(1 << 16):
            connection.sendall(data)
