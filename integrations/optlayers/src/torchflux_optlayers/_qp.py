"""Quadratic programs, batched and differentiable."""

from typing import Any

import torch
from torch import Tensor, nn

from ._arguments import Arguments, arguments
from ._operation import solution
from ._solution import QPSolution

__all__ = ["QPLayer", "solve_qp"]


def solve_qp(
    Q: Tensor,
    p: Tensor,
    G: Tensor | None = None,
    h: Tensor | None = None,
    A: Tensor | None = None,
    b: Tensor | None = None,
    *,
    warm_start: QPSolution | None = None,
    on_failure: str = "raise",
    tol: float = 1e-8,
    max_iterations: int = 60,
    route: str = "auto",
) -> QPSolution:
    """Minimises `½ x·Qx + p·x` subject to `Gx ≤ h` and `Ax = b`, for each element of a batch.

    The solution carries derivatives of all orders with respect to every argument, in reverse and forward mode, under
    `vmap` and `torch.compile`. They are those of the reduced system, in which active inequalities are equations. An
    inequality that holds with equality but without a force counts as inactive (there the solution has a kink, and this
    is the derivative on one side of it); among active rows that depend on each other the derivative in their bounds is
    shared. Where the minimiser isn't unique the gradient is NaN.

    Arguments:
        Q: symmetric and positive semidefinite, shape (*, n, n); of another matrix the symmetric part counts.
        p: shape (*, n).
        G, h: shapes (*, m, n) and (*, m), or `None`; where h is infinite there is no constraint.
        A, b: shapes (*, e, n) and (*, e), or `None`.
        warm_start: the solution of a similar problem.
        on_failure: "raise" an error that names the elements without a solution; fill those with "nan"; or return the
            "best" that was found, whose gradients are NaN unless only the tolerance was missed.
        tol: for the relative residuals and the gap, where the solution can't be made exact.
        max_iterations: of the interior point method.
        route: "native" (one compiled program on the CPU), "torch" (batched operations on any device), or "auto".

    Returns:
        A `QPSolution` in the arguments' dtype. Inside, everything is done in float64.

    Raises:
        TypeError, ValueError: the arguments don't fit each other.
        RuntimeError: elements weren't solved, and `on_failure` is "raise".

    >>> Q, p = torch.eye(2), torch.tensor([-2.0, -4.0])
    >>> solution = solve_qp(Q, p, torch.ones(1, 2), torch.tensor([4.0]))  # the nearest point to (2, 4) with a sum of 4
    >>> solution.x, solution.z
    (tensor([1., 3.]), tensor([1.]))

    Source of the gradient: Amos & Kolter (2017), arXiv 1703.00443.
    """
    options: dict[str, Any] = {"on_failure": on_failure, "tol": tol, "max_iterations": max_iterations, "route": route}
    return minimised(arguments(Q, p, G, h, A, b), warm_start, **options)


def minimised(
    found: Arguments,
    warm_start: QPSolution | None,
    on_failure: str = "raise",
    tol: float = 1e-8,
    max_iterations: int = 60,
    route: str = "auto",
) -> QPSolution:
    """`solve_qp` of arguments that are checked."""
    checked_options(on_failure, tol, max_iterations, route)
    warm = (None, None) if warm_start is None else _warm(found, warm_start)
    return _solution(found, solution(*found[:5], *warm, tol, max_iterations, on_failure, route, list(found.batch)))


def checked_options(
    on_failure: str = "raise", tol: float = 1e-8, max_iterations: int = 60, route: str = "auto"
) -> None:
    """Raises ValueError for one that there isn't."""
    if on_failure not in ("raise", "nan", "best"):
        raise ValueError(f"on_failure={on_failure!r}: it is 'raise', 'nan' or 'best'")
    if route not in ("auto", "native", "torch"):
        raise ValueError(f"route={route!r}: it is 'auto', 'native' or 'torch'")
    if not (isinstance(tol, float | int) and tol > 0):
        raise ValueError(f"tol={tol!r}: it is a positive number")
    if not (isinstance(max_iterations, int) and max_iterations > 0):
        raise ValueError(f"max_iterations={max_iterations!r}: it is a positive integer")


def _warm(found: Arguments, start: QPSolution) -> tuple[Tensor, Tensor]:
    """The point and the forces of another solution, for each element of the batch; zeros for NaN."""
    if not isinstance(start, QPSolution):
        raise TypeError(f"warm_start is {type(start).__name__}: pass a QPSolution")
    force = torch.cat((start.z, start.y), -1).detach()
    k, n = found.C.shape[1:]
    if start.x.shape[-1] != n or force.shape[-1] != k or start.z.shape[-1] != found.m:
        given = start.x.shape[-1], start.z.shape[-1], start.y.shape[-1]
        raise ValueError(
            f"warm_start has {given} variables and multipliers: here there are {n}, {found.m} and {k - found.m}"
        )
    try:
        x, force = (v.expand(*found.batch, -1).reshape(len(found.p), v.shape[-1]) for v in (start.x.detach(), force))
    except RuntimeError:
        raise ValueError(f"warm_start is of a batch {tuple(start.x.shape[:-1])}: here it is {found.batch}") from None
    return x.nan_to_num().to(found.p), force.nan_to_num().to(found.p)


def _solution(found: Arguments, fields: tuple[Tensor, ...]) -> QPSolution:
    """What the operation returns, in the batch's shape."""
    x, force, status, iterations, residuals, active, *_ = fields
    C, d, m = found.C, found.d, found.m
    if m < C.shape[1]:
        C, d, active = C[:, :m], d[:, :m], active[:, :m]
    slack = _slack(C, d, x) if x.dtype == torch.float64 else _slack(C.double(), d.double(), x.double()).to(x.dtype)
    slack = slack.masked_fill(active, 0.0)
    fields = x, force[:, :m], force[:, m:], slack, status, iterations, *residuals.unbind(1)
    return QPSolution(*(v if len(found.batch) == 1 else v.reshape((*found.batch, *v.shape[1:])) for v in fields))


def _slack(C: Tensor, d: Tensor, x: Tensor) -> Tensor:
    """d - Cx in double precision, which autocast leaves alone."""
    return torch.baddbmm(d[..., None], C, x[..., None], alpha=-1)[..., 0]


class QPLayer(nn.Module):
    """`solve_qp` as a module that returns the minimiser; it has no parameters.

    Arguments:
        options: of `solve_qp`.

    >>> layer = QPLayer(on_failure="nan")
    >>> layer(torch.eye(2), torch.tensor([-2.0, -4.0]), torch.ones(1, 2), torch.tensor([4.0]))
    tensor([1., 3.])
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        checked_options(**options)
        self.options = options

    def forward(
        self,
        Q: Tensor,
        p: Tensor,
        G: Tensor | None = None,
        h: Tensor | None = None,
        A: Tensor | None = None,
        b: Tensor | None = None,
        *,
        warm_start: QPSolution | None = None,
    ) -> Tensor:
        """The minimiser, shape (*, n)."""
        return self.solve(Q, p, G, h, A, b, warm_start=warm_start).x

    def solve(self, *blocks: Tensor | None, warm_start: QPSolution | None = None) -> QPSolution:
        """All of the solution."""
        return solve_qp(*blocks, warm_start=warm_start, **self.options)  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        """The options."""
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())
