"""What a notebook says about its own parameters, read without running it.

The cell tagged `parameters` holds lines `name: type = value`; papermill overrides them.  A notebook
whose code calls `EXPERIMENT.Parameters.from_notebook` has that experiment's parameters, ranges and
all; any other notebook has the names and types of its cell.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from consensus_lab.node import ParameterError

INJECTED = "injected-parameters"
"""Papermill's tag for the cell in which it sets parameters."""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "int": (int,), "float": (int, float), "str": (str,), "bool": (bool,), "list": (list,),
    "dict": (dict,),
}  # fmt: skip


class Cell(NamedTuple):
    """One parameter of a notebook: its type's name or "", its default if that is a literal."""

    type: str
    default: Any


def read(path: Path) -> dict[str, Any]:
    """The notebook as JSON; `ParameterError` when it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        why = error.strerror or "unreadable"
        raise ParameterError("notebook", str(path), f"a notebook ({why})") from None
    except ValueError:
        raise ParameterError("notebook", str(path), "a notebook (it is no JSON)") from None
    if not isinstance(found, dict) or not isinstance(found.get("cells"), list):
        raise ParameterError("notebook", str(path), "a notebook (it has no cells)")
    return found


def source(cell: Mapping[str, Any]) -> str:
    """A cell's text, which a notebook may hold in one piece or in lines."""
    text = cell.get("source", "")
    return text if isinstance(text, str) else "".join(text)


def digest(notebook: Mapping[str, Any]) -> str:
    """Hash of the cells' kinds and texts: outputs and metadata do not make another notebook."""
    cells = [[cell.get("cell_type"), source(cell)] for cell in notebook["cells"]]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def experiment_of(notebook: Mapping[str, Any]) -> str:
    """The experiment whose `Parameters.from_notebook` the notebook calls, or ""."""
    for cell in notebook["cells"]:
        match = re.search(r"(\w+)\.Parameters\.from_notebook\(", source(cell))
        if match and cell.get("cell_type") == "code":
            return match[1].replace("_", "-")
    return ""


def parameters(notebook: Mapping[str, Any], path: Path) -> dict[str, Cell]:
    """The parameters of the tagged cell, in its order."""
    tagged = [c for c in notebook["cells"] if "parameters" in c.get("metadata", {}).get("tags", [])]
    if not tagged:
        raise ParameterError("notebook", str(path), "a notebook with a cell tagged parameters")
    found: dict[str, Cell] = {}
    try:
        lines = ast.parse(source(tagged[0])).body
    except SyntaxError:
        raise ParameterError(
            "notebook", str(path), "a notebook with plain lines in its parameters cell"
        ) from None
    for line in lines:
        target = line.targets[0] if isinstance(line, ast.Assign) else getattr(line, "target", None)
        value = getattr(line, "value", None)
        if not isinstance(target, ast.Name) or value is None:
            continue
        note = line.annotation if isinstance(line, ast.AnnAssign) else None
        try:
            default = ast.literal_eval(value)
        except ValueError:
            default = None
        kind = ast.unparse(note).split("[")[0] if note else ""
        found[target.id] = Cell(kind, default)
    return found


def complete(known: Mapping[str, Cell], values: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters with their values, or `ParameterError` for a name or type that is wrong."""
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? It has to be " if near else ""
            allowed = f"a parameter of the notebook ({hint}one of {', '.join(known)})"
            raise ParameterError(name, value, allowed)
        kinds = _TYPES.get(known[name].type)
        is_wrong_bool = isinstance(value, bool) and kinds is not None and bool not in kinds
        if kinds and (is_wrong_bool or not isinstance(value, kinds)):
            raise ParameterError(name, value, f"of type {known[name].type}")
    whole = {name: values.get(name, cell.default) for name, cell in known.items()}
    return {name: value for name, value in whole.items() if value is not None}
