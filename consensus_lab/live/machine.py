"""What this machine takes: durable writes made at the same time, a process's processor time.

Rules of this file: standard library only, for it is also run by itself as one of the writers.

Theory of operation.  Servers of one machine share its disk, and a request makes all of them write
at about the same moment, after which they wait for the next one.  So `Writers` has a process for
each server, tells some of them to write, waits until all have, and rests; each process takes the
time of its own write.  A writer ends, and removes its file, when the pipe from its caller ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

SEGMENT_BYTES = 64_000_000
"""etcd makes a file of that size before it writes its log into it."""
PAUSE_S = 0.0005
"""Between a write and the next: as long as a request is not at the disk, about."""
TIME_BYTES = 8


class Writers:
    """Processes that write durably at the same moment; a context manager.

    Parameters
    ----------
    folder : path
        On the file system in question; the files are removed again.
    count : int
        How many processes there are.
    size_bytes : int
        Bytes per write.
    """

    def __init__(self, folder: str | Path, count: int, *, size_bytes: int = 512) -> None:
        self.folder, self.count, self.size_bytes = Path(folder).resolve(), count, size_bytes
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Writers:
        for number in range(self.count):
            path = self.folder / f"writer-{os.getpid()}-{number}"
            # As a file and isolated: nothing of the package is imported, so it starts at once.
            command = [sys.executable, "-I", "-S", __file__, str(path), str(self.size_bytes)]
            self.processes.append(subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd="/",
                start_new_session=True,  # Ctrl-C is for the caller.
            ))  # fmt: skip
        return self

    def __exit__(self, *_error: object) -> None:
        for process in self.processes:
            process.communicate()

    def times_ms(self, writers: int, *, n_writes: int) -> list[list[float]]:
        """Milliseconds of writes by that many processes at once, sorted: one list per moment."""
        assert 1 <= writers <= self.count, writers
        assert n_writes > 0, n_writes
        told, found = self.processes[:writers], []
        for _ in range(n_writes):
            time.sleep(PAUSE_S)
            for process in told:
                assert process.stdin is not None
                process.stdin.write(b"w")
            found.append(sorted(_answer_ms(process) for process in told))
        return found


def _answer_ms(process: subprocess.Popen[bytes]) -> float:
    """What a writer says about its write."""
    assert process.stdout is not None
    answer = process.stdout.read(TIME_BYTES)
    if len(answer) < TIME_BYTES:
        raise OSError(f"a writer ended with {process.wait()}: is the disk full?")
    return int.from_bytes(answer, "little") / 1e6


def write_when_told(path: str, size_bytes: int) -> None:
    """A writer itself: for each byte that comes, write durably and tell how long it took."""
    synchronise = getattr(os, "fdatasync", os.fsync)
    block, clock = b"x" * size_bytes, time.perf_counter_ns
    with open(path, "xb", buffering=0) as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, SEGMENT_BYTES)
            while sys.stdin.buffer.read(1):
                begin_ns = clock()
                file.write(block)
                synchronise(file.fileno())
                sys.stdout.buffer.write((clock() - begin_ns).to_bytes(TIME_BYTES, "little"))
                sys.stdout.buffer.flush()
        finally:
            Path(path).unlink(missing_ok=True)


def process_cpu_ms(process_id: int) -> float:
    """Processor time that a process has used, all its threads, milliseconds.

    Read from its own clock (`clock_getcpuclockid(3)`), exact to the microsecond; a clock's number
    is made of the process's in the kernel's way, which only Linux has.

    Raises
    ------
    OSError
        Where there is no such clock.
    """
    if sys.platform != "linux":
        raise OSError("only Linux tells the processor time of another process")
    per_process = 2
    return time.clock_gettime_ns(~process_id << 3 | per_process) / 1e6


def machine_cpu_ms() -> float:
    """Processor time that all programs have used and that the machine's own host has kept from it.

    Raises
    ------
    OSError
        Where the system has no `/proc/stat`.
    """
    words = Path("/proc/stat").read_text(encoding="ascii").split()[1:9]
    user, nice, system, _idle, _wait, interrupts, soft, stolen = map(int, words)
    ticks = user + nice + system + interrupts + soft + stolen
    return 1e3 * ticks / os.sysconf("SC_CLK_TCK")


def cores() -> int:
    """How many cores this process may use."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


if __name__ == "__main__":
    write_when_told(sys.argv[1], int(sys.argv[2]))
