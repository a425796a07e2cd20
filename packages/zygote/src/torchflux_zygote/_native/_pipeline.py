"""Numba's compiler without the passes that generated code has no use for.

Generated functions have no closures, comprehensions, `with` blocks or branches on constants, and every variable in them
has one type, so that none of the passes that look for those, or that give every assignment a name of its own, changes
anything. They took a sixth of the time that compiling takes; loops over arrays that are not copied to every
call spare another eighth, and so does Python's collector of cycles, which rests meanwhile.
"""

import gc
from collections import Counter
from typing import Any

from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.ir import Arg, Assign, Del
from numba.core.lowering import Lower
from numba.core.typed_passes import (
    AnnotateTypes,
    InlineOverloads,
    IRLegalization,
    NativeLowering,
    NoPythonBackend,
    NopythonRewrites,
    NopythonTypeInference,
)
from numba.core.untyped_passes import FixupArgs, GenericRewrites, IRProcessing, TranslateByteCode

__all__ = ["Generated", "OutOfLine"]

PASSES = (
    (TranslateByteCode, "analyzing bytecode"),
    (FixupArgs, "fix up args"),
    (IRProcessing, "processing IR"),
    (GenericRewrites, "nopython rewrites"),
    (NopythonTypeInference, "nopython frontend"),
    (InlineOverloads, "inline overloaded functions"),
    (NopythonRewrites, "nopython rewrites"),
    (IRLegalization, "ensure IR is legal prior to lowering"),
    (AnnotateTypes, "annotate types"),
    (NativeLowering, "native lowering"),
    (NoPythonBackend, "nopython mode backend"),
)


class _Borrowing(Lower):
    """Writes a function that counts no references to its arguments: the caller holds them.

    Numba's pass that drops such counts stops where an exception passes through, and they took half the time of a
    call that hands arrays on.
    """

    silent = False

    def pre_lower(self) -> None:
        """Finds the arguments that keep their names."""
        super().pre_lower()
        assigned = [item for block in self.blocks.values() for item in block.body if isinstance(item, Assign)]
        times = Counter(item.target.name for item in assigned)
        given = {item.target.name for item in assigned if isinstance(item.value, Arg)}
        self.borrowed = {name for name in given if times[name] == 1}

    def lower_inst(self, inst: Any) -> None:
        """Writes an instruction; silently what takes hold of an argument, or lets it go."""
        name = inst.value if isinstance(inst, Del) else inst.target.name if _is_argument(inst) else None
        self.silent = name in self.borrowed
        super().lower_inst(inst)
        self.silent = False

    def incref(self, typ: Any, val: Any) -> None:
        """Counts a reference."""
        if not self.silent:
            super().incref(typ, val)

    def decref(self, typ: Any, val: Any) -> None:
        """Counts one less."""
        if not self.silent:
            super().decref(typ, val)


def _is_argument(inst: Any) -> bool:
    """Whether an instruction gives an argument its name."""
    return isinstance(inst, Assign) and isinstance(inst.value, Arg)


class _OutOfLine(Lower):
    """Writes a function that LLVM doesn't copy to where it is called."""

    def setup_function(self, fndesc: Any) -> None:
        """Says so where the function begins."""
        super().setup_function(fndesc)
        self.function.attributes.add("noinline")


@register_pass(mutates_CFG=True, analysis_only=False)
class _BorrowingLowering(NativeLowering):
    """The pass that writes generated functions."""

    _name = "borrowing_lowering"

    @property
    def lowering_class(self) -> type:
        """What writes them."""
        return _Borrowing


@register_pass(mutates_CFG=True, analysis_only=False)
class _OutOfLineLowering(NativeLowering):
    """The pass that writes such functions."""

    _name = "out_of_line_lowering"

    @property
    def lowering_class(self) -> type:
        """What writes them."""
        return _OutOfLine


class Generated(CompilerBase):
    """Compiles what `_emit` writes."""

    lowering: type = _BorrowingLowering

    def compile_extra(self, func: Any) -> Any:
        """The compiled function. Meanwhile nobody looks for cycles among a million objects that are all in use."""
        collects = gc.isenabled()
        gc.disable()
        try:
            return super().compile_extra(func)
        finally:
            if collects:
                gc.enable()

    def define_pipelines(self) -> list[Any]:
        """The passes that are needed."""
        manager = PassManager("generated")
        for kind, what in PASSES:
            manager.add_pass(self.lowering if kind is NativeLowering else kind, what)
        manager.finalize()
        return [manager]


class OutOfLine(Generated):
    """Compiles what generated functions call, and what would be too long in each of them."""

    lowering = _OutOfLineLowering
