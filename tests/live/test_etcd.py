"""A real cluster is started, measured, robbed of its leader, and leaves nothing behind."""

from __future__ import annotations

import builtins
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from consensus_lab.kv import KeyValueStore, Put
from consensus_lab.kv_requests import REQUEST_TOO_LARGE, RequestError
from consensus_lab.live import etcd, etcd_load, machine
from consensus_lab.live.etcd import EtcdCluster, ServerEnded
from consensus_lab.live.etcd_messages import field, fields, read_status, read_value, varint
from consensus_lab.node import ParameterError


def require_etcd() -> None:
    """Skip, with the reason, where there is nothing to start."""
    try:
        etcd.find_etcd()
        etcd.load_grpc()
    except ParameterError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def cluster():
    """Three running servers."""
    require_etcd()
    with EtcdCluster(3) as running:
        yield running


def is_gone(process: int) -> bool:
    """True when there is no process of that identity."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
def test_what_is_put_at_one_server_is_read_at_every_other(cluster) -> None:
    for server in range(3):
        cluster.put(b"key%d" % server, b"value%d" % server, server=server)
    for server in range(3):
        for number in range(3):
            assert cluster.get(b"key%d" % number, server=server) == b"value%d" % number
    assert cluster.get(b"no such key") is None


@pytest.mark.slow
def test_all_servers_name_the_same_leader_and_the_log_grows_with_each_put(cluster) -> None:
    leader = cluster.wait_for_leader()
    before = cluster.status(leader)
    assert before.leader_id == before.member_id
    for _ in range(5):
        cluster.put(b"key", b"value", server=leader)
    assert cluster.status(leader).log_index - before.log_index == 5


@pytest.mark.slow
def test_latency_and_throughput_are_of_requests_that_were_committed(cluster) -> None:
    leader = cluster.wait_for_leader()
    before = cluster.status(leader).log_index
    puts = etcd_load.watched_puts(cluster, server=leader, n_requests=30, value_size_bytes=256)
    grown = cluster.status(leader).log_index - before
    assert len(puts.latencies_ms) == 30 and min(puts.latencies_ms) > 0
    assert max(puts.cpu_ms) == puts.cpu_ms[leader] and min(puts.cpu_ms) > 0 < puts.client_cpu_ms
    assert grown == 30 + etcd_load.WARM_UP_REQUESTS
    rate, under_load_ms = etcd_load.puts_per_s(
        cluster, server=leader, clients=4, duration_s=0.5, value_size_bytes=256
    )
    committed = cluster.status(leader).log_index - before - grown - etcd_load.WARM_UP_REQUESTS
    # At the end each client may have one put under way that is not counted.
    assert len(under_load_ms) <= committed <= len(under_load_ms) + 4
    assert rate == len(under_load_ms) / 0.5 > 0


@pytest.mark.slow
def test_both_stores_refuse_the_same_value_in_the_same_words(cluster) -> None:
    """To the byte: 1,572,839 with a request number of ten bytes, one more with nine."""
    leader = cluster.wait_for_leader()
    limit = etcd_load.request_limit(cluster, server=leader)
    number_bytes = etcd_load.request_number_bytes(cluster.status(leader).member_id)
    assert limit.error == f"{REQUEST_TOO_LARGE.code}: {REQUEST_TOO_LARGE.rule}"
    ours = limit.value_size_bytes_max - (10 - number_bytes)
    store = KeyValueStore()
    store.check(Put("k", "v" * ours))
    with pytest.raises(RequestError, match="request is too large"):
        store.check(Put("k", "v" * (ours + 1)))


@pytest.mark.slow
def test_a_new_leader_takes_over_and_what_was_put_is_still_there(cluster) -> None:
    """At etcd's defaults not before 0.8 s: ten ticks, the first and the last heartbeat cut."""
    old = cluster.wait_for_leader()
    cluster.put(b"before", b"the end", server=old)
    found = etcd_load.fail_over(cluster)
    assert found.terms >= 1 and 750 < found.new_leader_ms < 10_000
    leader = cluster.wait_for_leader()
    assert cluster.get(b"before", server=leader) == b"the end"


@pytest.mark.slow
@pytest.mark.parametrize("ending", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_behind_when_the_caller_fails(ending: type[BaseException]) -> None:
    require_etcd()
    with pytest.raises(ending), EtcdCluster(1) as running:
        processes = [process.pid for process in running.processes.values()]
        folder = running.folder
        assert processes and folder.exists() and not any(map(is_gone, processes))
        raise ending
    assert all(map(is_gone, processes)) and not folder.exists()


INTERRUPTED = """
import time
from consensus_lab.live.etcd import EtcdCluster
with EtcdCluster(1) as running:
    print(running.processes[0].pid, running.folder, flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind_when_the_caller_is_interrupted_or_killed(
    blow: signal.Signals,
) -> None:
    require_etcd()
    command = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as caller:
        process, folder = caller.stdout.readline().decode().split()
        assert not is_gone(int(process))
        caller.send_signal(blow)
        assert caller.wait(timeout=20) != 0
    # A dead caller's guard needs a moment.
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (is_gone(int(process)) and not Path(folder).exists()):
        time.sleep(0.02)
    assert is_gone(int(process)) and not Path(folder).exists()


@pytest.mark.slow
def test_a_server_that_does_not_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    require_etcd()
    unfit = ("--election-timeout=100",)
    with pytest.raises(ServerEnded, match="5 times"), EtcdCluster(1, folder=tmp_path, flags=unfit):
        pytest.fail("it runs")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_port_that_somebody_takes_first_is_given_up_for_another(monkeypatch) -> None:
    require_etcd()
    genuine, asked = etcd.free_ports, []
    with socket.create_server(("127.0.0.1", 0)) as taken:

        def unlucky(count: int) -> list[int]:
            asked.append(count)
            ports = genuine(count)
            return [taken.getsockname()[1], *ports[1:]] if len(asked) == 1 else ports

        monkeypatch.setattr(etcd, "free_ports", unlucky)
        with EtcdCluster(1) as running:
            running.put(b"key", b"value")
            assert running.get(b"key") == b"value"
    assert asked == [2, 2]


def test_a_missing_program_or_library_is_told_in_one_line(monkeypatch) -> None:
    monkeypatch.setattr(etcd.shutil, "which", lambda name: None)
    monkeypatch.setattr(etcd.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ParameterError, match=r"etcd must be .*consensus-lab\[live\]") as caught:
        etcd.find_etcd()
    assert "\n" not in str(caught.value)
    genuine = builtins.__import__

    def without_grpc(name, *arguments, **keywords):
        if name == "grpc":
            raise ImportError(name)
        return genuine(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_grpc)
    with pytest.raises(ParameterError, match=r"grpcio must be .*consensus-lab\[live\]"):
        etcd.load_grpc()


def test_an_installed_program_comes_first(monkeypatch, tmp_path: Path) -> None:
    program = tmp_path / "etcd"
    program.write_bytes(b"\x7fELF")
    monkeypatch.setattr(etcd.shutil, "which", lambda name: str(program))
    assert etcd.find_etcd() == program


@pytest.mark.parametrize("n_servers", [0, 4, 6, 7])
def test_other_sizes_are_refused(n_servers: int) -> None:
    with pytest.raises(ParameterError, match="1, 2, 3 or 5"):
        EtcdCluster(n_servers)


def test_ports_are_distinct() -> None:
    ports = etcd.free_ports(20)
    assert len(set(ports)) == 20


def test_messages_are_read_whatever_else_they_hold() -> None:
    """Fields that we do not know, of every wire type, are passed over."""
    unknown = field(90, 7) + field(91, b"x") + bytes([0x8D, 0x01]) + b"1234"  # 17: four bytes.
    header = field(2, 5)
    status = read_status(unknown + field(1, header) + field(2, b"3.5.1") + field(4, 1 << 63))
    assert (status.member_id, status.leader_id, status.term) == (5, 1 << 63, 0)
    assert status.version == "3.5.1"
    assert read_value(unknown + field(2, field(1, b"key") + field(5, b"value"))) == b"value"
    assert read_value(field(2, field(1, b"key"))) == b""
    assert read_value(b"") is None


@pytest.mark.parametrize("broken", ["80", "0a05", "0a0261", "0b", "0d0102"])
def test_bytes_that_are_no_message_are_refused(broken: str) -> None:
    with pytest.raises(ValueError, match=r"ends|wire type"):
        fields(bytes.fromhex(broken))


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, (1 << 64) - 1])
def test_integers_survive_the_encoding(value: int) -> None:
    assert fields(field(1, value)) == {1: [value]}
    assert len(varint(value)) == max(1, -(-value.bit_length() // 7))


@pytest.mark.slow
def test_writers_write_at_the_same_time_and_leave_no_files(tmp_path: Path) -> None:
    begin = time.perf_counter()
    with machine.Writers(tmp_path, 3) as writers:
        one, three = (writers.times_ms(count, n_writes=10) for count in (1, 3))
    took_ms = (time.perf_counter() - begin) * 1e3
    assert [len(times_ms) for times_ms in one + three] == [1] * 10 + [3] * 10
    assert all(times_ms == sorted(times_ms) and times_ms[0] > 0 for times_ms in one + three)
    assert sum(times_ms[-1] for times_ms in one + three) < took_ms
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells another process's time")
def test_processor_time_of_a_process_is_what_it_says_itself() -> None:
    before = time.process_time(), machine.process_cpu_ms(os.getpid()), machine.machine_cpu_ms()
    while time.process_time() < before[0] + 0.05:
        pass
    after = time.process_time(), machine.process_cpu_ms(os.getpid()), machine.machine_cpu_ms()
    own_s, clock_ms, all_ms = (b - a for a, b in zip(before, after, strict=True))
    assert 1e3 * own_s <= clock_ms + 5 and clock_ms <= 1e3 * own_s + 5
    assert all_ms >= 30, "in ticks of ten milliseconds"
    with pytest.raises(OSError):
        machine.process_cpu_ms(1 << 22)
