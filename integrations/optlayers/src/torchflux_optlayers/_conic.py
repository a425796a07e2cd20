"""One program over cones, solved by Clarabel and then made exact.

    minimise ½ x·Px + q·x  subject to  Ax + s = b, s in K

With a vector v for the multipliers `y = Π(v)`, Π the projection on the dual of K, and the slacks `s = y - v`, the
conditions of Karush, Kuhn and Tucker are equations without inequalities:

    Px + q + A'y = 0,    Ax + s = b

Newton's method, which converges at once from where Clarabel ends, solves them to rounding, and the system of its last
step is the one that has the derivatives.

Source: Busseti, Moursi & Boyd (2019), "Solution refinement at regular points of conic problems",
doi:10.1007/s10589-019-00122-9.
"""

from typing import Any, NamedTuple

import numpy as np

from ._cones import Cones
from ._layout import Conic, Matrix
from ._newton_system import NewtonSystem, block_diagonal
from ._solution import Status

__all__ = ["Point", "solve_conic", "stationary"]

NEWTON = 10
"""Steps of Newton's method at most."""
ROUNDING = 1e-14
"""The relative residual that can't be made smaller."""
WEAK = 1e-9
"""Up to where a force counts as none, in relation to the largest number in v."""
TIGHT = 1e-9
"""The tolerance that Clarabel is given, unless a smaller one is asked for."""
INDEFINITE = 1e-9
"""How negative an eigenvalue of P may be by rounding, in relation to the largest."""


class Point(NamedTuple):
    """A place where a program is looked at, and how it is ended there."""

    x: np.ndarray
    v: np.ndarray
    y: np.ndarray
    residuals: tuple[float, float]
    """The largest violation of a constraint, and the largest entry of Px + q + A'y."""
    error: float
    """The same, in relation to the numbers in them."""
    slope: Matrix | None
    """The derivative of y in v."""
    misses: np.ndarray
    """The entries of both equations."""


def solve_conic(
    program: Conic, start: tuple[np.ndarray, np.ndarray] | None, tol: float, max_iterations: int, certain: bool
) -> tuple[Point, Status, int]:
    """The solution, how it ended, and Clarabel's iterations: none, where Newton's method finds it from the start.

    Arguments:
        start: x and v of another solution.
        certain: whether P is known to be positive semidefinite.
    """
    nowhere = _nowhere(program)
    if not all(np.isfinite(v).all() for v in program.numbers):
        return nowhere, Status.NOT_FINITE, 0
    if not certain and _indefinite(program):
        return nowhere, Status.NOT_CONVEX, 0
    if start is not None and np.isfinite(np.concatenate(start)).all():
        point = _refined(program, *start)
        if point.error <= min(tol, TIGHT):
            return point, Status.SOLVED, 0
    found = _clarabel(program, min(tol, TIGHT), max_iterations)
    status = ENDS.get(str(found.status), Status.MAX_ITERATIONS)
    if status in (Status.INFEASIBLE, Status.UNBOUNDED):
        return nowhere, status, found.iterations
    x, y, s = (np.array(v) for v in (found.x, found.z, found.s))
    point = _refined(program, x, y - s)
    if point.error <= tol:
        return point, Status.SOLVED, found.iterations
    return _as_found(program, x, y, s), status, found.iterations


ENDS = {  # what is almost proved isn't
    "Solved": Status.SOLVED,
    "PrimalInfeasible": Status.INFEASIBLE,
    "DualInfeasible": Status.UNBOUNDED,
}


def stationary(program: Conic, x: np.ndarray, v: np.ndarray) -> Point:
    """What the equations miss at a point."""
    size = 1 + abs(v).max(initial=0.0)
    (y, s), slopes = program.cones.split(v, WEAK * size)
    return _missing(program, x, v, y, s, block_diagonal(slopes, dense=isinstance(program.A, np.ndarray)))


def _missing(program: Conic, x: np.ndarray, v: np.ndarray, y: np.ndarray, s: np.ndarray, slope: Matrix | None) -> Point:
    P, q, A, b = program[:4]
    curve, pull, ahead = P @ x, A.T @ y, A @ x
    dual, primal = curve + q + pull, ahead + s - b
    residuals = _largest(primal), _largest(dual)
    error = max(residuals[0] / (1 + _largest(ahead, s, b)), residuals[1] / (1 + _largest(curve, q, pull)))
    return Point(x, v, y, residuals, error, slope, np.concatenate((dual, primal)))


def _largest(*vectors: np.ndarray) -> float:
    return float(max(abs(v).max(initial=0.0) for v in vectors))


def _refined(program: Conic, x: np.ndarray, v: np.ndarray) -> Point:
    """Newton's method, as long as it at least halves the error."""
    point, n = stationary(program, x, v), len(x)
    for _ in range(NEWTON):
        if point.error <= ROUNDING:
            break
        step, _ = NewtonSystem(program.P, program.A, point.slope).solve(-point.misses)
        ahead = stationary(program, point.x + step[:n], point.v + step[n:])
        if not ahead.error < point.error:
            break
        point = ahead
    return point


def _as_found(program: Conic, x: np.ndarray, y: np.ndarray, s: np.ndarray) -> Point:
    """What Clarabel found, where Newton's method didn't find more."""
    return _missing(program, x, y - s, y, s, None)


def _nowhere(program: Conic) -> Point:
    """For programs without a solution."""
    x, v = np.full(len(program.q), np.nan), np.full(len(program.b), np.nan)
    return Point(x, v, v, (np.nan, np.nan), np.nan, None, np.concatenate((x, v)))


def _indefinite(program: Conic) -> bool:
    """Whether P has a negative eigenvalue; rows of zeros are left out."""
    upper = program.columns[0]
    kept = np.unique(upper.tocoo().coords)
    values = np.linalg.eigvalsh(upper[kept][:, kept].toarray(), "U") if len(kept) else np.zeros(1)
    return bool(values[0] < -INDEFINITE * max(1.0, values[-1]))


def _clarabel(program: Conic, tol: float, max_iterations: int) -> Any:
    """Clarabel's solution. Source: Goulart & Chen (2024), arXiv 2405.12762."""
    import clarabel  # type: ignore[import-untyped]

    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = tol
    settings.max_iter = max_iterations
    settings.max_threads = 1
    settings.chordal_decomposition_enable = False
    (upper, A), cones = program.columns, _clarabel_cones(clarabel, program.cones)
    return clarabel.DefaultSolver(upper, program.q, A, program.b, cones, settings).solve()


def _clarabel_cones(clarabel: Any, cones: Cones) -> list[Any]:
    linear = [(clarabel.ZeroConeT, cones.zero), (clarabel.NonnegativeConeT, cones.nonnegative)]
    return [
        *(kind(size) for kind, size in linear if size),
        *map(clarabel.SecondOrderConeT, cones.second_order),
        *map(clarabel.PSDTriangleConeT, cones.semidefinite),
        *(clarabel.ExponentialConeT() for _ in range(cones.exponential)),
        *map(clarabel.PowerConeT, cones.power),
    ]
