"""The native route: Python over numbers and arrays, and its derivatives, at the speed of LLVM.

A function is read for the types of its arguments (`_read`, `_loops`, `_calls`, ...) into a program (`_ir`), from which
`_forward` and `_reverse` make its derivatives as programs again; `_emit` writes a program as Python, `_compile` has
Numba compile that and keeps it, `_operation` and `_torch` call it, `_native` is what users see.
"""

from ._native import Native, native

__all__ = ["Native", "native"]
