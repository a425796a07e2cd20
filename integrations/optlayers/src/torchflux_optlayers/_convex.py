"""Convex programs in CVXPY's language as layers."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ._affine import Affine, dense_places
from ._canonical import Canonical, Recovery, canonical
from ._conic_operation import Backward, ConicOptions, ConicResult, conic_solution
from ._declared import Declared, declared, flattened, is_plain
from ._disciplined import require_disciplined
from ._layout import Layout
from ._qp import solve_qp
from ._solution import QPSolution, Status, failures
from ._watched import watched

__all__ = ["ConvexLayer", "ConvexSolution"]

DENSE_ENOUGH = 2000
"""Variables and rows up to which a quadratic program goes to `solve_qp`, whose matrices are dense, by itself."""


class ConvexSolution(NamedTuple):
    """What was found for each element of a batch `*`.

    `values` and `objective` carry derivatives; the rest are numbers about the solution.
    """

    values: tuple[Tensor, ...]
    """The variables of the layer, in its order, shapes (*, *variable.shape)."""
    objective: Tensor
    """The value of the problem's objective, shape (*)."""
    status: Tensor
    """A `Status` each, shape (*)."""
    iterations: Tensor
    """Of the solver: 0 where a warm start was all it took, shape (*)."""
    primal_residual: Tensor
    """The largest violation of a constraint of the standard form, shape (*)."""
    dual_residual: Tensor
    """The largest entry of the Lagrangian's gradient in the standard form, shape (*)."""
    backward: Backward
    """What `gradient_residual` looks at."""
    standard: QPSolution | ConicResult
    """The solution in the standard form, where a warm start begins."""

    @property
    def solved(self) -> Tensor:
        """Which elements were solved, shape (*)."""
        return self.status == Status.SOLVED

    @property
    def gradient_residual(self) -> Tensor | None:
        """By how much the last backward pass missed its linear system in relation to the cotangents, shape (*).

        `None` before the first.
        """
        return self.backward.residual


class ConvexLayer(nn.Module):
    """The solution of a convex program in CVXPY's language as a function of its parameters.

    A problem with a quadratic (or linear) cost and linear constraints is handed to `solve_qp`, and has derivatives of
    all orders, in every mode. Others are solved by Clarabel over second-order, semidefinite, exponential and power
    cones, refined to rounding, and have first derivatives, in reverse and forward mode and under `vmap`; at a kink,
    those of the side without a force, as `solve_qp`'s. The linear system of every backward pass is checked: where its
    residual is larger than `gradient_tol`, as the solution isn't unique, `on_failure` decides about the gradient.

    Arguments:
        problem: a `cvxpy.Problem` that is DPP; a parametrised `quad_form` may stand in the objective.
        parameters: all of its parameters, in the order in which the layer takes them. Of those that are declared to be
            symmetric, the symmetric part counts.
        variables: those to be returned: the problem's, or `dual_variables` of its constraints, with CVXPY's signs.
        on_failure: fill elements that aren't solved with "nan", and name them in a warning: unlike `solve_qp`'s, the
            default ends no batch for one of its elements; "raise" an error that names them; or return the "best".
        tol: the relative residual of a solution.
        gradient_tol: the relative residual of a gradient's linear system.
        max_iterations: of the solver.
        route: "native" or "torch" for `solve_qp`'s, "cone" for Clarabel even if the problem is a quadratic program,
            or "auto": the former up to 2000 variables and rows in the standard form.

    Raises:
        ImportError: CVXPY isn't installed.
        TypeError, ValueError: the problem can't be a layer; the message says which part of it, and why.

    >>> import cvxpy as cp
    >>> x, center = cp.Variable(2), cp.Parameter(2)
    >>> inside = cp.norm(x) <= 1
    >>> problem = cp.Problem(cp.Minimize(cp.sum_squares(x - center)), [inside])
    >>> layer = ConvexLayer(problem, [center], [x, *inside.dual_variables])
    >>> nearest, force = layer(torch.tensor([[3.0, 4.0], [0.3, 0.4]]))  # a batch of two
    >>> nearest, force
    (tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]]), tensor([8., 0.]))

    Source of the form: Agrawal, Amos, Barratt, Boyd, Diamond & Kolter (2019), arXiv 1910.12430.
    """

    def __init__(
        self,
        problem: Any,
        parameters: Sequence[Any],
        variables: Sequence[Any],
        *,
        on_failure: str = "nan",
        tol: float = 1e-8,
        gradient_tol: float = 1e-6,
        max_iterations: int = 200,
        route: str = "auto",
    ) -> None:
        super().__init__()
        require_disciplined(problem, parameters, variables)
        if on_failure not in ("raise", "nan", "best"):
            raise ValueError(f"on_failure={on_failure!r}: it is 'raise', 'nan' or 'best'")
        if route not in ("auto", "native", "torch", "cone"):
            raise ValueError(f"route={route!r}: it is 'auto', 'native', 'torch' or 'cone'")
        if min(tol, gradient_tol) <= 0 or max_iterations < 1:
            raise ValueError(f"{tol=}, {gradient_tol=} and {max_iterations=}: all are positive")
        self.on_failure, self.tol, self.gradient_tol = on_failure, tol, gradient_tol
        self.max_iterations, self.route = max_iterations, route
        self.declared: tuple[Declared, ...] = tuple(map(declared, parameters))
        self.form: Canonical = canonical(problem, parameters, variables)
        if route in ("native", "torch") and not self.form.cones.polyhedral:
            raise ValueError(f"route={route!r}: it is for quadratic programs; this problem has {self.form.cones}")
        fits = route != "auto" or self.form.n + self.form.m <= DENSE_ENOUGH
        self.is_quadratic = route != "cone" and self.form.cones.polyhedral and fits
        self.layout = Layout(self.form)
        self.numbers = Affine(self.form.numbers, dense_places(self.form) if self.is_quadratic else None)

    def forward(self, *parameters: Tensor, warm_start: ConvexSolution | None = None) -> tuple[Tensor, ...]:
        """The variables, shapes (*, *variable.shape), for parameters with shapes (*, *parameter.shape)."""
        solution = self.solve(*parameters, warm_start=warm_start)
        if is_plain(solution.status) and solution.status.any():
            flat = solution.status.flatten()
            warnings.warn(failures(flat, solution.status.shape), RuntimeWarning, stacklevel=4)
        return solution.values

    def solve(self, *parameters: Tensor, warm_start: ConvexSolution | None = None) -> ConvexSolution:
        """All of the solution; what wasn't solved is named in its `status`, without a warning.

        Arguments:
            parameters: shapes (*, *parameter.shape), each batched or shared.
            warm_start: the solution of a similar problem.

        Raises:
            TypeError, ValueError: the parameters don't fit, or aren't what they were declared to be.
            RuntimeError: elements weren't solved, and `on_failure` is "raise".
        """
        flat, batch, like = flattened(self.declared, parameters)
        numbers, backward = self.numbers(flat), Backward()
        start = None if warm_start is None else self._start(warm_start, len(flat))
        xy, found = (self._quadratic if self.is_quadratic else self._conic)(numbers, batch, backward, start)
        values = tuple(_recovered(r, xy, batch).to(like.dtype) for r in self.form.recoveries)
        objective = self._objective(numbers, xy[:, : self.form.n])
        known = objective.to(like.dtype), found.status, found.iterations, found.primal_residual, found.dual_residual
        objective, status, iterations, primal, dual = (v.reshape(batch) for v in known)
        return ConvexSolution(values, objective, status, iterations, primal, dual, backward, _detached(found))

    def _start(self, warm: ConvexSolution, size: int) -> Any:
        """A warm start's point, for each element of the batch."""
        kind = QPSolution if self.is_quadratic else ConicResult
        if not isinstance(warm.standard, kind) or warm.standard.x.shape[1] != self.form.n:
            raise ValueError("warm_start is the solution of another layer")
        return kind(*(v.expand(size, *v.shape[1:]) for v in warm.standard))

    def _quadratic(
        self, numbers: Tensor, batch: tuple[int, ...], backward: Backward, start: QPSolution | None
    ) -> tuple[Tensor, QPSolution]:
        """(x, y), and all of the solution."""
        n, m, z = self.form.n, self.form.m, self.form.cones.zero
        Q, p, C, d = numbers[:, :-1].split([n * n, n, m * n, m], 1)
        Q, C = Q.reshape(-1, n, n), C.reshape(-1, m, n)
        blocks = Q, p, C[:, z:], d[:, z:], C[:, :z], d[:, :z]
        options: dict[str, Any] = {"on_failure": self.on_failure, "tol": self.tol, "route": self.route}
        found = solve_qp(*blocks, warm_start=start, max_iterations=self.max_iterations, **options)
        watched(blocks, found, lambda r: backward.note(r, found.solved, batch, self.gradient_tol, self.on_failure))
        return torch.cat((found.x, found.y, found.z), 1), found

    @torch.compiler.disable  # no compiler is to look into Clarabel
    def _conic(
        self, numbers: Tensor, batch: tuple[int, ...], backward: Backward, start: ConicResult | None
    ) -> tuple[Tensor, ConicResult]:
        """(x, y), and all of the solution."""
        form = self.form
        P, q, A, b = numbers[:, :-1].split([len(form.P[0]), form.n, len(form.A[0]), form.m], 1)
        limits = self.tol, self.gradient_tol, self.max_iterations, self.on_failure
        found = conic_solution((P, q, A, b), start, ConicOptions(self.layout, *limits, batch, backward))
        return torch.cat((found.x, found.y), 1), found

    def _objective(self, numbers: Tensor, x: Tensor) -> Tensor:
        """Its value, shape (B,); one that is no number has no influence on the others' derivatives."""
        n = self.form.n
        i, j = (torch.from_numpy(v).to(x.device) for v in self.form.P)
        start = n * n if self.is_quadratic else len(i)
        P = numbers.index_select(1, i * n + j) if self.is_quadratic else numbers[:, :start]
        terms = P, numbers[:, start : start + n], numbers[:, -1:], x
        whole = torch.stack([torch.isfinite(v).all(1) for v in terms]).all(0)
        P, q, d, x = (torch.where(whole[:, None], v, 0.0) for v in terms)
        curve = (P * x.index_select(1, i) * x.index_select(1, j)).sum(1)
        return torch.where(whole, self.form.sign * (curve / 2 + (q * x).sum(1) + d[:, 0]), torch.nan)

    def extra_repr(self) -> str:
        """The sizes of the standard form, and the options."""
        options = f"on_failure={self.on_failure!r}, route={self.route!r}"
        names = ", ".join(p.name for p in self.declared)
        return f"parameters=[{names}], variables={self.form.n}, {self.form.cones}, {options}"


def _detached(found: QPSolution | ConicResult) -> Any:
    """Without its derivatives."""
    return type(found)(*(v.detach() for v in found))


def _recovered(recovery: Recovery, xy: Tensor, batch: tuple[int, ...]) -> Tensor:
    """A variable from the standard form's solution."""
    where, scale = (torch.from_numpy(np.ravel(v)).to(xy.device) for v in recovery)
    return (xy.index_select(1, where) * scale).reshape((*batch, *recovery.scale.shape))
