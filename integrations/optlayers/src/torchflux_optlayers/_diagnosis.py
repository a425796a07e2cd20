"""Why a program wasn't solved: a linear program knows."""

from typing import TYPE_CHECKING

import numpy as np

from ._scaling import Program, scaled
from ._solution import Status

if TYPE_CHECKING:
    from ._route import Result

__all__ = ["diagnosed"]


def diagnosed(program: Program, result: "Result") -> "Result":
    """The result, with the reason where the iterations ended without one: is there a feasible point, and a ray?"""
    which = (result.status == Status.MAX_ITERATIONS).nonzero()[:, 0]
    *numbers, equal = program.of(which)
    Q, p, C, d = (v.detach().double() for v in numbers)
    even = [v.cpu().numpy() for v in scaled(Program(Q, p, C, d, equal), result.scales[which])]
    for i, *one in zip(which.tolist(), *even, strict=True):
        result.status[i] = int(_reason(*one))
    return result


def _reason(Q: np.ndarray, p: np.ndarray, C: np.ndarray, d: np.ndarray, equal: np.ndarray) -> Status:
    from scipy.optimize import linprog  # seldom needed, and slow to import

    bounded = ~equal & np.isfinite(d)
    feasible = linprog(0 * p, C[bounded], d[bounded], C[equal], d[equal], (None, None))
    if feasible.status == 2:
        return Status.INFEASIBLE
    level = np.concatenate((C[equal], Q + Q.T))
    ray = linprog(p, C[bounded], 0 * d[bounded], level, np.zeros(len(level)), (-1, 1))
    if feasible.status == 0 and ray.status == 0 and ray.fun < -1e-7 * max(1, abs(p).max()):
        return Status.UNBOUNDED
    return Status.MAX_ITERATIONS
