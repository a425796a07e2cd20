"""The derivatives of slopes by the state and the time, for methods that solve linear systems with them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.graph import saved_tensors_hooks
from torch.func import vjp

from torchflux import leaves

from ._lanes import aligned, differentiable, transformed
from ._solver import Slope

__all__ = ["factored", "linearized", "only_real"]

LOOPED = 12
"""The numbers in a state, up to which the rows of a Jacobian are computed one after the other."""
SMALL = 64
"""The numbers in a state, up to which its matrices are factored anew for each right side, if there is a tape."""


def only_real(y0: Any, solver: object) -> None:
    """Refuses complex states: a slope need not have a complex derivative."""
    if any(isinstance(x, Tensor) and x.is_complex() for _, x in leaves(y0)):
        raise TypeError(f"{solver} needs f's Jacobian, so its states are real: split y0 by torch.view_as_real")


def linearized(slope: Slope, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The slopes' derivatives by the state (rows, n, n), and by the time (rows, n), at `t` (rows,) and `y` (rows, n).

    They can be differentiated themselves, if gradients are enabled; then they come of forward mode, whose operations a
    checkpoint can compute again. Going back through them inside of it would do that at once, for every step.
    """
    slope = getattr(slope, "taped", slope)
    if transformed():
        k, pull, *_ = vjp(slope, t, y)
        return _stacked([pull(one) for one in _units(k)], t, y)
    if torch.is_grad_enabled():
        try:
            return _forward(slope, t, y)
        except NotImplementedError:  # an operation that has only a derivative backward
            pass
    return _backward(slope, t, y)


def factored(by_state: Tensor, dt: Tensor) -> Callable[[Tensor], Tensor]:
    """Solves `(1 / dt - J) x = b`, for Jacobians (rows, n, n), `dt` (rows,) and `b` (rows, n).

    What belongs to a matrix that is singular or not finite isn't finite either. With a tape, a small matrix is factored
    for each `b`: the derivative of a solution takes a product, that of a factorisation `tril` and `triu`, which PyTorch
    shares out among threads whatever the size.
    """
    unit = torch.eye(by_state.shape[-1], dtype=by_state.dtype, device=by_state.device)
    matrix = unit / dt[:, None, None] - by_state
    if len(unit) <= SMALL and (matrix.requires_grad or transformed()):
        return lambda b: torch.linalg.solve_ex(matrix, b[..., None])[0][..., 0]
    factors, pivots, _ = torch.linalg.lu_factor_ex(matrix)
    return lambda b: torch.linalg.lu_solve(factors, pivots, b[..., None])[..., 0]


def _units(k: Tensor) -> Tensor:
    """Each number's cotangent, shape (n, rows, n)."""
    return torch.eye(k.shape[-1], dtype=k.dtype, device=k.device)[:, None].expand(-1, *k.shape)


def _stacked(rows: Sequence[Sequence[Tensor | None]], t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The derivatives by state and time, from those of each number of the slope by time (rows,) and state (rows, n)."""
    no_t, no_y = torch.zeros_like(t), torch.zeros_like(y)
    by_time, by_state = zip(*rows, strict=True)
    filled = [no_y if x is None else x for x in by_state], [no_t if x is None else x for x in by_time]
    return aligned(torch.stack(filled[0], 1)), aligned(torch.stack(filled[1], 1))


def _forward(slope: Slope, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The derivatives along each number of the state, and along the time, one after the other."""

    def along(t: Tensor, y: Tensor) -> Tensor:
        tangent = forward_ad.unpack_dual(slope(t, y)).tangent
        return torch.zeros_like(y) if tangent is None else tangent

    with forward_ad.dual_level():
        columns = [along(t, forward_ad.make_dual(y, one)) for one in _units(y)]
        return torch.stack(columns, -1), along(forward_ad.make_dual(t, torch.ones_like(t)), y)


def _backward(slope: Slope, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The derivatives of each number of the slope; a checkpoint around it doesn't learn of the tape."""
    tape = torch.is_grad_enabled()
    keep = lambda x: x
    with differentiable(), saved_tensors_hooks(keep, keep):
        # the slope gets `t` and `y` under new names, as one may depend on the other
        t, y = (x.clone() if x.is_inference() else x for x in (t, y))
        inputs = [x.view_as(x) if tape and x.requires_grad else x.detach().requires_grad_() for x in (t, y)]
        k = slope(*inputs)
        if not k.requires_grad:
            _check_constant(slope, t, y, k)
            return torch.zeros_like(y)[..., None].expand(*y.shape, y.shape[-1]), torch.zeros_like(y)
        options: Any = {"retain_graph": True, "create_graph": tape, "allow_unused": True}
        if y.shape[-1] <= LOOPED:
            return _stacked([torch.autograd.grad(k, inputs, one, **options) for one in _units(k)], t, y)
        columns = torch.autograd.grad(k, inputs, _units(k), is_grads_batched=True, **options)
        nothing = [None] * y.shape[-1]
        return _stacked(list(zip(*(nothing if x is None else x for x in columns), strict=True)), t, y)


def _check_constant(slope: Slope, t: Tensor, y: Tensor, k: Tensor) -> None:
    """Refuses slopes that change with the state, and have no tape."""
    if not torch.equal(slope(t, y + 1e-2 * (1 + y.abs())), k):
        raise TypeError(
            "f depends on the state, but can't be differentiated by it: write it in torch operations, without detach, "
            "item, numpy or no_grad, or choose an explicit method"
        )
