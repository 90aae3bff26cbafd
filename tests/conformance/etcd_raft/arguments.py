"""Arguments of commands, checked: every mistake is an error that names the file and line."""

from __future__ import annotations

from tests.conformance.etcd_raft.datadriven import Argument, ScenarioError

_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
"""What Go's strconv.ParseBool takes."""


def integer(text: str, where: str) -> int:
    """A number of at least 0."""
    if not text.isdecimal():
        raise ScenarioError(where, f"a number is needed, not {text!r}")
    return int(text)


def boolean(values: tuple[str, ...], where: str) -> bool:
    """A truth value."""
    if len(values) != 1 or values[0] not in _BOOLEANS:
        raise ScenarioError(where, f"true or false is needed, not {','.join(values)!r}")
    return _BOOLEANS[values[0]]


def words(arguments: tuple[Argument, ...], count: int, where: str) -> list[str]:
    """The first so many arguments, which must be plain words."""
    plain = [argument.key for argument in arguments[:count] if not argument.values]
    if len(plain) < count:
        raise ScenarioError(where, f"{count} plain arguments are needed")
    return plain


def option(arguments: tuple[Argument, ...], key: str, where: str) -> str:
    """The one value of an option that must be there."""
    for argument in arguments:
        if argument.key == key and len(argument.values) == 1:
            return argument.values[0]
    raise ScenarioError(where, f"missing argument: {key}")


def node_numbers(arguments: tuple[Argument, ...], where: str) -> list[int]:
    """The nodes that are named; options are left out."""
    return [integer(argument.key, where) for argument in arguments if not argument.values]
