"""Devices and number types of whole trees."""

from typing import Any

from torch import Tensor, nn
from torch.accelerator import current_accelerator

from ._walk import Function, fmap

__all__ = ["bf16", "cpu", "f16", "f32", "f64", "gpu"]


class Move:
    """A function of any tree that can be written behind it: `gpu(x)` or `model | gpu`.

    A module is changed in place, as PyTorch does, so that optimisers keep their hold on its parameters; other
    trees are made anew.
    """

    def __init__(self, name: str, doc: str, move: Function, floating: bool = False) -> None:
        self.__name__, self.__doc__, self.move, self.floating = name, doc, move, floating

    def __call__(self, tree: Any) -> Any:
        """The tree, moved."""
        return fmap(lambda x: self.move(x.detach() if isinstance(x, nn.Parameter) else x), tree, leaf=self._moves)

    __ror__ = __call__

    def __repr__(self) -> str:
        return f"torchflux.{self.__name__}"

    def _moves(self, x: Any) -> bool:
        return isinstance(x, nn.Module) or (isinstance(x, Tensor) and (x.is_floating_point() or not self.floating))


# current_accelerator(True) is None where there is none at hand, and so `to` does nothing.
gpu = Move("gpu", "Any tree on the accelerator; without one, where it is.", lambda x: x.to(current_accelerator(True)))
cpu = Move("cpu", "Any tree on the CPU.", lambda x: x.cpu())
f16 = Move("f16", "Any tree with float16 for its floating-point numbers.", lambda x: x.half(), floating=True)
bf16 = Move("bf16", "Any tree with bfloat16 for its floating-point numbers.", lambda x: x.bfloat16(), floating=True)
f32 = Move("f32", "Any tree with float32 for its floating-point numbers.", lambda x: x.float(), floating=True)
f64 = Move("f64", "Any tree with float64 for its floating-point numbers.", lambda x: x.double(), floating=True)
