"""Reads what a sweep is to run, and checks all of it before the first run starts.

Theory of operation.  A sweep names one subject, an experiment or a notebook, and up to five parts
that set its parameters: `fixed` (the same in every run), `grid` (every combination), `lists`
(side by side, like a zip), `random` (drawn from ranges) and `seeds`.  The runs are the product of
the last four, in the order in which they are written, seeds fastest.  Each run gets its complete
parameters at once, so that a mistake in the last one stops the sweep before the first, and a key:
the hash of the subject, the parameters and the code.  The key is the name of the run's folder, so
the same run is never made twice, and a run of other code is never mistaken for this one.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from consensus_lab import experiments
from consensus_lab.batch import parameter_cells
from consensus_lab.experiments.result import code_version
from consensus_lab.node import ParameterError
from consensus_lab.sim.streams import stream

PARTS = (
    "experiment", "notebook", "preset", "fixed", "grid", "lists", "random", "seeds", "figures",
    "cell_timeout_s",
)  # fmt: skip
RUNS_MAX = 1_000_000
CELL_TIMEOUT_S = 1800
_DIGITS = 16

Values = dict[str, Any]


class Run(NamedTuple):
    """One run of a sweep: all that a worker needs, in plain values.

    Attributes
    ----------
    experiment : str
        The experiment's name, or "" for a notebook of one's own.
    notebook : str
        The notebook's path, or "" when the experiment runs without one.
    parameters : dict
        Every parameter with its value.
    key : str
        Name of its folder: hash of subject, parameters and code.
    code : str
        The code version that it was planned for.
    figures : bool
        Draw and save the experiment's figure as well.
    cell_timeout_s : int
        Limit of one notebook cell.
    """

    experiment: str
    notebook: str
    parameters: Values
    key: str
    code: str
    figures: bool = False
    cell_timeout_s: int = CELL_TIMEOUT_S


class _Subject(NamedTuple):
    experiment: str
    notebook: str
    digest: str
    complete: Callable[[Values], Values]
    types: Mapping[str, str]


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Refuses a key given twice, and reads 1e-3 as a number as YAML 1.2 does."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for place, key in enumerate(keys) if key in keys[:place]]
        if twice:
            raise ParameterError(str(twice[0]), "two values", "given once")
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(?:\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def read(source: str | Path | Mapping[str, Any]) -> list[Run]:
    """Every run of a sweep, complete and checked.

    Parameters
    ----------
    source : path or mapping
        The YAML file, or what it would hold.  A notebook's path is relative to the file.

    Raises
    ------
    ParameterError
        Naming the part or parameter that is wrong, whichever run it would be in.
    """
    if isinstance(source, Mapping):
        return _runs(dict(source), Path())
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise ParameterError("sweep", str(path), f"a readable YAML file ({why})") from None
    try:
        found = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        why = getattr(error, "problem", None) or "not YAML"
        raise ParameterError("sweep", str(path), f"a YAML file ({where}{why})") from None
    except (TypeError, ValueError) as error:
        if isinstance(error, ParameterError):
            raise
        raise ParameterError("sweep", str(path), f"a YAML file ({error})") from None
    if not isinstance(found, dict):
        raise ParameterError("sweep", str(path), "a YAML file of `name: value` lines")
    return _runs(found, path.parent)


def _runs(parts: dict[Any, Any], place: Path) -> list[Run]:
    for name in parts:
        if name not in PARTS:
            raise ParameterError(str(name), parts[name], _one_of("a part of a sweep", name, PARTS))
    figures, limit_s = parts.get("figures", False), parts.get("cell_timeout_s", CELL_TIMEOUT_S)
    if not isinstance(figures, bool):
        raise ParameterError("figures", figures, "true or false")
    if not isinstance(limit_s, int) or isinstance(limit_s, bool) or limit_s < 1:
        raise ParameterError("cell_timeout_s", limit_s, "a whole number of seconds, at least 1")
    subject = _subject(parts, place)
    fixed = _mapping(parts, "fixed")
    axes = [
        _grid(_mapping(parts, "grid")), _lists(_mapping(parts, "lists")),
        _random(_mapping(parts, "random"), subject.types), _seeds(parts.get("seeds")),
    ]  # fmt: skip
    _require_once([("fixed", fixed), *zip(PARTS[4:8], [axis[0] for axis in axes], strict=True)])
    count = math.prod(map(len, axes))
    if count > RUNS_MAX:
        raise ParameterError("sweep", f"{count} runs", f"at most {RUNS_MAX} runs")
    code = code_version()
    runs: dict[str, Run] = {}
    for choice in itertools.product(*axes):
        values = subject.complete({k: v for part in (fixed, *choice) for k, v in part.items()})
        identity = [subject.experiment, subject.digest, values, code, figures]
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:_DIGITS]
        runs.setdefault(key, Run(subject.experiment, subject.notebook, values, key, code,
                                 figures, limit_s))  # fmt: skip
    return list(runs.values())


def _subject(parts: Mapping[str, Any], place: Path) -> _Subject:
    """The experiment or notebook, and how its parameters are completed and checked."""
    preset = parts.get("preset", "fast")
    if ("experiment" in parts) == ("notebook" in parts):
        given = "both" if "notebook" in parts else "neither"
        raise ParameterError("experiment", given, "given, or notebook instead of it")
    if "experiment" in parts:
        return _of_experiment(str(parts["experiment"]).replace("_", "-"), "", "", preset)
    path = (place / str(parts["notebook"])).resolve()
    notebook = parameter_cells.read(path)
    digest = parameter_cells.digest(notebook)
    name = parameter_cells.experiment_of(notebook)
    if name in experiments.questions():
        return _of_experiment(name, str(path), digest, preset)
    known = parameter_cells.parameters(notebook, path)
    if "preset" in parts and "preset" in known:
        known["preset"] = known["preset"]._replace(default=preset)
    types = {name: cell.type for name, cell in known.items()}
    complete = functools.partial(parameter_cells.complete, known)
    return _Subject("", str(path), digest, complete, types)


def _of_experiment(name: str, notebook: str, digest: str, preset: str) -> _Subject:
    declared = experiments.load(name).Parameters

    def complete(values: Values) -> Values:
        whole = declared.of(values, preset=preset).as_dict()
        return {key: list(v) if isinstance(v, tuple) else v for key, v in whole.items()}

    types = {row["name"]: row["type"] for row in declared.describe()}
    return _Subject(name, notebook, digest, complete, types)


def _mapping(parts: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = parts.get(name) or {}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ParameterError(name, found, "a mapping of parameter names to values")
    return found


def _require_lists(part: str, found: Mapping[str, Any]) -> None:
    for name, values in found.items():
        if not isinstance(values, list) or not values:
            raise ParameterError(name, values, f"a list of values in {part}, not empty")


def _grid(found: Mapping[str, Any]) -> list[Values]:
    _require_lists("grid", found)
    return [dict(zip(found, point, strict=True)) for point in itertools.product(*found.values())]


def _lists(found: Mapping[str, Any]) -> list[Values]:
    _require_lists("lists", found)
    lengths = {name: len(values) for name, values in found.items()}
    for name, length in lengths.items():
        first, wanted = next(iter(lengths.items()))
        if length != wanted:
            raise ParameterError(name, found[name], f"as long as {first} ({wanted} values)")
    return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)] or [{}]


def _random(found: Mapping[str, Any], types: Mapping[str, str]) -> list[Values]:
    """Points drawn from ranges; each parameter has a stream of its own."""
    if not found:
        return [{}]
    known = ("samples", "seed", "draw")
    for name in found:
        if name not in known:
            raise ParameterError(name, found[name], _one_of("a part of random", name, known))
    samples, seed = found.get("samples"), found.get("seed", 1)
    for name, value in (("samples", samples), ("seed", seed)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ParameterError(f"random.{name}", value, "a whole number, at least 1")
    assert isinstance(samples, int)
    if samples > RUNS_MAX:
        raise ParameterError("random.samples", samples, f"at most {RUNS_MAX}")
    draw = _mapping(found, "draw")
    if not draw:
        raise ParameterError("draw", draw, "a mapping of parameter names to ranges")
    columns = {name: _draws(name, rule, types.get(name, ""), samples, seed)
               for name, rule in draw.items()}  # fmt: skip
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _draws(name: str, rule: Any, kind: str, samples: int, seed: int) -> list[Any]:
    """Values for one parameter: of its choices, or between two ends, evenly or by logarithm."""
    source = stream(seed, "sweep", name)
    rule = rule if isinstance(rule, dict) else {}
    if set(rule) == {"choices"} and isinstance(rule["choices"], list) and rule["choices"]:
        return [source.choice(rule["choices"]) for _ in range(samples)]
    low, high, scale = rule.get("low"), rule.get("high"), rule.get("scale", "linear")
    ends = [end for end in (low, high) if isinstance(end, (int, float)) and end is not True]
    is_sound = len(ends) == 2 and set(rule) <= {"low", "high", "scale"}
    if not is_sound or not math.isfinite(low) or not math.isfinite(high) or low > high:
        raise ParameterError(name, rule, "{low: L, high: H} with L <= H, or {choices: [...]}")
    if scale not in ("linear", "log") or (scale == "log" and low <= 0):
        raise ParameterError(name, rule, "of scale linear, or log with low above 0")
    is_whole = kind == "int" or (kind != "float" and isinstance(low, int) and isinstance(high, int))
    if is_whole and (low != int(low) or high != int(high)):
        raise ParameterError(name, rule, "between whole numbers")
    if scale == "linear" and is_whole:
        return [source.randint(int(low), int(high)) for _ in range(samples)]
    if scale == "linear":
        return [source.uniform(low, high) for _ in range(samples)]
    drawn = [math.exp(source.uniform(math.log(low), math.log(high))) for _ in range(samples)]
    inside = [min(max(value, low), high) for value in drawn]
    return [round(value) for value in inside] if is_whole else inside


def _seeds(found: Any) -> list[Values]:
    """`seeds: 5` is 1 to 5; `seeds: [3, 7]` is those."""
    if found is None:
        return [{}]
    is_count = isinstance(found, int) and not isinstance(found, bool)
    if is_count and 1 <= found <= RUNS_MAX:
        return [{"seed": seed} for seed in range(1, found + 1)]
    if not isinstance(found, list) or not found:
        raise ParameterError("seeds", found, f"how many (1 to {RUNS_MAX}), or a list of seeds")
    return [{"seed": seed} for seed in found]


def _require_once(parts: list[tuple[str, Values]]) -> None:
    """No parameter may be set by two parts."""
    owner: dict[str, str] = {}
    for part, values in parts:
        for name in values:
            if name in owner:
                raise ParameterError(name, part, f"set once; {owner[name]} sets it already")
            owner[name] = part


def _one_of(what: str, name: object, names: Iterable[str]) -> str:
    names = list(names)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? It has to be " if near else ""
    return f"{what} ({hint}one of {', '.join(names)})"
