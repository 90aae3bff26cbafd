"""How the gossip path is compiled: steps, and the loops made of them, which Python calls.

The functions of this folder get their arrays bundled in named tuples.  Numba counts references
to every array it takes out of such a bundle, with atomic instructions, which made an event four
times as dear (312 against 66 ns).  The compiled functions allocate nothing, so they are built
without the runtime that counts (`_nrt=False`), and they are inlined into the one loop
(`forceinline`), because handing the bundles from call to call copies a kilobyte each time.  Both
are measured in `benchmarks/README-gossip.md`.

Code that allocates nothing needs nothing of Numba when it runs either: it is a function of
numbers and addresses.  So a loop is compiled by Numba once, its machine code is kept
(`machine_code`), and later processes do not import Numba, which would cost them half a second:
they load the code and call it.  What they pass is what Numba's own calls pass, an array being
spread into its parts; `machine_code` compares that with the code when it is compiled.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy

from consensus_lab.gossip import machine_code

_PACKAGE = Path(__file__).resolve().parent.parent
_COMPILER = ("gossip/compiled.py", "gossip/machine_code.py")
# Without the wrappers that would let Python call each of them, compiling takes 12 s, not 19 s.
_OPTIONS: dict[str, Any] = {
    "error_model": "numpy", "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True,
}  # fmt: skip


class Step:
    """A function that Numba compiles when it compiles the first loop that calls it.

    Parameters
    ----------
    function : callable
    **options
        Of `numba.njit`, besides those that all have.
    """

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        self.function = function
        self.options = options

    @property
    def _numba_type_(self) -> Any:
        """What Numba asks a value for that it does not know: the compiled function's type."""
        return self._dispatcher._numba_type_

    @cached_property
    def _dispatcher(self) -> Any:
        from numba import njit

        return njit(**_OPTIONS, **self.options)(self.function)


inlined: Any = partial(Step, forceinline=True)
"""A step of a loop."""

compiled: Any = Step
"""A function of its own, for what happens rarely."""


class Fetch:
    """`fetch(array, row, column)` in a step: have that place's memory brought near; no waiting.

    An array of one dimension counts the two together.  A place beyond its end does no harm.
    """

    @cached_property
    def _numba_type_(self) -> Any:
        from llvmlite import ir
        from numba import types
        from numba.core.registry import cpu_target
        from numba.extending import intrinsic

        def typed(context: Any, array: Any, row: Any, column: Any) -> Any:
            return types.void(array, types.int64, types.int64), emitted

        def emitted(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, arguments[0])
            # The first stride; of one dimension it is the size of an element.
            row = builder.mul(arguments[1], builder.extract_value(array.strides, 0))
            column = builder.mul(arguments[2], array.itemsize)
            address = builder.add(builder.ptrtoint(array.data, row.type), builder.add(row, column))
            pointer, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
            prefetch = builder.module.declare_intrinsic(
                "llvm.prefetch",
                [pointer],
                ir.FunctionType(ir.VoidType(), [pointer, flag, flag, flag]),
            )
            # For reading, into all levels of the data cache.
            arguments = [builder.inttoptr(address, pointer), flag(0), flag(3), flag(1)]
            builder.call(prefetch, arguments)
            return context.get_dummy_value()

        self._intrinsic = intrinsic(typed)
        cpu_target.typing_context.refresh()
        return cpu_target.typing_context.resolve_value_type(self._intrinsic)


fetch: Any = Fetch()


class Loop:
    """A compiled function that Python calls; it returns an integer.

    Its arguments are integers, arrays in C order, and named tuples of these.

    Parameters
    ----------
    function : callable
    sources : iterable of str
        Every file whose code or constants are compiled into it, named from the package's folder.
        A change in any of them compiles anew.
    """

    def __init__(self, function: Callable[..., int], sources: Iterable[str]) -> None:
        self.function = function
        self.sources = sorted({*sources, *_COMPILER})
        self._entries: dict[str, machine_code.Entry] = {}

    def __call__(self, *arguments: Any) -> int:
        form = ",".join(map(_form, arguments))
        if form not in self._entries:
            name = f"{self.function.__module__}.{self.function.__name__}"
            key = hashlib.sha256("\n".join([name, form, self._digest]).encode()).hexdigest()
            count = sum(1 for _ in _spread(arguments))
            code = partial(machine_code.compile_loop, self.function, _OPTIONS, arguments, count)
            self._entries[form] = machine_code.entry(name, key, code, count)
        returned, raised = ctypes.c_int64(), ctypes.c_void_p()
        where = ctypes.byref(returned), ctypes.byref(raised)
        failed = self._entries[form](*where, *_spread(arguments))
        assert not failed, f"compiled code of {self.function.__module__} raised"
        return returned.value

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256()
        for name in self.sources:
            digest.update((_PACKAGE / name).read_bytes())
        return digest.hexdigest()


def loop(*sources: str) -> Callable[[Callable[..., int]], Loop]:
    """Decorate a function to be a `Loop` of those sources."""
    return lambda function: Loop(function, sources)


def _form(argument: Any) -> str:
    """What of an argument decides which code is right for it."""
    if isinstance(argument, numpy.ndarray):
        assert argument.flags.c_contiguous, "compiled code takes arrays in C order"
        return f"{argument.dtype.str}{argument.ndim}{'w' if argument.flags.writeable else 'r'}"
    if isinstance(argument, tuple):
        return f"{type(argument).__name__}({','.join(map(_form, argument))})"
    assert type(argument) in (int, numpy.int64, numpy.uint64), "compiled code takes integers"
    return "u" if type(argument) is numpy.uint64 else "i"


def _spread(arguments: Iterable[Any]) -> Iterator[int]:
    """The numbers that stand for the arguments in a call of Numba's code."""
    for argument in arguments:
        if isinstance(argument, numpy.ndarray):
            # No owner to count references for, no parent; then what it takes to find an element.
            yield from (0, 0, argument.size, argument.itemsize, argument.ctypes.data)
            yield from (*argument.shape, *argument.strides)
        elif isinstance(argument, tuple):
            yield from _spread(argument)
        else:
            yield int(argument)
