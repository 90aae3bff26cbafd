"""The reference: signatures and docstrings of what users call, as one Markdown page.

Rules of this file: nothing is written here twice; all text is read from the sources, whose examples
the tests run, and nothing is imported.  Public is what has a docstring and no leading underscore.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
MODULES = (
    "experiments/__init__.py", "experiments/result.py", "experiments/parameters.py",
    "experiments/replicates.py",
    "batch/__init__.py", "batch/plan.py", "batch/frames.py", "provenance.py", "node.py",
    "client.py", "sim/engine.py", "sim/links.py", "sim/process.py", "sim/faults.py",
    "sim/trace.py", "sim/explore.py", "sim/linearizability.py", "network/topology.py",
    "network/geography.py", "network/attributes.py", "gossip/simulate.py", "gossip/mining.py",
    "gossip/race.py", "gossip/pool_race.py", "report/space_time.py",
    "report/traces.py", "data.py",
)  # fmt: skip
_LINE_MAX = 100

Definition = ast.FunctionDef | ast.ClassDef


def page() -> str:
    """The whole page, modules in the order of `MODULES`, definitions in that of their file."""
    parts = [
        "# Reference\n\nWhat a notebook or a program of yours calls. Times inside are integer "
        "nanoseconds, sizes are bytes; a user's mistake is a `ParameterError`.\n"
    ]
    for name in MODULES:
        tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
        dotted = f"consensus_lab.{name.removesuffix('.py').replace('/', '.')}"
        parts.append(f"## {dotted.removesuffix('.__init__')}\n\n{_text(tree)}")
        for item in _public(tree):
            parts.append(f"### {item.name}\n\n```python\n{signature(item)}\n```\n\n{_text(item)}")
            methods = [m for m in _public(item) if isinstance(item, ast.ClassDef)]
            lines = [f"- `{signature(m)}` {_first_line(m)}" for m in methods]
            parts.append("\n".join(lines) + "\n" if lines else "")
    return "\n".join(parts)


def _public(tree: ast.AST) -> Iterator[Definition]:
    for item in getattr(tree, "body", []):
        is_definition = isinstance(item, (ast.FunctionDef, ast.ClassDef))
        if is_definition and not item.name.startswith("_") and ast.get_docstring(item):
            yield item


def signature(item: Definition) -> str:
    """The call as a reader would type it, over several lines where one is too long.

    Examples
    --------
    >>> signature(ast.parse("def f(self, a: int, *, b: str = 'x') -> None: ...").body[0])
    "f(a: int, *, b: str = 'x') -> None"
    """
    if isinstance(item, ast.ClassDef):
        made = [m for m in item.body if isinstance(m, ast.FunctionDef) and m.name == "__init__"]
        fields = [m for m in item.body if isinstance(m, ast.AnnAssign)]
        parts = _arguments(made[0].args) if made else [ast.unparse(field) for field in fields]
        result = ""
    else:
        parts = _arguments(item.args)
        result = f" -> {ast.unparse(item.returns)}" if item.returns else ""
    one_line = f"{item.name}({', '.join(parts)}){result}"
    if len(one_line) <= _LINE_MAX:
        return one_line
    return f"{item.name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){result}"


def _arguments(arguments: ast.arguments) -> list[str]:
    """Each argument with its type and default, without `self`."""
    for group in (arguments.posonlyargs, arguments.args):
        if group and group[0].arg in ("self", "cls"):
            del group[0]
    call = ast.parse(f"def f({ast.unparse(arguments)}): ...").body[0]
    assert isinstance(call, ast.FunctionDef)
    a = call.args
    plain = [*a.posonlyargs, *a.args]
    defaults = [None] * (len(plain) - len(a.defaults)) + list(a.defaults)
    parts = [_argument(one, value) for one, value in zip(plain, defaults, strict=True)]
    if a.vararg or a.kwonlyargs:
        parts.append(f"*{_argument(a.vararg)}" if a.vararg else "*")
    parts += [_argument(one, v) for one, v in zip(a.kwonlyargs, a.kw_defaults, strict=True)]
    return parts + ([f"**{_argument(a.kwarg)}"] if a.kwarg else [])


def _argument(argument: ast.arg, default: ast.expr | None = None) -> str:
    text = ast.unparse(argument)
    return f"{text} = {ast.unparse(default)}" if default is not None else text


def _first_line(item: Definition) -> str:
    return (ast.get_docstring(item) or "").splitlines()[0]


def _text(item: Definition | ast.Module) -> str:
    """A docstring as it stands."""
    return f"```\n{ast.get_docstring(item) or ''}\n```\n"
