"""What `args` holds, as native programs are given it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._field import PerSample

__all__ = ["NotNative"]

SMALL = 16
"""Up to so many numbers in one row are kept in variables."""


class NotNative(TypeError):
    """Something that the native route can't do; the message says what."""


@dataclass(frozen=True)
class Leaf:
    """The kind of an argument: numbers kept in variables (`size` of them, with `ndim` axes), or an array.

    `own` ones have a row for each sample. `thin` arrays have an axis of length one, which may be broadcast; `turned`
    ones are given with their axes swapped.
    """

    size: int | None
    ndim: int
    dtype: str
    own: bool = False
    thin: bool = False
    turned: bool = False

    @property
    def floats(self) -> bool:
        """Whether it can have a gradient."""
        return self.dtype.startswith("float")

    def names(self, name: str) -> list[str]:
        """The variables that hold it."""
        return [f"{name}_{i}" for i in range(1 if self.size is None else self.size)]

    def spelled(self, name: str) -> str:
        """It again, of its variables."""
        names = self.names(name)
        return f"np.array([{', '.join(names)}])" if self.size is not None and self.ndim else names[0]

    def examples(self, number: Any) -> list[Any]:
        """Values of this kind."""
        if self.size is not None:
            like = {"int64": 1, "bool": True}.get(self.dtype, number)
            return [like] * self.size
        return [np.ones((1 if self.thin else 2, *(2,) * (self.ndim - 1)), self.dtype)]


def flattened(args: Any, dtype: torch.dtype, out: list[Tensor], leaves: list[Leaf]) -> Any:
    """The form of `args`; its leaves, and their values, are collected."""
    if args is None:
        return None
    if isinstance(args, tuple | list):
        return tuple([flattened(part, dtype, out, leaves) for part in args])
    own = isinstance(args, PerSample)
    x = args.value if isinstance(args, PerSample) else args
    if isinstance(x, bool | int | float | np.generic | np.ndarray):
        x = torch.as_tensor(x, dtype=dtype if isinstance(x, float | np.floating) else None)
    if not isinstance(x, Tensor):
        raise NotNative(f"args holds {x!r}, not tensors, arrays and numbers in tuples")
    if x.device.type != "cpu" or x.layout != torch.strided:
        raise NotNative(f"args holds a tensor on {x.device}, not one in the processor's memory")
    if x.dtype not in (dtype, torch.int64, torch.bool):
        raise NotNative(f"args holds a tensor of {x.dtype}, the state is of {dtype}")
    ndim, shape = x.dim() - own, x.shape[own:]
    small = ndim == 0 or (ndim == 1 and 0 < shape[0] <= SMALL)
    leaf = Leaf(
        shape.numel() if small else None, ndim, str(x.dtype).removeprefix("torch."), own, not small and 1 in shape
    )
    leaves.append(leaf)
    out.append(x)
    return len(leaves) - 1


def rebuilt(form: Any, leaves: list[Leaf], values: list[Any]) -> Any:
    """Arguments of a form, of other values."""
    if isinstance(form, tuple):
        return tuple(rebuilt(part, leaves, values) for part in form)
    return None if form is None else PerSample(values[form]) if leaves[form].own else values[form]


def spelled(form: Any, leaves: list[str]) -> str:
    """Arguments of a form, from the texts of its leaves."""
    if isinstance(form, tuple):
        return f"({''.join(f'{spelled(part, leaves)}, ' for part in form)})"
    return "None" if form is None else leaves[form]
