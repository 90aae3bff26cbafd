"""Machine code of the compiled loops: made by Numba once, kept in a file, loaded without Numba.

Theory of operation.  A file is named by a key of everything that decides whether its code is
right here: the loop's sources and the form of its arguments (`compiled.Loop`), this processor
and its features, the versions of LLVM's binding and of Numba, and Numba's settings in the
environment.  A file of another key is not looked at.  Its first bytes are a checksum of the key
and the rest, so a file that is damaged or half written is as good as none.  Whatever goes wrong
with files, the loop is compiled and runs; it is then only slower to start.

Code is kept only if it calls nothing but itself and the C library (what LLVM makes of its own
intrinsics, as `pow` and `memset`): that much is in every process.

Files lie where Numba would put its own: in the folder that `NUMBA_CACHE_DIR` names, else beside
the compiled Python files, else, where that can not be written, in the user's cache folder.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

Entry = Callable[..., int]
"""Takes the addresses of the result and of an exception, then 64-bit numbers; 0 is success."""

_CHECKSUM_BYTES = 32
_WITHOUT_EFFECT = ("NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS")
"""Settings that do not change the code."""
_engines: list[Any] = []
"""They own the memory of the code that they loaded."""


class Code(NamedTuple):
    """Object code, and the name of the loop in it."""

    symbol: str
    content: bytes


def entry(name: str, key: str, compile_code: Callable[[], tuple[Code, bool]], count: int) -> Entry:
    """The loop of that key as something to call, compiled only if it is not in a file.

    Parameters
    ----------
    name : str
        Of the file, before the key.
    key : str
        Stands for the sources and the form of the arguments.
    compile_code : callable
        See `compile_loop`.
    count : int
        How many numbers a call passes.
    """
    key = hashlib.sha256(f"{key}\n{_here()}".encode()).hexdigest()
    places = [folder / f"{name}-{key[:16]}.code" for folder in _folders()]
    address = 0
    for code in filter(None, (read(place, key) for place in places)):
        address = _load(code)
        break
    if not address:
        if sys.stderr.isatty():
            print(f"\ncompiling {name}, once: up to half a minute", file=sys.stderr)
        code, is_self_contained = compile_code()
        if is_self_contained:
            write(places, key, code)
        address = _load(code)
        assert address, f"{name} is not in its own code"
    numbers = [ctypes.c_int64] * count
    form = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *numbers)
    called: Entry = form(address)
    return called


def compile_loop(
    function: Callable[..., int], options: dict[str, Any], arguments: Sequence[Any], count: int
) -> tuple[Code, bool]:
    """Have Numba compile a function for such arguments.

    Returns
    -------
    Code
    bool
        Whether it calls nothing but itself and what LLVM takes from the C library.
    """
    from llvmlite import binding
    from numba import int64, njit, typeof

    dispatcher = njit(**options)(function)
    dispatcher.compile(tuple(map(typeof, arguments)))
    (result,) = dispatcher.overloads.values()
    assert result.signature.return_type == int64, "a loop returns an integer"
    code = Code(result.fndesc.llvm_func_name, result.library.serialize_using_object_code()[2][0])
    module = binding.parse_assembly(result.library.get_llvm_str())
    takes = [str(argument.type) for argument in module.get_function(code.symbol).arguments]
    assert len(takes) == 2 + count, "Numba spreads arguments in another way than `compiled`"
    assert all(form == "i64" or form.endswith(("ptr", "*")) for form in takes), takes
    foreign = [
        value.name
        for value in (*module.functions, *module.global_variables)
        if value.is_declaration and not value.name.startswith("llvm.")
    ]
    # Dynamic globals are addresses in this process, as those of ctypes functions.
    return code, not (foreign or result.library.has_dynamic_globals)


def _load(code: Code) -> int:
    """Put object code into memory; the loop's address, 0 if it is not there."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_triple(binding.get_process_triple())
    # An engine for each: the names of steps that two loops share must not meet.
    engine = binding.create_mcjit_compiler(
        binding.parse_assembly(""), target.create_target_machine(jit=True, codemodel="jitdefault")
    )
    engine.add_object_file(binding.ObjectFileRef.from_data(code.content))
    engine.finalize_object()
    _engines.append(engine)
    return int(engine.get_function_address(code.symbol))


def _here() -> str:
    """What else decides whether code is right: processor, compilers, their settings."""
    import llvmlite
    from llvmlite import binding

    numba = find_spec("numba")
    assert numba is not None and numba.origin is not None
    status = os.stat(numba.origin)
    features = binding.get_host_cpu_features().flatten()
    settings = [
        f"{name}={value}" for name, value in sorted(os.environ.items())
        if name.startswith("NUMBA_") and name not in _WITHOUT_EFFECT
    ]  # fmt: skip
    parts = (
        sys.implementation.cache_tag, binding.get_process_triple(), binding.get_host_cpu_name(),
        features, llvmlite.__version__, status.st_mtime_ns, status.st_size, *settings,
    )  # fmt: skip
    return "\n".join(map(str, parts))


def read(place: Path, key: str) -> Code | None:
    """Code from a file; None if there is none or it is not what was written."""
    try:
        content = place.read_bytes()
    except OSError:
        return None
    checksum, rest = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
    if hashlib.sha256(key.encode() + rest).digest() != checksum:
        return None
    symbol, _, content = rest.partition(b"\0")
    return Code(symbol.decode(), content)


def write(places: Sequence[Path], key: str, code: Code) -> None:
    """Keep code in the first place that can be written, whole or not at all."""
    rest = code.symbol.encode() + b"\0" + code.content
    content = hashlib.sha256(key.encode() + rest).digest() + rest
    for place in places:
        # Two processes, or threads, that compile the same loop both write, each a file of its own.
        temporary = place.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            os.replace(temporary, place)
            return
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _folders() -> list[Path]:
    """Where code is looked for, and kept in the first that can be written."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    if named:
        return [Path(named)]
    folders = [Path(__file__).resolve().parent / "__pycache__"]
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return [*folders, Path(home) / "consensus-lab"]
