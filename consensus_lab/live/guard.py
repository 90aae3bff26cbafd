"""Ends the processes of a caller that died, and removes its folder: whatever killed it.

Rules of this file: standard library only; it ends processes that it was told of and that still
work in the caller's folder, nothing else.

Theory of operation.  What a program cleans up itself stays behind when it is killed outright or
crashes.  So it starts a guard, a small process in a session of its own that reads from a pipe of
which the caller holds the other end.  The caller names each process that it starts; at the end it
says goodbye, and the guard leaves.  When the pipe ends without that word the caller is dead, and
the guard cleans up.  The number of a process that has ended may be given to another one: before
it ends a process the guard looks whether its command line names the folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

GOODBYE = "goodbye"
LEAVE_S_MAX = 10.0


class Guard:
    """The caller's end.

    Parameters
    ----------
    folder : path
        Removed when the caller dies; the command lines of its processes name it.
    """

    def __init__(self, folder: str | Path) -> None:
        # As a file and isolated: nothing of the package is imported, so it starts at once.
        command = [sys.executable, "-I", "-S", __file__, str(folder)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, cwd="/", text=True,
        )  # fmt: skip

    def watch(self, process_id: int) -> None:
        """Name a process that is to end with the caller."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{process_id}\n")
            self._process.stdin.flush()
        except BrokenPipeError:  # Somebody ended the guard: the caller still cleans up itself.
            pass

    def leave(self) -> None:
        """All is cleaned up: the guard is not needed any more."""
        try:
            self._process.communicate(f"{GOODBYE}\n", timeout=LEAVE_S_MAX)
        except (BrokenPipeError, ValueError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()


def belongs(process_id: int, folder: str) -> bool:
    """Whether a process of that number works in the folder, as its command line says."""
    try:
        command = Path(f"/proc/{process_id}/cmdline").read_bytes()
    except FileNotFoundError:
        asked = ["ps", "-o", "command=", "-p", str(process_id)]
        command = subprocess.run(asked, capture_output=True, check=False).stdout
    except OSError:
        return False
    return folder.encode() in command


def keep_watch(folder: str) -> None:
    """The guard itself: read until the pipe ends, then clean up unless told goodbye."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watched: list[int] = []
    for line in sys.stdin:
        if line.strip() == GOODBYE:
            return
        watched.append(int(line))
    for process_id in watched:
        if belongs(process_id, folder):
            try:
                os.kill(process_id, signal.SIGKILL)
            except ProcessLookupError:
                continue
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    keep_watch(sys.argv[1])
