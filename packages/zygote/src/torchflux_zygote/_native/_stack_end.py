"""Where a thread's stack ends, so that functions that call themselves stop before they get there.

The stack has 8 MB in most threads, but less in some, and a call takes as much of it as its function needs. So what is
compared is the address itself: every call of such a function is given `limit`, and looks where its own frame lies.
"""

import ctypes
import sys
import threading
from collections.abc import Callable
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["bounded", "frame", "stack_end"]

RESERVE = 1 << 20
"""Bytes for what a call may need of its own: LAPACK takes half of them."""


@intrinsic
def frame(context):  # type: ignore[no-untyped-def]
    """The address of the frame that this is called in."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.ptrtoint(cgutils.alloca_once(builder, cgutils.bool_t), context.get_value_type(types.int64))

    return types.int64(), generate


def bounded(code: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled code that is given, behind its arguments, where the calling thread's stack ends."""
    return lambda *args: code(*args, stack_end())


def stack_end() -> int:
    """The address below which no frame of this thread may begin."""
    end: int | None = getattr(_THREAD, "end", None)
    if end is None:
        lowest, size = _stack()
        end = _THREAD.end = lowest + min(RESERVE, size // 4)
    return end


_THREAD = threading.local()
"""What is known of each thread already: looking it up takes 0.1 ms."""


def _stack() -> tuple[int, int]:
    """The lowest address of this thread's stack, and its size."""
    if sys.platform == "win32":
        return _stack_of_windows()
    system = ctypes.CDLL(None)
    return _stack_of_macos(system) if sys.platform == "darwin" else _stack_of_linux(system)


def _stack_of_linux(system: ctypes.CDLL) -> tuple[int, int]:
    """By `pthread_getattr_np`, which glibc, musl and Android have."""
    system.pthread_self.restype = ctypes.c_void_p
    attributes = ctypes.create_string_buffer(256)  # a pthread_attr_t has 56 or 64 bytes
    lowest, size = ctypes.c_void_p(), ctypes.c_size_t()
    error = system.pthread_getattr_np(ctypes.c_void_p(system.pthread_self()), attributes)
    if error:
        raise OSError(error, "the size of this thread's stack is not known")
    system.pthread_attr_getstack(attributes, ctypes.byref(lowest), ctypes.byref(size))
    system.pthread_attr_destroy(attributes)
    return lowest.value or 0, size.value


def _stack_of_macos(system: ctypes.CDLL) -> tuple[int, int]:
    """By Apple's own functions, of which the first gives the highest address."""
    for f, kind in (
        (system.pthread_self, ctypes.c_void_p),
        (system.pthread_get_stackaddr_np, ctypes.c_void_p),
        (system.pthread_get_stacksize_np, ctypes.c_size_t),
    ):
        f.restype = kind
    thread = ctypes.c_void_p(system.pthread_self())
    size = int(system.pthread_get_stacksize_np(thread))
    return int(system.pthread_get_stackaddr_np(thread)) - size, size


def _stack_of_windows() -> tuple[int, int]:
    """By `GetCurrentThreadStackLimits`."""
    low, high = ctypes.c_size_t(), ctypes.c_size_t()
    kernel: Any = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    kernel.GetCurrentThreadStackLimits(ctypes.byref(low), ctypes.byref(high))
    return low.value, high.value - low.value
