"""What `solve` is given: the first state and the times, checked."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchflux import leaves

from ._lanes import greatest, has_lanes

__all__ = ["check_state", "times_of"]

Tree = Any


def check_state(y0: Tree, batched: bool) -> None:
    """Refuses states that are no floats, of several dtypes, or not finite."""
    parts = [(path, x) for path, x in leaves(y0) if isinstance(x, Tensor)]
    if not parts:
        raise TypeError(f"y0 is {y0!r}: pass a tensor, or a tree of tensors")
    dtypes = {x.dtype for _, x in parts}
    if len(dtypes) > 1:
        raise TypeError(f"y0 has tensors of {', '.join(map(str, sorted(dtypes, key=str)))}: convert them to one dtype")
    for path, x in parts:
        name = f"y0[{path!r}]" if path else "y0"
        if not x.shape[batched:].numel():
            raise ValueError(f"{name} has the shape {tuple(x.shape)}: a state has one number at least")
        if not (x.is_floating_point() or x.is_complex()):
            raise TypeError(f"{name} is {x.dtype}: a state changes continuously, so pass floats")
        if x.dtype == torch.bfloat16:
            raise TypeError(f"{name} is {x.dtype}, which is too coarse for a step's error: pass y0.float()")
        infinite = greatest((~x.isfinite()).int())
        if infinite.any():
            wrong = np.argwhere(infinite)
            more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise ValueError(f"{name} has NaN or inf in it, at {wrong[0].tolist()}{more}: {x}")
        if batched and x.dim() == 0:
            raise ValueError(f"{name} has no axis for the samples, with batched=True: its leading axis is the batch")
    if batched and len({len(x) for _, x in parts}) > 1:
        raise ValueError(f"the parts of y0 have {[len(x) for _, x in parts]} samples: the leading axis is the batch")


def times_of(ts: Any, y0: Tree) -> Tensor:
    """The times as a tensor, checked."""
    like = next(x for _, x in leaves(y0) if isinstance(x, Tensor))
    real = like.real.dtype if like.is_complex() else like.dtype
    if not hasattr(ts, "__len__"):
        raise TypeError(f"ts is {ts!r}: pass the first and the last time, (t0, t1), or all times that are wanted")
    if isinstance(ts, Tensor):
        times = ts.to(dtype=real, device=like.device)
    elif any(isinstance(t, Tensor) for t in ts):
        times = torch.stack([torch.as_tensor(t, dtype=real, device=like.device) for t in ts])
    else:
        times = torch.tensor(list(ts), dtype=real, device=like.device)
    if times.dim() > 1:
        raise ValueError(
            f"ts has the shape {tuple(times.shape)}: it is one axis of times that all samples share; for times of each "
            "sample's own, hand f the time scaled by a factor that is per_sample"
        )
    if times.dim() != 1 or len(times) < 2:
        raise ValueError(f"ts has the shape {tuple(times.shape)}: pass at least the first and the last time")
    if has_lanes(times):
        raise ValueError("ts differs between the lanes of a vmap: scale the time instead, or solve them one by one")
    numbers = greatest(times)
    if not np.isfinite(numbers).all():
        raise ValueError(f"ts has NaN or inf in it: {numbers}")
    before, after = numbers[:-1], numbers[1:]
    ordered = after > before if numbers[1] > numbers[0] else after < before
    if not ordered.all():
        i = int(ordered.argmin())
        here, following = (f"{x:.9g}" for x in numbers[i : i + 2])
        rounded = f" in the state's {times.dtype}" if here == following else ""
        raise ValueError(
            f"ts[{i}] = {here} is followed by {following}{rounded}: the times increase, or decrease, strictly"
        )
    return times
