"""Whether a transform of `torch.func` looks on, and decisions for all the tensors that `vmap` put into one."""

import torch
from torch import Tensor
from torch._C import _functorch as functorch

__all__ = ["any_of", "plain", "transformed"]


def transformed() -> bool:
    """Whether a transform of `torch.func` is under way, or forward mode."""
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


def plain(x: Tensor) -> Tensor:
    """The numbers of a tensor without the levels of transforms; `vmap`'s axes may stand anywhere."""
    while functorch.is_functorch_wrapped_tensor(x):
        x = functorch.get_unwrapped(x)
    return x.detach()


def any_of(mask: Tensor) -> bool:
    """Whether any entry is true, in any of `vmap`'s lanes."""
    if not torch._C._are_functorch_transforms_active():
        return bool(mask.any())
    return bool(plain(plain(mask).any()).item())
