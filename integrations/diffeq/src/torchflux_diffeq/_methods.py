"""The explicit Runge-Kutta methods."""

import numpy as np
from numpy.polynomial import Polynomial
from scipy.integrate import RK23, RK45

from ._runge_kutta import ExplicitRungeKutta
from ._tableau import Tableau, hermite

__all__ = ["RK4", "Bosh3", "Dopri5", "Euler", "Heun", "Midpoint", "Tsit5"]


def _tableau(order: int, *rows: list[float], error: list[float] | None = None) -> Tableau:
    """The tableau with these rows, the weights as the last one; its dense output is the cubic Hermite one."""
    stages = len(rows) + 1
    a = np.zeros((stages, stages))
    for i, row in enumerate(rows, start=1):
        a[i, : len(row)] = row
    return Tableau(order, a, a.sum(1), None if error is None else np.array(error), hermite(a))


def _of_scipy(method: type[RK23] | type[RK45]) -> Tableau:
    """The tableau of one of SciPy's pairs, which come with error weights and dense output."""
    inner = len(method.C)
    a = np.zeros((inner + 1, inner + 1))
    a[:inner, : method.A.shape[1]], a[inner, :inner] = method.A, method.B
    return Tableau(method.order, a, np.append(method.C, 1.0), np.asarray(method.E), np.asarray(method.P))


class Euler(ExplicitRungeKutta):
    """The first-order method of Euler (1768), without an error estimate: give it `Fixed(dt)`."""

    tableau = _tableau(1, [1.0])


class Midpoint(ExplicitRungeKutta):
    """The midpoint rule of Runge (1895), second order, with Euler's method for the error."""

    tableau = _tableau(2, [0.5], [0.0, 1.0], error=[-1.0, 1.0, 0.0])


class Heun(ExplicitRungeKutta):
    """The trapezoidal method of Heun (1900), second order, with Euler's method for the error."""

    tableau = _tableau(2, [1.0], [0.5, 0.5], error=[-0.5, 0.5, 0.0])


class RK4(ExplicitRungeKutta):
    """The classical fourth-order method of Kutta (1901), without an error estimate: give it `Fixed(dt)`."""

    tableau = _tableau(4, [0.5], [0.0, 0.5], [0.0, 0.0, 1.0], [1 / 6, 1 / 3, 1 / 3, 1 / 6])


class Bosh3(ExplicitRungeKutta):
    """The third-order pair of Bogacki & Shampine (1989), doi:10.1016/0893-9659(89)90079-7."""

    tableau = _of_scipy(RK23)


class Dopri5(ExplicitRungeKutta):
    """The fifth-order pair of Dormand & Prince (1980), doi:10.1016/0771-050X(80)90013-3.

    Dense output of fourth order: Shampine (1986), doi:10.1090/S0025-5718-1986-0815836-3.
    """

    tableau = _of_scipy(RK45)


def _tsitouras() -> Tableau:
    """The coefficients of the paper, whose interpolant is given as products."""
    rows = [
        [0.161],
        [-0.008480655492356989, 0.335480655492357],
        [2.8971530571054935, -6.359448489975075, 4.3622954328695815],
        [5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525],
        [5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383],
        [0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774],
    ]
    error = [
        -0.00178001105222577714, -0.0008164344596567469, 0.007880878010261995, -0.1447110071732629,
        0.5823571654525552, -0.45808210592918697, 0.015151515151515152,
    ]  # fmt: skip
    θ = Polynomial([0.0, 1.0])
    weights = [
        -1.0530884977290216 * θ * (θ - 1.3299890189751412) * (θ**2 - 1.4364028541716351 * θ + 0.7139816917074209),
        0.1017 * θ**2 * (θ**2 - 2.1966568338249754 * θ + 1.2949852507374631),
        2.490627285651252793 * θ**2 * (θ**2 - 2.38535645472061657 * θ + 1.57803468208092486),
        -16.54810288924490272 * θ**2 * (θ - 1.21712927295533244) * (θ - 0.61620406037800089),
        47.37952196281928122 * θ**2 * (θ - 1.203071208372362603) * (θ - 0.658047292653547382),
        -34.87065786149660974 * θ**2 * (θ - 1.2) * (θ - 0.666666666666666667),
        2.5 * θ**2 * (θ - 1.0) * (θ - 0.6),
    ]
    plain = _tableau(5, *rows, error=error)
    return Tableau(5, plain.a, plain.c, plain.error, np.stack([weight.coef[1:] for weight in weights]))


class Tsit5(ExplicitRungeKutta):
    """The fifth-order pair of Tsitouras (2011), doi:10.1016/j.camwa.2011.06.002, with its fourth-order dense output."""

    tableau = _tsitouras()
