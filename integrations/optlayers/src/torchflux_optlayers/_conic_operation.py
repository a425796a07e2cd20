"""Programs over cones as an operation with first derivatives, in reverse and forward mode, and over batches.

At a solution the equations of `_conic` are F(x, v) = 0, with a Jacobian J in (x, v). So a tangent is `-J⁻¹ Ḟ`, where

    Ḟ = (Ṗx + q̇ + Ȧ'y, Ȧx - ḃ),

and cotangents (x̄, ȳ) become `-Ḟ'g` for the g with `J'g = (x̄, Dȳ)`. How well a system is solved is measured every time.

Source: Agrawal, Barratt, Boyd, Busseti & Moursi (2019), arXiv 1904.09043; here with a quadratic cost, and without the
homogeneous embedding.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ._conic import Point, solve_conic, stationary
from ._layout import Conic, Layout
from ._newton_system import NewtonSystem
from ._solution import Status, complaint, places
from ._vmapped import apart, in_front

__all__ = ["Backward", "ConicOptions", "ConicResult", "conic_solution"]

Tensors = tuple[Tensor, ...]


class Backward:
    """What becomes known of a solution's derivatives when they are computed."""

    residual: Tensor | None = None
    """By how much the last backward solve missed each element's equations, in relation to the cotangents."""

    def note(self, residual: Tensor, solved: Tensor, shape: tuple[int, ...], tol: float, on_failure: str) -> None:
        """Keeps residuals, shape (B,), and speaks up where they aren't small though there is a solution.

        Raises:
            RuntimeError: one is larger than tol, and `on_failure` is "raise".
        """
        whole = residual.numel() == int(np.prod(shape))
        self.residual = residual.view(shape) if whole else residual
        bad = ~(residual <= tol) & solved
        if not bad.any():
            return
        where = places(bad.nonzero()[:, 0].tolist(), shape if whole else tuple(residual.shape))
        message = (
            f"the gradient has a residual of up to {residual[bad].nan_to_num(torch.inf).max():.1e} {where}, more than "
            f"gradient_tol={tol:.1e}: the solution isn't unique there, or has a kink"
        )
        if on_failure == "raise":
            raise RuntimeError(f"{message}; on_failure='nan' gives NaN for those elements, 'best' what was found")
        warnings.warn(message, RuntimeWarning, stacklevel=2)


class ConicOptions(NamedTuple):
    """How to solve, and what for."""

    layout: Layout
    tol: float
    gradient_tol: float
    max_iterations: int
    on_failure: str
    shape: tuple[int, ...]
    """Of the batch."""
    backward: Backward


class ConicResult(NamedTuple):
    """For B programs with n variables and m rows."""

    x: Tensor
    """Shape (B, n)."""
    y: Tensor
    """Shape (B, m), as is the next."""
    v: Tensor
    status: Tensor
    """Shape (B,), as are the next."""
    iterations: Tensor
    primal_residual: Tensor
    dual_residual: Tensor


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [t.detach().double().cpu().numpy() for t in tensors]


def _solved(numbers: Tensors, start: tuple[Tensor, Tensor] | None, options: ConicOptions) -> ConicResult:
    """Solves B programs one by one.

    Raises:
        RuntimeError: some weren't solved, and `on_failure` is "raise".
    """
    layout, like = options.layout, numbers[1]
    starts = [None] * len(like) if start is None else list(zip(*_arrays(*start), strict=True))
    found = [
        solve_conic(layout.program(*arrays), first, options.tol, options.max_iterations, layout.fixed_curvature)
        for *arrays, first in zip(*_arrays(*numbers), starts, strict=True)
    ]
    status = torch.tensor([int(status) for _, status, _ in found], dtype=torch.int64)
    if options.on_failure == "raise" and status.any():
        raise RuntimeError(complaint(status, options.shape))
    points = [point for point, _, _ in found]
    x, y, v = (_stacked([p[k] for p in points], size) for k, size in ((0, layout.n), (2, layout.m), (1, layout.m)))
    if options.on_failure == "nan":
        bad = (status != Status.SOLVED)[:, None]
        x, y = x.masked_fill(bad, torch.nan), y.masked_fill(bad, torch.nan)
    iterations, residuals = torch.tensor([k for _, _, k in found]), _stacked([p.residuals for p in points], 2)
    return ConicResult(*(t.to(like.device) for t in (x, y, v, status, iterations.long(), *residuals.unbind(1))))


def _stacked(rows: list[Any], width: int) -> Tensor:
    return torch.from_numpy(np.array(rows, dtype=np.float64).reshape(len(rows), width))


def _systems_solved(
    numbers: Tensors, at: Tensors, right: Tensors, transposed: bool, options: ConicOptions
) -> tuple[Tensor, Tensor]:
    """Solves the systems of B solutions for right-hand sides (B, n) and (B, m); of failures NaN, but 0 for 0.

    With `transposed`, these are cotangents of x and y and the result is g; otherwise they are -Ḟ, and it is (ẋ, ẏ).
    """
    layout, like = options.layout, right[0]
    *arrays, x, v, r, t, status = _arrays(*numbers, *at[:2], *right, at[2])
    u, w, errors = np.zeros_like(r), np.zeros_like(t), np.zeros(len(r))
    solved = (status == Status.SOLVED) | ((status == Status.MAX_ITERATIONS) & (options.on_failure == "best"))
    for i in np.flatnonzero(r.any(1) | t.any(1)):
        if not solved[i]:
            u[i], w[i], errors[i] = np.nan, np.nan, np.nan
            continue
        program = layout.program(*(a[i] for a in arrays))
        point = stationary(program, x[i], v[i])
        u[i], w[i], errors[i] = _system_solved(program, point, r[i], t[i], transposed)
    residual = torch.from_numpy(errors)
    options.backward.note(residual, torch.from_numpy(solved), options.shape, options.gradient_tol, options.on_failure)
    bad = ~(residual <= options.gradient_tol)[:, None] & (options.on_failure != "best")
    first, second = (torch.from_numpy(a).masked_fill(bad, torch.nan).to(like) for a in (u, w))
    return first, second


def _system_solved(
    program: Conic, point: Point, r: np.ndarray, t: np.ndarray, transposed: bool
) -> tuple[np.ndarray, np.ndarray, float]:
    """Those of one element, and by how much it misses."""
    n, slope = len(r), point.slope
    system = NewtonSystem(program.P, program.A, slope)
    z, error = system.solve(np.concatenate((r, slope @ t if transposed else t)), transposed)
    return z[:n], z[n:] if transposed else slope @ z[n:], error


class _Systems(torch.autograd.Function):
    """The linear systems of derivatives; its own derivatives would be second ones."""

    @staticmethod
    def forward(*args: Any) -> Tensors:
        """The solutions."""
        numbers, at, right = args[:4], args[4:7], args[7:9]
        return _systems_solved(numbers, at, right, *args[9:])

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        """Refuses."""
        raise NotImplementedError(SECOND)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """Refuses."""
        raise NotImplementedError(SECOND)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        """More systems."""
        found = _Systems.apply(*in_front(info, in_dims[:9], args[:9]), *args[9:])
        return apart(info, found), (0, 0)


SECOND = (
    "programs over second-order, semidefinite, exponential or power cones have first derivatives only; those whose "
    "cost is quadratic and whose constraints are linear have all"
)


class _Conic(torch.autograd.Function):
    """Solves programs; differentiable in the entries of P, q, those of A, and b."""

    @staticmethod
    def forward(*args: Any) -> Tensors:
        """The fields of a `ConicResult`."""
        *tensors, options = args
        start = None if not tensors[4].shape[1] else (tensors[4], tensors[5])
        return tuple(_solved(tuple(tensors[:4]), start, options))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keeps the program and its solution."""
        result = ConicResult(*output)
        ctx.options = inputs[-1]
        kept = *inputs[:4], result.x, result.y, result.v, result.status
        ctx.save_for_backward(*kept)
        ctx.save_for_forward(*kept)
        ctx.mark_non_differentiable(*output[2:])

    @staticmethod
    def backward(ctx: Any, x_bar: Any, y_bar: Any, *_: Any) -> Any:
        """Solves the transposed systems for the cotangents."""
        *numbers, x, y, v, status = ctx.saved_tensors
        g, h = _Systems.apply(*numbers, x, v, status, x_bar, y_bar, True, ctx.options)
        x, y = x.nan_to_num(), y.nan_to_num()  # where the cotangents are 0, what is no number has no influence
        (i, j), (k, l) = ctx.options.layout.P, ctx.options.layout.A
        return -g[:, i] * x[:, j], -g, -(h[:, k] * x[:, l] + y[:, k] * g[:, l]), h, None, None, None

    @staticmethod
    def jvp(ctx: Any, dP: Any, dq: Any, dA: Any, db: Any, *_: Any) -> Any:
        """Solves the systems for the tangents."""
        *numbers, x, y, v, status = ctx.saved_tensors
        places = (*ctx.options.layout.P, *ctx.options.layout.A)
        i, j, k, l = (torch.from_numpy(v).to(x.device) for v in places)
        dr = -dq - torch.zeros_like(x).index_add(1, i, dP * x[:, j]) - torch.zeros_like(x).index_add(1, l, dA * y[:, k])
        dt = db - torch.zeros_like(y).index_add(1, k, dA * x[:, l])
        return *_Systems.apply(*numbers, x, v, status, dr, dt, False, ctx.options), *[None] * 5

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        """More programs."""
        *tensors, options = args
        moved = in_front(info, in_dims[:-1], tuple(tensors))
        found = _Conic.apply(*moved, options._replace(shape=(info.batch_size, *options.shape)))
        return apart(info, found), (0,) * 7


def conic_solution(numbers: Tensors, start: ConicResult | None, options: ConicOptions) -> ConicResult:
    """Solves B programs, whose P, q, A and b are given by their entries in float64, shapes (B, *).

    Raises:
        RuntimeError: some weren't solved, and `on_failure` is "raise".
    """
    nothing = numbers[1][:, :0].detach()
    return ConicResult(*_Conic.apply(*numbers, *((nothing, nothing) if start is None else (start.x, start.v)), options))
