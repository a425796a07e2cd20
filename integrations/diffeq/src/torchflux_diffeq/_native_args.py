"""What `args` holds, as native programs are given it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
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


@dataclass(frozen=True, eq=False)
class Form:
    """How programs are given `args`: the numbers of its leaves in nested tuples, and their kinds.

    Those of one form are one object, so that programs are found quickly.
    """

    tree: Any
    leaves: tuple[Leaf, ...]

    @cached_property
    def own(self) -> bool:
        """Whether any leaf has a row for each sample."""
        return any(leaf.own for leaf in self.leaves)


def kinds(args: Any, out: list[Tensor], dtype: torch.dtype) -> Any:
    """What a program depends on of `args`: in nested tuples, whether a tensor is `own`, its dtype and its shape.

    The tensors are collected in `out`; numbers become tensors, floats of `dtype`.
    """
    if args is None:
        return None
    if isinstance(args, _NESTED):
        return tuple([kinds(part, out, dtype) for part in args])
    own = isinstance(args, PerSample)
    x = args.value if isinstance(args, PerSample) else args
    if not isinstance(x, Tensor):
        x = _tensor(x, dtype)
    if not x.is_cpu or x.layout != torch.strided:
        raise NotNative(f"args holds a tensor on {x.device}, not one in the processor's memory")
    out.append(x)
    return own, x.dtype, x.shape


_NESTED = (tuple, list)


def _tensor(x: Any, dtype: torch.dtype) -> Tensor:
    """A number or an array as a tensor of its own, whatever becomes of the array before the gradient."""
    if not isinstance(x, bool | int | float | np.generic | np.ndarray):
        raise NotNative(f"args holds {x!r}, not tensors, arrays and numbers in tuples")
    return torch.tensor(x, dtype=dtype if isinstance(x, float | np.floating) else None)


@lru_cache(1024)
def form_of(found: Any, dtype: torch.dtype) -> Form:
    """The form of arguments of such `kinds`, beside a state of `dtype`."""
    leaves: list[Leaf] = []
    return _form(_tree(found, dtype, leaves), tuple(leaves))


@cache
def _form(tree: Any, leaves: tuple[Leaf, ...]) -> Form:
    return Form(tree, leaves)


def _tree(found: Any, dtype: torch.dtype, leaves: list[Leaf]) -> Any:
    """The numbers of the leaves, in nested tuples; their kinds are collected."""
    if found is None:
        return None
    if not found or not isinstance(found[0], bool):
        return tuple([_tree(part, dtype, leaves) for part in found])
    own, its, shape = found
    if its not in (dtype, torch.int64, torch.bool):
        raise NotNative(f"args holds a tensor of {its}, the state is of {dtype}")
    ndim, shape = len(shape) - own, shape[own:]
    small = ndim == 0 or (ndim == 1 and 0 < shape[0] <= SMALL)
    size = shape.numel() if small else None
    leaves.append(Leaf(size, ndim, str(its).removeprefix("torch."), own, not small and 1 in shape))
    return len(leaves) - 1


def rebuilt(form: Any, leaves: Sequence[Leaf], values: list[Any]) -> Any:
    """Arguments of a form, of other values."""
    if isinstance(form, tuple):
        return tuple(rebuilt(part, leaves, values) for part in form)
    return None if form is None else PerSample(values[form]) if leaves[form].own else values[form]


def spelled(form: Any, leaves: list[str]) -> str:
    """Arguments of a form, from the texts of its leaves."""
    if isinstance(form, tuple):
        return f"({''.join(f'{spelled(part, leaves)}, ' for part in form)})"
    return "None" if form is None else leaves[form]
