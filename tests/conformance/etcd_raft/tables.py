"""Replays etcd's tables of quorum arithmetic and of membership changes."""

from __future__ import annotations

from consensus_lab.raft.membership import (
    Changer,
    Configuration,
    Membership,
    MembershipError,
)
from consensus_lab.raft.progress import describe_progress
from consensus_lab.raft.quorum import (
    UNBOUNDED_INDEX,
    joint_committed,
    joint_vote,
    majority_committed,
    majority_vote,
)
from tests.conformance.etcd_raft.arguments import boolean, integer
from tests.conformance.etcd_raft.datadriven import Directive, ScenarioError
from tests.conformance.etcd_raft.driving import parse_changes
from tests.conformance.etcd_raft.environment import CommandError

INFLIGHT_MESSAGES_MAX = 10
"""Window in etcd's membership tables (confchange/datadriven_test.go)."""


# Quorum arithmetic: etcd-io/raft quorum/datadriven_test.go.


class _Case:
    """The arguments of one case: two halves, and a value per voter in order of appearance."""

    def __init__(self, directive: Directive) -> None:
        where = directive.where
        self.is_joint = False
        ids: dict[str, list[int]] = {"cfg": [], "cfgj": []}
        values: list[str] = []
        for key, given in directive.arguments:
            if key in ids:
                self.is_joint = self.is_joint or key == "cfgj"
                ids[key] += [integer(v, where) for v in given if (key, v) != ("cfgj", "zero")]
            elif key == ("votes" if directive.command == "vote" else "idx"):
                values += given
            elif given and key not in ("idx", "votes"):  # etcd passes over what it does not need.
                raise ScenarioError(where, f"{directive.command}: unknown argument {key!r}")
        self.incoming, self.outgoing = frozenset(ids["cfg"]), frozenset(ids["cfgj"])
        self.voters = list(dict.fromkeys(ids["cfg"] + ids["cfgj"]))
        self.values = dict(zip(self.voters, values, strict=False))
        self.mismatch = ""
        if len(values) != len(self.voters):
            shown = "map[" + " ".join(f"{voter}:{{}}" for voter in sorted(self.voters)) + "]"
            numbers = [{"y": "2", "n": "1", "_": "0"}.get(value, value) for value in values]
            self.mismatch = (
                "error: mismatched input (explicit or _) for voters "
                f"{shown}: [{' '.join(numbers)}]"
            )


def _shown(index: int) -> str:
    return "∞" if index == UNBOUNDED_INDEX else str(index)


def describe_committed(voters: frozenset[int], acked: dict[int, int]) -> str:
    """A bar per voter: the longer, the higher its index stands among the others."""
    if not voters:
        return "<empty majority quorum>"
    count = len(voters)
    bars = {v: sum(acked.get(w, 0) < acked.get(v, 0) for w in voters) for v in voters}
    lines = [" " * count + "    idx\n"]
    for voter in sorted(voters):
        bar = "?" + " " * count
        if voter in acked:
            bar = "x" * bars[voter] + ">" + " " * (count - bars[voter])
        lines.append(f"{bar} {acked.get(voter, 0):5d}    (id={voter})\n")
    return "".join(lines)


def _committed(case: _Case, where: str) -> str:
    acked = {voter: integer(v, where) for voter, v in case.values.items() if v != "_"}
    if 0 in acked.values():
        raise ScenarioError(where, "cannot use 0 as idx: an index that is not known is _")
    if case.is_joint:
        index = joint_committed(case.incoming, case.outgoing, acked)
        text = describe_committed(case.incoming | case.outgoing, acked)
        # etcd's test also holds these alternatives against each other, and prints differences.
        swapped = joint_committed(case.outgoing, case.incoming, acked)
        return text + _differs(swapped, index, "via symmetry") + _shown(index) + "\n"
    voters = case.incoming
    index = majority_committed(voters, acked)
    text = describe_committed(voters, acked)
    text += _differs(_by_counting(voters, acked), index, "via alternative computation")
    text += _differs(joint_committed(voters, (), acked), index, "via zero-joint quorum")
    text += _differs(joint_committed(voters, voters, acked), index, "via self-joint quorum")
    for voter in sorted(voters):
        for lowered in (acked.get(voter, 0) - 1, 0):
            if index > acked.get(voter, 0) > 0:
                other = majority_committed(voters, {**acked, voter: lowered})
                text += _differs(other, index, f"overlaying {voter}->{lowered}")
    return text + _shown(index) + "\n"


def _differs(other: int, index: int, how: str) -> str:
    return "" if other == index else f"{_shown(other)} <-- {how}\n"


def _by_counting(voters: frozenset[int], acked: dict[int, int]) -> int:
    """The same by trying every index: the highest that enough voters have reached."""
    if not voters:
        return UNBOUNDED_INDEX
    reached = [0]
    for index in acked.values():
        votes = sum(acked.get(voter, 0) >= index for voter in voters)
        if votes >= len(voters) // 2 + 1:
            reached.append(index)
    return max(reached)


def _vote(case: _Case, where: str) -> str:
    votes = {}
    for voter, value in case.values.items():
        if value not in ("y", "n", "_"):
            raise ScenarioError(where, f"unknown vote: {value}")
        if value != "_":
            votes[voter] = value == "y"
    if not case.is_joint:
        return majority_vote(case.incoming, votes).value + "\n"
    result = joint_vote(case.incoming, case.outgoing, votes)
    swapped = joint_vote(case.outgoing, case.incoming, votes)
    note = "" if swapped is result else f"{swapped.value} <-- via symmetry\n"
    return note + result.value + "\n"


def quorum_case(directive: Directive) -> str:
    """What one line of the quorum tables prints."""
    if directive.command not in ("committed", "vote"):
        raise ScenarioError(directive.where, f"unknown command {directive.command!r}")
    case = _Case(directive)
    if case.mismatch:
        return case.mismatch
    work = _committed if directive.command == "committed" else _vote
    return work(case, directive.where)


# Membership changes: etcd-io/raft confchange/datadriven_test.go.


class MembershipTable:
    """One file: each case starts from the membership that the last one left."""

    def __init__(self) -> None:
        self.membership = Membership(Configuration(), {})
        self.last_index = 0

    def case(self, directive: Directive) -> str:
        """Make one change, or print why not; the log grows with every case."""
        changer = Changer(
            self.membership,
            last_index=self.last_index,
            inflight_messages_max=INFLIGHT_MESSAGES_MAX,
            inflight_bytes_max=None,
        )
        self.last_index += 1
        try:
            self.membership = self._changed(changer, directive)
        except MembershipError as error:
            return error.rule + "\n"
        except CommandError as error:
            return str(error)
        configuration, progress = self.membership
        return f"{configuration}\n{describe_progress(progress)}"

    def _changed(self, changer: Changer, directive: Directive) -> Membership:
        changes = parse_changes(directive.input)
        if directive.command == "simple":
            return changer.simple(changes)
        if directive.command == "enter-joint":
            auto_leave = False
            for key, values in directive.arguments:
                if key != "autoleave":
                    raise ScenarioError(directive.where, f"unknown argument {key!r}")
                auto_leave = boolean(values, directive.where)
            return changer.enter_joint(changes, auto_leave=auto_leave)
        if directive.command != "leave-joint":
            raise ScenarioError(directive.where, f"unknown command {directive.command!r}")
        if changes:
            raise CommandError("this command takes no input\n")
        return changer.leave_joint()
