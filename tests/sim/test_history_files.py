"""History files: what each kind of line means, and what is said about a wrong one."""

import pytest

from consensus_lab.sim.history import UNKNOWN
from consensus_lab.sim.history_files import HistoryError, read_history
from consensus_lab.sim.models import Append, CompareAndSwap, Get, Put


def jepsen(*events):
    """Lines of Jepsen's log: `0 :invoke :write 1`."""
    return ["INFO  jepsen.util - " + event.replace(" ", "\t", 2) for event in events]


def edn(process, kind, function, key, value):
    """One line of an EDN history."""
    return f'{{:process {process}, :type :{kind}, :f :{function}, :key "{key}", :value {value}}}'


def test_a_write_and_a_read_are_read():
    """Times are line numbers, nil is None."""
    history = read_history(
        jepsen("0 :invoke :write 1", "1 :invoke :read nil", "0 :ok :write 1", "1 :ok :read nil")
    )
    assert [(o.request, o.response, o.called, o.returned) for o in history] == [
        (Put(None, 1), None, 1, 3),
        (Get(None), None, 2, 4),
    ]


def test_a_failed_cas_with_its_arguments_is_an_answer():
    """It found another value; etcd said so."""
    history = read_history(jepsen("0 :invoke :cas [1 2]", "0 :fail :cas [1 2]"))
    assert history[0].response is False
    assert history[0].request == CompareAndSwap(None, 1, 2)


def test_a_failed_read_and_a_failed_write_leave_the_history():
    """`:fail` means that nothing happened."""
    lines = jepsen(
        "0 :invoke :read nil", "0 :fail :read :timed-out",
        "0 :invoke :write 3", "0 :fail :write :timed-out",
    )  # fmt: skip
    assert read_history(lines) == []


@pytest.mark.parametrize("end", [[], ["0 :info :write :timed-out"]])
def test_a_write_that_timed_out_is_pending(end):
    """`:info`, or no line at all: nobody knows."""
    (operation,) = read_history(jepsen("0 :invoke :write 3", *end))
    assert operation.is_pending
    assert operation.response is UNKNOWN


def test_an_edn_history_is_read():
    """Keys and texts, with escapes."""
    history = read_history(
        [
            edn(4, "invoke", "append", "k", '"a\\"b"'),
            edn(4, "ok", "append", "k", '"a\\"b"'),
            edn(4, "invoke", "get", "k", "nil"),
            edn(4, "ok", "get", "k", '"a\\"b"'),
        ]
    )
    assert [o.request for o in history] == [Append("k", 'a"b'), Get("k")]
    assert history[1].response == 'a"b'


def test_other_loggers_and_the_fault_injector_are_passed_over():
    """Jepsen's logs hold more than the history."""
    lines = [
        "INFO  jepsen.core - Worker 3 starting",
        "WARN  jepsen.client - oh",
        "INFO  jepsen.util - :nemesis\t:info\t:start\tnil",
    ]
    assert read_history(lines) == []


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (jepsen("0 :ok :read 1"), "line 1: process 0 gets an answer without having called"),
        (
            jepsen("0 :invoke :read nil", "0 :invoke :read nil"),
            "line 2: process 0 calls while it waits",
        ),
        (jepsen("0 :invoke :write 1", "0 :ok :write 2"), "does not repeat the request"),
        (jepsen("0 :invoke :write 1", "0 :ok :read 1"), "is of :read"),
        (jepsen("0 :invoke :jump 1"), "no such operation: :jump"),
        (jepsen("0 :invoke :write nil"), ":write needs a value"),
        (jepsen("0 :maybe :write 1"), "no such type of event: :maybe"),
        (jepsen("x :invoke :write 1"), "the process must be a number"),
        (jepsen("0 :invoke :cas [1 2]]"), "closes that was never opened"),
        (jepsen("0 :invoke :read nil", "0 :ok :read :timed-out"), "needs a value"),
        (jepsen("0 :invoke :write 1.5"), "cannot read"),
        (["{:process 0"], "between braces"),
        (["{:process 0, :type :invoke, :f :get}"], "lacks :value"),
        (['{:process "a", :type :invoke, :f :get, :value nil}'], "must be a number"),
        (
            [edn(0, "invoke", "get", "a", "nil"), edn(0, "ok", "get", "b", '""')],
            "names key 'b'",
        ),
        (["hello"], "line 1: neither an event"),
    ],
)
def test_a_wrong_line_is_named(lines, complaint):
    """File, line and what is wrong with it."""
    with pytest.raises(HistoryError, match=r"^a\.log, line ") as error:
        read_history(lines, where="a.log")
    assert complaint in str(error.value)
