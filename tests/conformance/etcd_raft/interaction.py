"""Replays etcd's interaction scenarios: a cluster driven by hand, command by command.

Theory of operation (etcd-io/raft `rafttest`).  Nothing happens by itself: a command makes a node
handle its Ready, delivers messages, lets storage threads work, or ticks a clock; the output is
what every step showed.  `stabilize` repeats until nothing moves: every node with a Ready in order
of identity, then deliveries in order of identity, then append threads, then apply threads.

A mistake in the scenario (an unknown command or node) is a `ScenarioError`; an error that etcd
itself prints belongs to the output.
"""

from __future__ import annotations

from collections.abc import Callable

from consensus_lab.node import ParameterError, ProtocolViolation
from consensus_lab.raft.membership import MembershipError
from tests.conformance.etcd_raft import driving, looking, moving, starting
from tests.conformance.etcd_raft.arguments import words
from tests.conformance.etcd_raft.datadriven import Argument, Directive, ScenarioError, parse_line
from tests.conformance.etcd_raft.environment import CommandError, Environment
from tests.conformance.etcd_raft.storage import StorageError

Command = Callable[[Environment, tuple[Argument, ...]], None]


def _breakpoint(env: Environment, arguments: tuple[Argument, ...]) -> None:
    """A place for a debugger; nothing happens."""


def _log_level(env: Environment, arguments: tuple[Argument, ...]) -> None:
    env.set_log_level(words(arguments, 1, env.where)[0])


COMMANDS: dict[str, Command] = {
    "_breakpoint": _breakpoint,
    "add-nodes": starting.add_nodes,
    "campaign": driving.campaign,
    "compact": driving.compact,
    "deliver-msgs": moving.deliver_msgs,
    "forget-leader": driving.forget_leader,
    "log-level": _log_level,
    "process-append-thread": moving.process_append_thread,
    "process-apply-thread": moving.process_apply_thread,
    "process-ready": moving.process_ready,
    "propose": driving.propose,
    "raft-log": looking.raft_log,
    "raft-state": looking.raft_state,
    "report-unreachable": driving.report_unreachable,
    "send-snapshot": driving.send_snapshot,
    "set-randomized-election-timeout": driving.set_randomized_election_timeout,
    "stabilize": moving.stabilize,
    "status": looking.status,
    "tick": driving.tick,
    "tick-election": driving.tick_election,
    "tick-heartbeat": driving.tick_heartbeat,
    "transfer-leadership": driving.transfer_leadership,
}


class Scenario:
    """One scenario file's run."""

    def __init__(self) -> None:
        self.env = Environment()

    def handle(self, directive: Directive) -> str:
        """Carry out a command; what it prints."""
        env = self.env
        env.output = []
        env.where = directive.where
        try:
            if directive.command == "propose-conf-change":
                self._guarded(lambda: driving.propose_conf_change(env, directive))
            else:
                self._single(directive.command, directive.arguments)
                for line in directive.input.splitlines():
                    self._line(line)
        except CommandError as error:
            if env.is_quiet:
                return str(error)
            env.print(str(error))
        return "".join(env.output) or "ok"

    def _line(self, line: str) -> None:
        """A further command on an input line; its error does not end the others."""
        command, arguments = parse_line(line, self.env.where)
        try:
            self._single(command, arguments)
        except CommandError as error:
            if self.env.is_quiet:
                raise
            self.env.print(str(error))

    def _single(self, name: str, arguments: tuple[Argument, ...]) -> None:
        command = COMMANDS.get(name)
        if command is None:
            raise ScenarioError(self.env.where, f"unknown command {name!r}")
        self._guarded(lambda: command(self.env, arguments))

    def _guarded(self, action: Callable[[], None]) -> None:
        """Tell what the scenario may show from what makes it impossible to go on."""
        try:
            action()
        except (MembershipError, ParameterError, AssertionError) as error:
            raise ScenarioError(self.env.where, str(error) or "assertion failed") from error
        except ProtocolViolation as error:
            raise CommandError(error.rule) from error
        except StorageError as error:
            raise CommandError(str(error)) from error
