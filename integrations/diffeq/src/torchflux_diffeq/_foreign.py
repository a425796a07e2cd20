"""Other libraries' solvers, which weren't made for gradients: they choose their own steps."""

from abc import abstractmethod
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from ._adjoint import Adjoint, Discrete, Task
from ._controller import PID, Fixed
from ._lanes import transformed
from ._march import March
from ._solver import Solver, Step

__all__ = ["Foreign", "chosen", "ended", "tolerances"]


class Foreign(Solver, Adjoint):
    """Another library's solver, which makes its steps, and has its gradient, by itself."""

    order = 5
    estimates = True

    @abstractmethod
    def solve(self, task: Task) -> March:
        """The solution, differentiable where that was asked for."""

    def step(self, slope: Any, t: Tensor, dt: Tensor, y: Tensor, k: Tensor, error: bool = False) -> Step:
        """Refused: nobody else makes its steps."""
        self.refuse()

    def refuse(self) -> NoReturn:
        """Says that it can only be the solver of a `solve` as a whole."""
        raise TypeError(f"{self} makes its steps by itself: it can be solve's solver=, with a gradient of its own")


def chosen(solver: Solver, adjoint: Adjoint | None) -> Adjoint:
    """The adjoint that a solver goes with."""
    if not isinstance(solver, Foreign):
        return adjoint or Discrete()
    if adjoint is not None:
        raise TypeError(f"adjoint={adjoint}: {solver} has a gradient of its own, so leave adjoint out")
    if transformed():
        raise NotImplementedError(f"{solver} in torch.func's transforms: use one of this package's solvers")
    return solver


def tolerances(solver: Foreign, controller: PID | Fixed, dtype: torch.dtype) -> tuple[float, float, float]:
    """`rtol`, `atol` and the longest step."""
    if not isinstance(controller, PID) or controller != PID(controller.rtol, controller.atol, dtmax=controller.dtmax):
        raise ValueError(f"controller={controller}: {solver} takes PID(rtol, atol, dtmax=), and does the rest itself")
    return *controller.tolerances(dtype), controller.dtmax


def ended(task: Task) -> March:
    """What came of a solution of which nothing is known yet."""
    m = len(task.y0)
    counts: Any = (np.zeros(m, np.int64) for _ in range(6))
    return March(task.y0.detach().clone(), np.full(m, float(task.times.detach()[0])), *counts)
