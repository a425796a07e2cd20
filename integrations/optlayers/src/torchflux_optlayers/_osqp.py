"""OSQP's form of a quadratic program."""

from typing import Any

import torch
from torch import Tensor

from ._arguments import arguments, batch_of
from ._qp import minimised
from ._solution import QPSolution

__all__ = ["solve_osqp"]


def solve_osqp(
    P: Tensor, q: Tensor, A: Tensor, l: Tensor, u: Tensor, *, warm_start: QPSolution | None = None, **options: Any
) -> QPSolution:
    """Minimises `½ x·Px + q·x` subject to `l ≤ Ax ≤ u`, for each element of a batch.

    A row with `l = u` is an equation, and its derivative is shared between them.

    Arguments:
        P, q: shapes (*, n, n) and (*, n).
        A, l, u: shapes (*, m, n), (*, m) and (*, m); the bounds may be infinite.
        warm_start, options: of `solve_qp`.

    Returns:
        A `QPSolution` whose `y` (*, m) is positive at upper and negative at lower bounds, as OSQP's; `z` (*, 2m) are
        the multipliers of `Ax ≤ u` (of any sign, where `l = u`) and `-Ax ≤ -l`, `slack` what is left to them.

    Raises:
        TypeError, ValueError, RuntimeError: as `solve_qp`.

    >>> solution = solve_osqp(torch.eye(2), torch.tensor([-3.0, 2.0]), torch.eye(2), -torch.ones(2), torch.ones(2))
    >>> solution.x, solution.y
    (tensor([ 1., -1.]), tensor([ 2., -1.]))

    Source of the form: Stellato et al. (2020), doi:10.1007/s12532-020-00179-2.
    """
    batch_of({"P": P, "q": q, "A": A, "l": l, "u": u}, {"P": "nn", "q": "n", "A": "mn", "l": "m", "u": "m"})
    m = u.shape[-1]
    level = l == u
    upper, lower = torch.where(level, (l + u) / 2, u), torch.where(level, torch.inf, -l)
    bounds, both = torch.cat((upper, lower), -1), torch.cat((level, torch.zeros_like(level)), -1)
    found = arguments(P, q, torch.cat((A, -A), -2), bounds, None, None)
    equal = both.expand(*found.batch, 2 * m).reshape(len(found.p), 2 * m)
    if warm_start is not None:
        warm_start = warm_start._replace(y=warm_start.y[..., :0])
    solution = minimised(found._replace(equal=equal), warm_start, **options)
    return solution._replace(y=solution.z[..., :m] - solution.z[..., m:])
