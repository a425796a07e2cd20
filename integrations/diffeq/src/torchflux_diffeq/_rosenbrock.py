"""Methods for stiff problems that solve linear systems, all of a step with one matrix: no iteration that could fail."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._jacobian import factored, linearized, only_real
from ._solver import Slope, Solver, Step

__all__ = ["Rodas5P", "Rosenbrock23"]

Matrix = NDArray[np.float64]


class Rosenbrock23(Solver):
    """The second-order method of Shampine & Reichelt (1997), doi:10.1137/S1064827594276424: MATLAB's `ode23s`.

    For stiff problems and low accuracy. L-stable; its estimate of the error is of third order, its dense output of
    second. It needs `f`'s Jacobian, which it takes by automatic differentiation.

    >>> import torch
    >>> from torchflux_diffeq import Rosenbrock23, solve
    >>> stiff = lambda t, y, args: -1e6 * (y - torch.cos(t))
    >>> solution = solve(stiff, torch.tensor([2.0]), (0.0, 1.0), solver=Rosenbrock23())
    >>> solution.ys[-1], solution.stats.steps < 100
    (tensor([0.5403]), True)
    """

    order = 2
    error_order = 3
    estimates = True
    d: ClassVar[float] = 1 / (2 + 2**0.5)

    def check(self, y0: Any) -> None:
        """Refuses complex states."""
        only_real(y0, self)

    def step(self, slope: Slope, t: Tensor, dt: Tensor, y: Tensor, k: Tensor, error: bool = False) -> Step:
        """One step; the paper's `W` is `d h` times the matrix here."""
        by_state, by_time = linearized(slope, t, y)
        h = dt[:, None]
        solve, moved = factored(by_state, self.d * dt), self.d * h * by_time
        k1 = solve((k + moved) / (self.d * h))
        middle = slope(t + dt / 2, y + h / 2 * k1)
        k2 = solve((middle - k1) / (self.d * h)) + k1
        end = y + h * k2
        last = slope(t + dt, end)
        if not error:
            return Step(end, last, None, (k1, k2))
        k3 = solve((last - (6 + 2**0.5) * (k2 - middle) - 2 * (k1 - k) + moved) / (self.d * h))
        return Step(end, last, h / 6 * (k1 - 2 * k2 + k3), (k1, k2))

    def dense(self, slope: Slope, t: Tensor, dt: Tensor, y: Tensor, k: Tensor, step: Step) -> Sequence[Tensor]:
        """The two stages."""
        return step.slopes

    def inside(self, θ: Tensor, dt: Tensor, y: Tensor, slopes: Tensor) -> Tensor:
        """The paper's quadratic."""
        k1, k2 = slopes
        θ, h = θ[:, None], dt[:, None]
        return y + h * θ / (1 - 2 * self.d) * ((1 - θ) * k1 + (θ - 2 * self.d) * k2)


@dataclass(frozen=True, eq=False)
class Rodas:
    """A stiffly accurate method and the embedded one, in the variables of Hairer & Wanner (1996), eq. IV.7.25.

    `(1 / (γ h) - J) uᵢ = f(t + cᵢ h, y + Σ aᵢⱼ uⱼ) + Σ Cᵢⱼ uⱼ / h + dᵢ h ∂f/∂t`. The step's end is the last stage's
    state and its `u`, which is the error's estimate at once; `dense` (3, stages) makes the polynomial inside.
    """

    γ: float
    a: Matrix
    C: Matrix
    c: Matrix
    d: Matrix
    dense: Matrix


def _lower(*rows: list[float]) -> Matrix:
    """The strictly lower triangular matrix with these rows."""
    matrix = np.zeros((len(rows) + 1, len(rows) + 1))
    for i, row in enumerate(rows, start=1):
        matrix[i, :i] = row
    return matrix


def _steinebach() -> Rodas:
    """The coefficients of the paper, in the variables of `Rodas`."""
    sixth = [-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256, 0.030198172008377946]
    a = _lower(
        [3.0],
        [2.849394379747939, 0.45842242204463923],
        [-6.954028509809101, 2.489845061869568, -10.358996098473584],
        [2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641],
        sixth,
        [*sixth, 1.0],
        [*sixth, 1.0, 1.0],
    )
    C = _lower(
        [-14.155112264123755],
        [-17.97296035885952, -2.859693295451294],
        [147.12150275711716, -1.41221402718213, 71.68940251302358],
        [165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306],
        [24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471],
        [30.91273214028599, -3.1208243349937974, 77.79954646070892, 34.28646028294783, -19.097331116725623,
         -28.087943162872662],
        [37.80277123390563, -3.2571969029072276, 112.26918849496327, 66.9347231244047, -40.06618937091002,
         -54.66780262877968, -9.48861652309627],
    )  # fmt: skip
    c = np.array([0.0, 0.6358126895828704, 0.4095798393397535, 0.9769306725060716, 0.4288403609558664, 1.0, 1.0, 1.0])
    d = [0.21193756319429014, -0.42387512638858027, -0.3384627126235924, 1.8046452872882734, 2.325825639765069]
    dense = [
        [25.948786856663858, -2.5579724845846235, 10.433815404888879, -2.3679251022685204,
         0.524948541321073, 1.1241088310450404, 0.4272876194431874, -0.17202221070155493],
        [-9.91568850695171, -0.9689944594115154, 3.0438037242978453, -24.495224566215796,
         20.176138334709044, 15.98066361424651, -6.789040303419874, -6.710236069923372],
        [11.419903575922262, 2.8879645146136994, 72.92137995996029, 80.12511834622643,
         -52.072871366152654, -59.78993625266729, -0.15582684282751913, 4.883087185713722],
    ]  # fmt: skip
    return Rodas(0.21193756319429014, a, C, c, np.array([*d, 0.0, 0.0, 0.0]), np.array(dense))


class Rodas5P(Solver):
    """The fifth-order method of Steinebach (2023), doi:10.1007/s10543-023-00967-x.

    For stiff problems, of all accuracies. L-stable and stiffly accurate, and its order suffers less from stiffness than
    that of its predecessors; its error's estimate comes of a method of fourth order, which its dense output has too. It
    needs `f`'s Jacobian, which it takes by automatic differentiation.

    >>> import torch
    >>> from torchflux_diffeq import PID, Rodas5P, solve
    >>> stiff = lambda t, y, args: -1e6 * (y - torch.cos(t))
    >>> y0 = torch.tensor([2.0], dtype=torch.float64)
    >>> solve(stiff, y0, (0.0, 1.0), solver=Rodas5P(), controller=PID(1e-8, 1e-10)).ys[-1]
    tensor([0.5403], dtype=torch.float64)
    """

    order = 5
    estimates = True
    tableau: ClassVar[Rodas] = _steinebach()

    def check(self, y0: Any) -> None:
        """Refuses complex states."""
        only_real(y0, self)

    def step(self, slope: Slope, t: Tensor, dt: Tensor, y: Tensor, k: Tensor, error: bool = False) -> Step:
        """One step: a Jacobian, a factorisation, and a linear system for each stage.

        What is known is added to all the sums that need it as soon as it is there: the stages' states and right sides.
        """
        c, columns, ones, d = _constants(self.tableau, y.dtype, y.device)
        by_state, by_time = linearized(slope, t, y)
        h, times = dt[:, None], torch.addr(t.expand(len(c), -1), c, dt).unbind()
        solve = factored(by_state, self.tableau.γ * dt)
        sums = torch.outer(ones, y.reshape(-1)).addr(d, (h * h * by_time).reshape(-1))
        u = solve(k + self.tableau.d[0] * h * by_time)
        every = [u]
        for when, column in zip(times, columns, strict=True):
            sums = torch.addr(sums, column, u.reshape(-1))
            state, right, sums = sums[0].view_as(y), sums[1].view_as(y), sums[2:]
            u = solve(slope(when, state) + right / h)
            every.append(u)
        end = state + u
        return Step(end, slope(t + dt, end), u if error else None, every)

    def dense(self, slope: Slope, t: Tensor, dt: Tensor, y: Tensor, k: Tensor, step: Step) -> Sequence[Tensor]:
        """The whole step, and the polynomial's coefficients."""
        weights = torch.as_tensor(self.tableau.dense, dtype=y.dtype, device=y.device)
        return step.y - y, *torch.tensordot(weights, torch.stack(tuple(step.slopes)), 1)

    def inside(self, θ: Tensor, dt: Tensor, y: Tensor, slopes: Tensor) -> Tensor:
        """The polynomial of fourth degree."""
        whole, *coefficients = slopes
        θ = θ[:, None]
        first, second, third = coefficients
        return y + θ * (whole + (1 - θ) * (first + θ * (second + θ * third)))


@cache
def _constants(tableau: Rodas, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
    """Of the stages but the first: where they stand; what each `u` counts in those that follow, in their states and
    right sides in turn; and what the state and its derivative by the time count in these at first.
    """
    stages = len(tableau.c)
    rows = np.stack([tableau.a, tableau.C], 1)
    columns = [rows[i + 1 :, :, i].reshape(-1) for i in range(stages - 1)]
    ones, d = np.tile([1.0, 0.0], stages - 1), np.stack([0.0 * tableau.d, tableau.d], 1)[1:].reshape(-1)
    as_tensor = lambda x: torch.as_tensor(x, dtype=dtype, device=device)
    return as_tensor(tableau.c[1:]), [as_tensor(column) for column in columns], as_tensor(ones), as_tensor(d)
