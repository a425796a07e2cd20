"""Whether a transform of `torch.func` looks on, and decisions for all the tensors that `vmap` put into one."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch._C import _functorch as functorch

__all__ = ["any_of", "bounds", "numbers", "plain", "transformed"]


def transformed() -> bool:
    """Whether a transform of `torch.func` is under way, or forward mode."""
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


def plain(x: Tensor) -> Tensor:
    """The numbers of a tensor without the levels of transforms; `vmap`'s axes may stand anywhere."""
    while functorch.is_functorch_wrapped_tensor(x):
        x = functorch.get_unwrapped(x)
    return x.detach()


def numbers(x: Tensor, name: str) -> NDArray[np.float64]:
    """A tensor as NumPy's float64.

    Raises:
        NotImplementedError: `vmap` has put several tensors into it; `name` says who wants numbers.
    """
    shape = x.shape
    while functorch.is_functorch_wrapped_tensor(x):
        x = functorch.get_unwrapped(x)
    if x.shape != shape:
        raise NotImplementedError(f"{name} under torch.func.vmap: it takes numbers; pass a batch instead")
    with torch._C._DisableFuncTorch():
        return x.detach().cpu().numpy().astype(np.float64)


def any_of(mask: Tensor) -> bool:
    """Whether any entry is true, in any of `vmap`'s lanes."""
    if not torch._C._are_functorch_transforms_active():
        return bool(mask.any())
    return bool(plain(plain(mask).any()).item())


def bounds(x: Tensor) -> tuple[float, float]:
    """The least and the greatest entry, in any of `vmap`'s lanes; NaN if one is."""
    if not torch._C._are_functorch_transforms_active():
        low, high = x.aminmax()
        return low.item(), high.item()
    low, high = plain(x).aminmax()
    return plain(low).item(), plain(high).item()
