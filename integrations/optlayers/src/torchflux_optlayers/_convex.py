"""Convex programs in CVXPY's language as layers."""

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ._affine import Affine, dense_places
from ._canonical import Canonical, Recovery, canonical
from ._conic_operation import Backward, ConicOptions, conic_solution
from ._declared import Declared, declared
from ._disciplined import require_disciplined
from ._layout import Layout
from ._qp import solve_qp
from ._solution import QPSolution, Status, failures
from ._watched import watched

__all__ = ["ConvexLayer", "ConvexSolution"]


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
    point: tuple[Tensor, ...]
    """Where a warm start begins."""

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
    cones, refined to rounding, and have first derivatives, in reverse and forward mode and under `vmap`. Every linear
    system of a derivative is checked: where its residual is larger than `gradient_tol`, as the solution isn't unique,
    `on_failure` decides too.

    Arguments:
        problem: a `cvxpy.Problem` that is DPP; a parametrised `quad_form` may stand in the objective.
        parameters: all of its parameters, in the order in which the layer takes them.
        variables: those to be returned: the problem's, or `dual_variables` of its constraints, with CVXPY's signs.
        on_failure: elements that aren't solved are named in a warning and filled with NaN ("nan", unlike `solve_qp`,
            as a batch of layers' inputs shouldn't end with one of them); named in an error ("raise"); or hold the
            "best" that was found.
        tol: the relative residual of a solution.
        gradient_tol: the relative residual of a gradient's linear system.
        max_iterations: of the solver.
        route: "native" or "torch" for `solve_qp`'s, "cone" for Clarabel even if the problem is a quadratic program,
            or "auto".

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
        self.parameters_declared: tuple[Declared, ...] = tuple(map(declared, parameters))
        self.form: Canonical = canonical(problem, parameters, variables)
        if route in ("native", "torch") and not self.form.cones.polyhedral:
            raise ValueError(f"route={route!r}: it is for quadratic programs; this problem has {self.form.cones}")
        self.is_quadratic = route != "cone" and self.form.cones.polyhedral
        self.layout = Layout(self.form)
        self.numbers = Affine(self.form.numbers, dense_places(self.form) if self.is_quadratic else None)

    def forward(self, *parameters: Tensor, warm_start: ConvexSolution | None = None) -> tuple[Tensor, ...]:
        """The variables, shapes (*, *variable.shape), for parameters with shapes (*, *parameter.shape)."""
        solution = self.solve(*parameters, warm_start=warm_start)
        if not torch.compiler.is_compiling() and _is_plain(solution.status) and solution.status.any():
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
        flat, batch, like = self._flattened(parameters)
        numbers, backward = self.numbers(flat), Backward()
        solve = self._quadratic if self.is_quadratic else self._conic
        xy, cost, fields, point = solve(numbers, batch, backward, warm_start)
        values = tuple(_recovered(r, xy, batch).to(like.dtype) for r in self.form.recoveries)
        objective = (self.form.sign * (cost + numbers[:, -1])).to(like.dtype)
        objective, status, iterations, primal, dual = (v.reshape(batch) for v in (objective, *fields))
        return ConvexSolution(values, objective, status, iterations, primal, dual, backward, point)

    def _flattened(self, parameters: tuple[Tensor, ...]) -> tuple[Tensor, tuple[int, ...], Tensor]:
        """The parameters as one matrix (B, *), the shape of the batch, and a tensor like those wanted."""
        names = self.parameters_declared
        if len(parameters) != len(names):
            raise ValueError(
                f"{len(parameters)} tensors for {len(names)} parameters: {', '.join(p.name for p in names)}"
            )
        leads = [p.lead(value) for p, value in zip(names, parameters, strict=True)]
        like = parameters[0] if parameters else torch.empty(0)
        for p, value in zip(names, parameters, strict=True):
            if value.dtype != like.dtype or value.device != like.device:
                raise TypeError(
                    f"{p.name} is {value.dtype} on {value.device}, {names[0].name} {like.dtype} on {like.device}: "
                    "they have to agree"
                )
            if not torch.compiler.is_compiling() and _is_plain(value):
                p.require(value)
        try:
            batch = tuple(torch.broadcast_shapes(*leads)) if leads else ()
        except RuntimeError:
            shapes = ", ".join(f"{p.name} {tuple(v.shape)}" for p, v in zip(names, parameters, strict=True))
            raise ValueError(f"the leading axes can't be broadcast: {shapes}") from None
        size = math.prod(batch)
        rows = [
            v.to(torch.float64).expand((*batch, *p.shape)).reshape(size, math.prod(p.shape))
            for p, v in zip(names, parameters, strict=True)
        ]
        return torch.cat(rows, 1) if rows else like.new_empty(size, 0, dtype=torch.float64), batch, like

    def _quadratic(
        self, numbers: Tensor, batch: tuple[int, ...], backward: Backward, warm: ConvexSolution | None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """(x, y), the cost, what is known of them, and where to begin a warm start."""
        n, m, z = self.form.n, self.form.m, self.form.cones.zero
        Q, p, C, d = numbers[:, :-1].split([n * n, n, m * n, m], 1)
        Q, C = Q.reshape(-1, n, n), C.reshape(-1, m, n)
        blocks = Q, p.view_as(p), C[:, z:], d[:, z:], C[:, :z], d[:, :z]  # p is in the cost too: `watched` sees one use
        found = solve_qp(
            *blocks,
            warm_start=None if warm is None else QPSolution(*self._start(warm, len(p))),
            on_failure=self.on_failure,
            tol=self.tol,
            max_iterations=self.max_iterations,
            route=self.route,
        )
        watched(blocks, found, lambda residual: backward.note(residual, batch, self.gradient_tol, self.on_failure))
        cost = (((Q @ found.x[..., None])[..., 0] / 2 + p) * found.x).sum(1)
        fields = found.status, found.iterations, found.primal_residual, found.dual_residual
        return torch.cat((found.x, found.y, found.z), 1), cost, fields, tuple(found)

    @torch.compiler.disable  # no compiler is to look into Clarabel
    def _conic(
        self, numbers: Tensor, batch: tuple[int, ...], backward: Backward, warm: ConvexSolution | None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """(x, y), the cost, what is known of them, and where to begin a warm start."""
        form = self.form
        (i, j), (k, _) = form.P, form.A
        P, q, A, b = numbers[:, :-1].split([len(i), form.n, len(k), form.m], 1)
        options = ConicOptions(
            self.layout, self.tol, self.gradient_tol, self.max_iterations, self.on_failure, batch, backward
        )
        start = None if warm is None else self._start(warm, len(q))
        found = conic_solution((P, q, A, b), start, options)  # type: ignore[arg-type]
        cost = (P * found.x[:, i] * found.x[:, j]).sum(1) / 2 + (q * found.x).sum(1)
        fields = found.status, found.iterations, found.residuals[:, 0], found.residuals[:, 1]
        return torch.cat((found.x, found.y), 1), cost, fields, (found.x.detach(), found.v)

    def _start(self, warm: ConvexSolution, size: int) -> tuple[Tensor, ...]:
        """A warm start's point, for each element of the batch."""
        sizes = [self.form.n] if self.is_quadratic else [self.form.n, self.form.m]
        if (
            len(warm.point) != (8 if self.is_quadratic else 2)
            or [v.shape[1] for v in warm.point[: len(sizes)]] != sizes
        ):
            raise ValueError("warm_start is the solution of another layer")
        return tuple(v.detach().expand(size, *v.shape[1:]) for v in warm.point)

    def extra_repr(self) -> str:
        """The sizes of the standard form, and the options."""
        options = f"on_failure={self.on_failure!r}, route={self.route!r}"
        names = ", ".join(p.name for p in self.parameters_declared)
        return f"parameters=[{names}], variables={self.form.n}, {self.form.cones}, {options}"


def _is_plain(x: Tensor) -> bool:
    """Whether a tensor has numbers that can be read here and now."""
    return type(x) in (Tensor, nn.Parameter) and not torch._C._functorch.is_functorch_wrapped_tensor(x)


def _recovered(recovery: Recovery, xy: Tensor, batch: tuple[int, ...]) -> Tensor:
    """A variable from the standard form's solution."""
    where, scale = (torch.from_numpy(np.ravel(v)).to(xy.device) for v in recovery)
    return (xy.index_select(1, where) * scale).reshape((*batch, *recovery.scale.shape))
