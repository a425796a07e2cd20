"""What `torch.func`'s transforms take: numbers out of tensors, and tangents of one dtype; and what hides a tape."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch._C import _functorch as functorch

__all__ = ["aligned", "differentiable", "greatest", "has_lanes", "transformed"]


def transformed() -> bool:
    """Whether a transform of `torch.func` is under way, or forward mode."""
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


def aligned(x: Tensor) -> Tensor:
    """The same, with a tangent of its own dtype: PyTorch's, of `y[0] - 0.5` in float32, is float64."""
    if torch.autograd.forward_ad._current_level < 0:
        return x
    wide = torch.promote_types(x.dtype, torch.float64)
    return x if x.dtype == wide else x.to(wide).to(x.dtype)


def has_lanes(x: Tensor) -> bool:
    """Whether `vmap` has put several tensors into this one."""
    while functorch.is_functorch_wrapped_tensor(x):
        if functorch.is_batchedtensor(x):
            return True
        x = functorch.get_unwrapped(x)
    return False


def greatest(x: Tensor) -> NDArray[Any]:
    """A tensor's numbers; where `vmap` has put several into one, the greatest of them."""
    if not torch._C._are_functorch_transforms_active():
        return x.numpy(force=True)
    shape = x.shape
    while functorch.is_functorch_wrapped_tensor(x):
        lane = functorch.maybe_get_bdim(x)
        x = functorch.get_unwrapped(x)
        x = x if lane is None or lane < 0 else x.movedim(lane, 0)
    return np.asarray(x.detach().cpu().reshape(-1, *shape).amax(0).tolist())  # which has no numpy()


@contextmanager
def differentiable() -> Iterator[None]:
    """While it is active there is a tape, also where the user asked for none: in `no_grad` and in `inference_mode`.

    In the latter nothing has a tape, whatever `enable_grad` says, and a derivative would be zero without an error.
    """
    with torch.inference_mode(False), torch.enable_grad():
        yield
