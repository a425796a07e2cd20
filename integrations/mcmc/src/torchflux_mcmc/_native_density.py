"""A `@native` log density as the compiled sampler calls it: its value and gradient, and the data that it takes."""

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Density", "NotNative", "density", "is_native"]


class NotNative(TypeError):
    """Something that the native route can't do; the message says what."""


class Density:
    """The text of a log density with its gradient by the position alone.

    Attributes:
        name: of the function `name(q, *params, 1.0) -> (value, gradient)` in `text`.
        params: the names of what it takes beside the position, and `arrays` of those that are arrays.
        programs: what has been made of it, by the number of coordinates.
    """

    def __init__(self, special: Any, checkpoint: int | None) -> None:
        from torchflux_zygote._native._checkpoint import checkpointed
        from torchflux_zygote._native._emit import JIT, source
        from torchflux_zygote._native._ir import Array
        from torchflux_zygote._native._reverse import reverse

        back = special.operation.derived(reverse(checkpointed(special.program, checkpoint), [0]))
        text = source(back.program)
        self.text = text if text.startswith("@") else f"@{JIT}\n{text}"
        self.name = back.program.name
        kinds = back.params[1:-1]
        self.params = [f"data_{k}" for k in range(len(kinds))]
        self.arrays = [name for name, kind in zip(self.params, kinds, strict=True) if isinstance(kind, Array)]
        self.programs: dict[int, Any] = {}


_known: WeakKeyDictionary[Any, dict[Any, Density]] = WeakKeyDictionary()


def is_native(f: Any) -> bool:
    """Whether it is decorated by `@native`."""
    return hasattr(getattr(f, "__native__", None), "specialised")


def density(f: Any, n: int, dtype: Any, batch: tuple[Any, ...]) -> tuple[Density, list[Any]]:
    """The log density for positions of `n` numbers, and what it takes beside them; read anew if it has changed.

    Raises:
        NotNative: it can't be compiled for such data.
        ValueError, TypeError: it isn't the function of one number.
    """
    native = f.__native__
    special, flat = native.specialised((np.zeros(n, dtype), *(_plain(x) for x in batch)))
    _check(native.function.__name__, special, n)
    known = _known.setdefault(native, {})
    if special not in known:
        known[special] = Density(special, native.checkpoint)
    return known[special], [*flat[1:], *special.constants]


def _plain(x: Any) -> Any:
    """Data as native programs take it."""
    if isinstance(x, Tensor):
        if x.device.type != "cpu":
            raise NotNative(f"the data has a tensor on {x.device}, not in the processor's memory")
        x = x.detach().resolve_neg().numpy()
        return _whole(x) if x.ndim else x.item()
    if isinstance(x, np.ndarray):
        return _whole(x)
    if isinstance(x, tuple | list):
        return tuple(map(_plain, x))
    if isinstance(x, bool | int | float | np.generic):
        return x
    raise NotNative(f"the data has {x!r} in it: pass tensors, arrays, numbers, and tuples of them")


def _whole(x: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(x)


def _check(name: str, special: Any, n: int) -> None:
    if special.form == "array":
        axes = special.operation.results[0].ndim
        raise ValueError(
            f"the log density {name} returns an array with {axes} axes: return a scalar: sum over the data"
        )
    if special.form != "scalar":
        raise TypeError(f"the log density {name} returns {special.form!r}: return one number")
    if not special.operation.floats or special.operation.wrt[:1] != [0]:
        raise TypeError(f"the log density {name} of {n} numbers returns an integer: return a float")
    if special.program.effects:
        raise NotNative(f"{name} stores into its arguments: copy them first (`q = q.copy()`)")
