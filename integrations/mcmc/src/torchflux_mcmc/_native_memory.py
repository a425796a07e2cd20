"""Arrays whose owner is known to outlive them, so that compiled code need not count references.

Numba counts a reference for every view, by an atomic instruction: that was more than half of a transition's time.
"""

from typing import Any

from llvmlite.ir import Constant  # type: ignore[import-untyped]
from numba.extending import intrinsic

__all__ = ["borrowed"]


@intrinsic
def borrowed(typingctx, array):  # type: ignore[no-untyped-def]
    """The same array without an owner, as are its views: only for as long as the caller holds it."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(array)(context, builder, args[0])
        view.meminfo = Constant(view.meminfo.type, None)
        view.parent = Constant(view.parent.type, None)
        return view._getvalue()

    return array(array), generate
