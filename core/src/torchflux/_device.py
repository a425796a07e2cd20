"""Devices and number types of whole trees."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ._walk import fmap

__all__ = ["bf16", "cpu", "f16", "f32", "f64", "gpu"]


class Move:
    """A function of any tree that can be written behind it: `gpu(x)` or `model | gpu`.

    A module is changed in place, as PyTorch does, so that optimisers keep their hold on its parameters; other
    trees are made anew.
    """

    def __init__(self, name: str, doc: str, move: Callable[[], dict[str, Any]], floating: bool = False) -> None:
        self.__name__, self.__doc__, self.move, self.floating = name, doc, move, floating

    def __call__(self, tree: Any) -> Any:
        """The tree, moved."""
        to = self.move()
        return fmap(lambda x: self._moved(x, to), tree, leaf=lambda x: isinstance(x, Tensor | nn.Module))

    def __ror__(self, tree: Any) -> Any:
        return self(tree)

    def __repr__(self) -> str:
        return f"torchflux.{self.__name__}"

    def _moved(self, x: Any, to: dict[str, Any]) -> Any:
        if isinstance(x, nn.Module):
            return x.to(**to)
        moves = not self.floating or x.is_floating_point()
        return (x.detach() if isinstance(x, nn.Parameter) else x).to(**to) if moves else x


def _accelerator() -> dict[str, Any]:
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return {} if found is None else {"device": found}


gpu = Move("gpu", "Moves any tree to the accelerator; without one, leaves it where it is.", _accelerator)
cpu = Move("cpu", "Moves any tree to the CPU.", lambda: {"device": "cpu"})
f16 = Move("f16", "Any tree with float16 for its floating-point numbers.", lambda: {"dtype": torch.float16}, True)
bf16 = Move("bf16", "Any tree with bfloat16 for its floating-point numbers.", lambda: {"dtype": torch.bfloat16}, True)
f32 = Move("f32", "Any tree with float32 for its floating-point numbers.", lambda: {"dtype": torch.float32}, True)
f64 = Move("f64", "Any tree with float64 for its floating-point numbers.", lambda: {"dtype": torch.float64}, True)
