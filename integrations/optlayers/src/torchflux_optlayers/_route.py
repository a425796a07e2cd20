"""From programs to solutions and from cotangents to adjoints, on plain tensors: what the operations do."""

from typing import NamedTuple

import torch
from torch import Tensor

from ._constants import INDEFINITE, SINGULAR
from ._diagnosis import diagnosed
from ._interior import interior_point
from ._native import available, native_reduced, native_solve
from ._reduced import reduced
from ._scaling import Program, equilibrated, scaled
from ._solution import Status

__all__ = ["Options", "Result", "is_native", "reduced_system", "solve"]


SMALL_ENOUGH = 300
"""Variables up to which the compiled route is chosen. On one core it is the faster one for more too."""


class Options(NamedTuple):
    """How to solve."""

    tol: float
    max_iterations: int
    on_failure: str
    route: str


class Result(NamedTuple):
    """What a solver returns, in float64; B programs, n variables, k rows."""

    x: Tensor
    """Minimisers, shape (B, n)."""
    force: Tensor
    """Multipliers, shape (B, k)."""
    status: Tensor
    """Shape (B,), as is the next."""
    iterations: Tensor
    residuals: Tensor
    """Primal and dual, shape (B, 2)."""
    active: Tensor
    """The rows that are equations in the reduced system, shape (B, k)."""
    low: Tensor
    """The factor of the equilibrated reduced system, shape (B, n, n)."""
    scales: Tensor
    """Those of the equilibration, shape (B, n + k + 1)."""


def solve(program: Program, warm: tuple[Tensor, Tensor] | None, options: Options) -> tuple[Result, bool]:
    """Solves B programs, of which none has an influence on another; says whether one wasn't solved."""
    if is_native(options.route, program.Q):
        result = Result(*native_solve(program, warm, options.tol, options.max_iterations))
    else:
        Q, p, C, d = (v.detach().double() for v in program.numbers)
        result = _solve(Program((Q + Q.mT) / 2, p, C, d, program.equal), warm, options)
    return (diagnosed(program, result), True) if result.status.any() else (result, False)


def is_native(route: str, Q: Tensor) -> bool:
    """Whether it is the compiled program's turn: on the CPU, for matrices in which LAPACK's blocks don't pay.

    Raises:
        RuntimeError: the route is "native", and that can't be.
    """
    on_cpu = Q.device.type == "cpu"
    if route == "native" and not (on_cpu and available()):
        wanted = "that takes tensors on the CPU" if available() else "pip install 'torchflux-optlayers[native]'"
        raise RuntimeError(f"route='native': {wanted}; or choose route='torch'")
    return route != "torch" and on_cpu and available() and (route == "native" or Q.shape[1] <= SMALL_ENOUGH)


def _solve(program: Program, warm: tuple[Tensor, Tensor] | None, options: Options) -> Result:
    Q, p, C, d, equal = program
    absent = (d == torch.inf) & ~equal
    if absent.any():  # no constraint: a row of zeros that is always satisfied
        C, d = C.masked_fill(absent[..., None], 0.0), d.masked_fill(absent, 1.0)
        program = Program(Q, p, C, d, equal)
    good = _finite(program)
    even, scales = equilibrated(_harmless(program, good))
    n = program.p.shape[1]
    columns, rows, cost = scales[:, :n], scales[:, n:-1], scales[:, -1:]
    start = None if warm is None else (warm[0].detach().double() / columns, warm[1].detach().double() * cost / rows)
    convex = _convex(even)
    guess, status, iterations = interior_point(even, start, good & convex, options.tol, options.max_iterations)
    status[~convex], status[~good] = int(Status.NOT_CONVEX), int(Status.NOT_FINITE)
    x, force = columns * guess.x, rows * guess.force / cost
    return Result(x, force, status, iterations, residuals(program, x, force), guess.active, guess.low, scales)


def _finite(program: Program) -> Tensor:
    """Which programs consist of finite numbers."""
    return torch.stack([torch.isfinite(v).flatten(1).all(1) for v in program.numbers]).all(0)


def _harmless(program: Program, good: Tensor) -> Program:
    """With ones in place of the programs that aren't good."""
    if good.all():
        return program
    Q, p, C, d = (torch.where(good.view(-1, *[1] * (v.dim() - 1)), v, 1.0) for v in program.numbers)
    return Program(Q, p, C, d, program.equal)


def _convex(program: Program) -> Tensor:
    """Whether Q has no negative eigenvalue, to rounding."""
    n = program.p.shape[1]
    eye = torch.eye(n, dtype=program.Q.dtype, device=program.Q.device)
    return torch.linalg.cholesky_ex(program.Q + INDEFINITE * eye)[1] == 0


def residuals(program: Program, x: Tensor, force: Tensor) -> Tensor:
    """The largest violations of primal and dual conditions, shape (B, 2)."""
    Q, p, C, d, equal = program
    ahead = (C @ x[..., None])[..., 0] - d
    primal = torch.where(equal, ahead.abs(), ahead.clamp(min=0))
    dual = (Q @ x[..., None])[..., 0] + p + (C.mT @ force[..., None])[..., 0]
    largest = [v.abs().amax(1) if v.shape[1] else v.new_zeros(len(v)) for v in (primal, dual)]
    return torch.stack(largest, 1)


def reduced_system(
    Q: Tensor, C: Tensor, active: Tensor, low: Tensor, scales: Tensor, status: Tensor, r: Tensor, t: Tensor, route: str
) -> tuple[Tensor, Tensor]:
    """Solves the reduced systems of solutions for other right-hand sides (B, n) and (B, k), in float64.

    Those of programs without a solution, and those that have none themselves, give NaN; for zeros they give zeros.
    """
    if is_native(route, Q):
        return native_reduced(Q, C, active, low, scales, status, r, t)
    Q, C, r, t = (v.detach().double() for v in (Q, C, r, t))
    n = Q.shape[1]
    even = scaled(Program(Q, r, C, t, active), scales)
    columns, rows, cost = scales[:, :n], scales[:, n:-1], scales[:, -1:]
    large = torch.cat((even.p, even.d * active), 1).abs().amax(1, keepdim=True)
    unit = torch.where(large > 0, 1 / large, 0.0)
    zeros = torch.zeros_like(even.p), torch.zeros_like(even.d)
    u, v, error = reduced(low, even.Q, even.C, active, unit * even.p, unit * even.d, *zeros)
    wrong = (error > SINGULAR) | error.isnan() | ((status != Status.SOLVED) & (status != Status.MAX_ITERATIONS))
    sign = torch.where(wrong[:, None] & (large > 0), torch.nan, large)
    nothing = large == 0
    return torch.where(nothing, 0.0, columns * u * sign), torch.where(nothing, 0.0, rows * v / cost * sign)
