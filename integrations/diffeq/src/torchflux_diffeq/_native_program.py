"""The compiled programs of a solver and a slope."""

from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

import numpy as np

from ._march import NOTHING, Status
from ._native_march import REFUSED, march_text
from ._native_slope import SlopeCode
from ._native_sweep import sweep_text
from ._native_text import constants
from ._tableau import Tableau

__all__ = ["NativeProgram"]

JIT = (
    '@numba.njit(nogil=True, cache=True, error_model="numpy", no_cfunc_wrapper=True, '
    'fastmath={"contract", "reassoc", "nsz", "arcp"})'
)
"""How the steps' own arithmetic is compiled: sums may be regrouped, and NaN and inf stay what they are."""


class NativeProgram:
    """A method, adaptive or with fixed steps, for a slope: its text, and its machine code."""

    def __init__(self, tableau: Tableau, code: SlopeCode, adaptive: bool, dtype: Any) -> None:
        self.tableau, self.code, self.adaptive, self.dtype = tableau, code, adaptive, dtype

    @property
    def header(self) -> str:
        """The constants of the method and of the number type."""
        real = np.finfo(self.dtype)
        names = "\n".join(f"{status.name} = {int(status)}" for status in Status)
        return (
            f"T = np.{np.dtype(self.dtype).name}\nSHORTEST, TINY = {4 * float(real.eps)!r}, {float(real.tiny)!r}\n"
            f"LARGEST = T({float(real.max)!r})\n"
            f"RUNNING, REFUSED, NOTHING = -1, {REFUSED}, {NOTHING!r}\n{names}\n{constants(self.tableau)}"
        )

    def source(self, what: str = "march") -> str:
        """The generated text: of the "march", or of the "sweep" back."""
        slope, back = self.code.functions
        if what == "march":
            return f"{slope}\n{self.header}\n\n{JIT}{march_text(self.tableau, self.code, self.adaptive)}"
        return f"{slope}\n{back}\n{self.header}\n\n{JIT}{sweep_text(self.tableau, self.code)}"

    @cached_property
    def march(self) -> Callable[..., Any]:
        """The machine code of the march."""
        return self._compiled("march")

    @cached_property
    def sweep(self) -> Callable[..., Any]:
        """The machine code of the sweep."""
        return self._compiled("sweep")

    def _compiled(self, name: str) -> Callable[..., Any]:
        from torchflux_zygote._native import _compile

        return _machine_code(_compile.compiled, self.source(name), name)


@cache
def _machine_code(compiled: Any, text: str, name: str) -> Callable[..., Any]:
    """The function of a text; slopes of one text share it."""
    found: Callable[..., Any] = compiled(text, name)
    return found
