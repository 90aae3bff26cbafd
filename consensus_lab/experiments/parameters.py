"""Parameters of an experiment: typed, ranged, documented; read from notebooks and command lines.

An experiment declares its parameters as fields of one frozen dataclass:

    class Parameters(ParameterSet):
        n_nodes: int = parameter(500, full=13_870, unit="count", meaning="nodes", minimum=2)

The same list stands in the notebook's `parameters` cell (a test compares them).  A value of the
wrong type or outside its range, or a name that does not exist, is a `ParameterError`.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import json
import math
import typing
from collections.abc import Mapping
from typing import Any, Self

from consensus_lab.node import ParameterError

PRESETS = ("fast", "full")
_LITERALS = (int, float, str, bool, list, dict, tuple)


def parameter(
    default: Any,
    *,
    meaning: str,
    unit: str = "",
    full: Any = dataclasses.MISSING,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[Any, ...] | None = None,
) -> Any:
    """Declare a field of a `ParameterSet`.

    Parameters
    ----------
    default : object
        Value of the fast preset: the whole experiment ends within a minute.
    meaning, unit : str
        For people.
    full : object, optional
        Value of the full preset, the one of the published figure; the default if left out.
    minimum, maximum : float, optional
        The allowed range, both ends included; of a list or tuple, of each of its numbers.
    choices : tuple, optional
        The only allowed values.
    """
    meta = {
        "meaning": meaning, "unit": unit, "minimum": minimum, "maximum": maximum,
        "choices": choices, "full": default if full is dataclasses.MISSING else full,
    }  # fmt: skip
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=meta)
    return dataclasses.field(default=default, metadata=meta)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParameterSet:
    """Base of every experiment's `Parameters`; checks itself when built."""

    seed: int = parameter(1, meaning="gives every random choice of the run", minimum=0)

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        types = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = _typed(field.name, getattr(self, field.name), types[field.name])
            _check_range(field.name, value, field.metadata)
            object.__setattr__(self, field.name, value)
        self.check()

    def check(self) -> None:
        """Raise `ParameterError` where values do not fit each other; subclasses override it."""

    @classmethod
    def names(cls) -> list[str]:
        """Parameter names in the order of declaration, the seed last."""
        names = [field.name for field in dataclasses.fields(cls)]
        return [name for name in names if name != "seed"] + ["seed"]

    @classmethod
    def describe(cls) -> list[dict[str, Any]]:
        """One row per parameter: name, type, default, full, unit, allowed, meaning."""
        types = typing.get_type_hints(cls)
        fields = {field.name: field for field in dataclasses.fields(cls)}
        rows = []
        for name in cls.names():
            field, kind = fields[name], types[name]
            meta = field.metadata
            rows.append({
                "name": name, "type": getattr(kind, "__name__", str(kind)),
                "default": _default(field), "full": meta["full"], "unit": meta["unit"],
                "allowed": _allowed(meta), "meaning": meta["meaning"],
            })  # fmt: skip
        return rows

    @classmethod
    def of(cls, values: Mapping[str, Any] | None = None, *, preset: str = "fast") -> Self:
        """Build from names and values; what is not named comes from the preset.

        Raises
        ------
        ParameterError
            For an unknown preset or name (with the nearest right one), a wrong type or range.
        """
        if preset not in PRESETS:
            raise ParameterError("preset", preset, "one of " + ", ".join(PRESETS))
        values = dict(values or {})
        for name in values:
            cls.require(name, values[name])
        if preset == "full":
            for field in dataclasses.fields(cls):
                values.setdefault(field.name, field.metadata["full"])
        return cls(**values)

    @classmethod
    def cell(cls) -> str:
        """The text of a notebook's `parameters` cell: what papermill lists and overrides."""
        lines = [f'preset: str = "{PRESETS[0]}"  # {" or ".join(PRESETS)} - size of the run']
        for row in cls.describe():
            kind = row["type"].split("[")[0]
            value = json.dumps(row["default"]) if kind == "str" else repr(row["default"])
            unit = f"{row['unit']} - " if row["unit"] else ""
            lines.append(f"{row['name']}: {kind} = {value}  # {unit}{row['meaning']}")
        assert all(line.count("=") == 1 for line in lines), "papermill needs exactly one ="
        return "\n".join(lines)

    @classmethod
    def require(cls, name: str, value: Any) -> None:
        """Raise `ParameterError` when there is no parameter of that name."""
        if name not in cls.names():
            raise ParameterError(name, value, _known(name, cls.names()))

    @classmethod
    def from_texts(cls, texts: Mapping[str, str], *, preset: str = "fast") -> Self:
        """Build from command-line texts: `n_nodes=50`, `sizes=[1, 2]`, `relay=push`."""
        return cls.of({name: _literal(text) for name, text in texts.items()}, preset=preset)

    @classmethod
    def from_notebook(cls, namespace: Mapping[str, Any]) -> Self:
        """Read the parameters that a notebook's cells have set, strictly.

        To be called as `Parameters.from_notebook(globals())` in the first cell after the
        parameters.  The cells of literal assignments that ran before it (the parameters cell,
        and the one that papermill injects) may assign only names that exist.  A value left at
        its default takes the full preset's value when `preset` is "full".
        """
        known = {*cls.names(), "preset"}
        for name in _assigned_names(namespace.get("In", []), known):
            if name not in known:
                value = namespace.get(name)
                raise ParameterError(name, value, _known(name, sorted(known)))
        preset = namespace.get("preset", "fast")
        values = {name: namespace[name] for name in cls.names() if name in namespace}
        if preset == "full":
            defaults = {field.name: _default(field) for field in dataclasses.fields(cls)}
            values = {name: v for name, v in values.items() if v != defaults[name]}
        return cls.of(values, preset=preset)

    def as_dict(self) -> dict[str, Any]:
        """Names and values in the order of `names`."""
        return {name: getattr(self, name) for name in self.names()}

    def replace(self, **changes: Any) -> Self:
        """A copy with some values changed, checked again."""
        return self.of({**self.as_dict(), **changes})


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _known(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? It has to be " if near else ""
    return f"a parameter of this experiment ({hint}one of {', '.join(names)})"


def _allowed(meta: Mapping[str, Any]) -> str:
    if meta["choices"]:
        return "one of " + ", ".join(str(choice) or "'' (empty)" for choice in meta["choices"])
    low, high = meta["minimum"], meta["maximum"]
    if low is not None and high is not None:
        return f"from {low} to {high}"
    if low is not None:
        return f"at least {low}"
    return f"at most {high}" if high is not None else "any"


def _typed(name: str, value: Any, kind: Any) -> Any:
    """The value as the declared type, or an error; whole floats pass as int, ints as float."""
    base = typing.get_origin(kind) or kind
    if base is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if base is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if base in (list, tuple) and isinstance(value, (list, tuple)):
        parts = typing.get_args(kind)
        inner = [part for part in parts if part is not ...]
        if len(inner) == 1:
            value = [_typed(name, part, inner[0]) for part in value]
        return base(value)
    wrong_bool = isinstance(value, bool) and base is not bool
    if base not in _LITERALS or wrong_bool or not isinstance(value, base):
        raise ParameterError(name, value, f"of type {getattr(base, '__name__', base)}")
    return value


def _check_range(name: str, value: Any, meta: Mapping[str, Any]) -> None:
    for part in value if isinstance(value, (list, tuple)) else (value,):
        if meta["choices"] is not None and part not in meta["choices"]:
            raise ParameterError(name, value, _allowed(meta))
        if isinstance(part, float) and math.isnan(part):
            raise ParameterError(name, value, "a number")
        low, high = meta["minimum"], meta["maximum"]
        if (low is not None and part < low) or (high is not None and part > high):
            raise ParameterError(name, value, _allowed(meta))
    if isinstance(value, (list, tuple)) and not value:
        raise ParameterError(name, value, "not empty")


def _literal(text: str) -> Any:
    """A command-line text as the Python literal that it spells, else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False}.get(text.lower(), text)


def _is_literal(line: ast.stmt) -> bool:
    """True for an assignment of a literal value."""
    value = line.value if isinstance(line, (ast.Assign, ast.AnnAssign)) else None
    try:
        ast.literal_eval(value) if value is not None else None
    except ValueError:
        return False
    return value is not None


def _assigned_names(cells: list[str], known: set[str]) -> list[str]:
    """Names set in cells that hold nothing but assignments and belong to the parameters."""
    found: list[str] = []
    for source in cells:
        try:
            body = ast.parse(source).body
        except SyntaxError:
            continue
        names = []
        for line in body:
            targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", 0)]
            names += [target.id for target in targets if isinstance(target, ast.Name)]
        is_injected = source.startswith("# Parameters")
        if is_injected or (known.intersection(names) and all(map(_is_literal, body))):
            found += names
    return found
