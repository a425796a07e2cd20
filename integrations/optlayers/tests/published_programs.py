"""Programs of Maros and Mészáros' collection that are small enough to write down, with their published least costs.

An interior point method found these, so that they have about eight right digits. QPTEST's is without its constant.

A program is its cost and what has to be 0 or at least 0, as functions of x; Q, p, G, h, A and b are their derivatives.

Sources: Maros & Mészáros (1999), doi:10.1080/10556789908805768 (least costs); Hock & Schittkowski (1981),
doi:10.1007/978-3-642-48320-2 (HS...), and the collection CUTE: Bongartz, Conn, Gould & Toint (1995),
doi:10.1145/200979.201043 (the others).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.func import grad, hessian, jacrev

WIDE = torch.float64


def rows(*values):
    return torch.stack(values)


class Published(NamedTuple):
    n: int
    least: float
    cost: Callable
    at_least_0: Callable | None = None
    is_0: Callable | None = None
    low: float | list | None = None
    high: float | list | None = None

    def program(self):
        """Q, p, G, h, A, b, and the cost of x = 0."""
        zero = torch.zeros(self.n, dtype=WIDE)
        G, h, eye = [zero[None, :][:0]], [zero[:0]], torch.eye(self.n, dtype=WIDE)
        for bound, sign in ((self.low, -1), (self.high, 1)):
            if bound is not None:
                G.append(sign * eye)
                h.append(sign * torch.tensor(bound, dtype=WIDE).expand(self.n))
        if self.at_least_0 is not None:
            G.append(-jacrev(self.at_least_0)(zero))
            h.append(self.at_least_0(zero))
        equations = self.is_0 or (lambda x: x[:0])
        A, b = jacrev(equations)(zero), -equations(zero)
        return hessian(self.cost)(zero), grad(self.cost)(zero), torch.cat(G), torch.cat(h), A, b, self.cost(zero)


HS35_COST = lambda x: (
    9 - 8 * x[0] - 6 * x[1] - 4 * x[2] + 2 * x[0] ** 2 + 2 * x[1] ** 2 + x[2] ** 2 + 2 * x[0] * x[1] + 2 * x[0] * x[2]
)
HS51_ROWS = lambda x: rows(x[0] + 3 * x[1], x[2] + x[3] - 2 * x[4], x[1] - x[4])
HS53_COST = lambda x: (x[0] - x[1]) ** 2 + (x[1] + x[2] - 2) ** 2 + (x[3] - 1) ** 2 + (x[4] - 1) ** 2
HS76_SQUARES = torch.tensor([1.0, 0.5, 1.0, 0.5], dtype=WIDE)
HS268_ROWS = torch.tensor(
    [[-1, -1, -1, -1, -1], [10, 10, -3, 5, 4], [-8, 1, -2, -5, 3], [8, -1, 2, 5, -3], [-4, -2, 3, -5, 1]], dtype=WIDE
)
HS268_MATRIX = torch.tensor(
    [[10197, -12454, -1013, 1948, 329], [-12454, 20909, -1733, -4914, -186], [-1013, -1733, 1755, 1089, -174],
     [1948, -4914, 1089, 1515, -22], [329, -186, -174, -22, 27]],
    dtype=WIDE,
)  # fmt: skip


def hs118_rows(x):
    change = x[3:] - x[:-3] + 7
    total = x.view(5, 3).sum(1) - torch.tensor([60, 50, 70, 85, 100], dtype=WIDE)
    return torch.cat((change, torch.tensor([13, 14, 13] * 4, dtype=WIDE) - change, total))


LOT_GAIN, LOT_NEED = (torch.tensor(v, dtype=WIDE) for v in ([1.8, 3.2, 6.1, 3.2, 1.8, 7.4], [11.0, 3, 20, 17, 9, 20]))
LOT_COST = torch.tensor([1.502, 1.126, 0.815, 1.268, 1.502, 0.740], dtype=WIDE)
LOT_WAITS = (), (1, 2), (0, 1, 2, 3, 4, 5), (0, 3, 4, 5), (0,), (0, 1, 2, 3, 4)


def lotschd_rows(x):
    made, idle = x[:6], x[6:]
    waits = rows(*((made + idle)[list(js)].sum() for js in LOT_WAITS))
    return torch.cat((LOT_GAIN * made - idle - waits - LOT_NEED, x.sum()[None] - 126.1))


def cvxqp(m, least):
    """The generated programs CVXQP: each square of the cost and each equation has three variables."""
    n = 100
    i = torch.arange(1, n + 1)
    cost = lambda x: (i * (x + x[(2 * i - 1) % n] + x[(3 * i - 1) % n]) ** 2).sum() / 2
    equations = lambda x: (x + 2 * x[(4 * i - 1) % n] + 3 * x[(5 * i - 1) % n] - 6)[:m]
    return Published(n, least, cost, None, equations, 0.1, 10.0)


PUBLISHED = {
    "CVXQP1_S": cvxqp(50, 1.15907181e4),
    "CVXQP2_S": cvxqp(25, 8.12094048e3),
    "CVXQP3_S": cvxqp(75, 1.19434322e4),
    "GENHS28": Published(
        10, 9.27173692e-1, lambda x: ((x[:-1] + x[1:]) ** 2).sum(), is_0=lambda x: x[:-2] + 2 * x[1:-1] + 3 * x[2:] - 1
    ),
    "HS21": Published(
        2,
        -9.996e1,
        lambda x: 0.01 * x[0] ** 2 + x[1] ** 2 - 100,
        lambda x: rows(10 * x[0] - x[1] - 10),
        low=[2.0, -50.0],
        high=50.0,
    ),
    "HS35": Published(3, 1.11111111e-1, HS35_COST, lambda x: rows(3 - x[0] - x[1] - 2 * x[2]), low=0.0),
    "HS35MOD": Published(
        3, 2.5e-1, HS35_COST, lambda x: rows(3 - x[0] - x[1] - 2 * x[2]), lambda x: rows(x[1] - 0.5), low=0.0
    ),
    "HS51": Published(5, 0.0, HS53_COST, is_0=lambda x: HS51_ROWS(x) - torch.tensor([4, 0, 0])),
    "HS52": Published(
        5,
        5.32664756,
        lambda x: (4 * x[0] - x[1]) ** 2 + (x[1] + x[2] - 2) ** 2 + (x[3] - 1) ** 2 + (x[4] - 1) ** 2,
        is_0=HS51_ROWS,
    ),
    "HS53": Published(5, 4.09302326, HS53_COST, is_0=HS51_ROWS, low=-10.0, high=10.0),
    "HS76": Published(
        4,
        -4.68181818,
        lambda x: (x**2 * HS76_SQUARES).sum() - x[0] * x[2] + x[2] * x[3] - x[0] - 3 * x[1] + x[2] - x[3],
        lambda x: rows(5 - x[0] - 2 * x[1] - x[2] - x[3], 4 - 3 * x[0] - x[1] - 2 * x[2] + x[3], x[1] + 4 * x[2] - 1.5),
        low=0.0,
    ),
    "HS118": Published(
        15,
        6.64820452e2,
        lambda x: (
            x.view(5, 3) @ torch.tensor([2.3, 1.7, 2.2], dtype=WIDE)
            + x.view(5, 3) ** 2 @ torch.tensor([1e-4, 1e-4, 1.5e-4], dtype=WIDE)
        ).sum(),
        hs118_rows,
        low=[8.0, 43.0, 3.0] + [0.0] * 12,
        high=[21.0, 57.0, 16.0] + [90.0, 120.0, 60.0] * 4,
    ),
    "HS268": Published(
        5,
        0.0,
        lambda x: 14463 + x @ HS268_MATRIX @ x - 2 * x @ torch.tensor([-9170, 17099, -2271, -4336, -43], dtype=WIDE),
        lambda x: HS268_ROWS @ x - torch.tensor([-5, 20, -40, 11, -30], dtype=WIDE),
    ),
    "LOTSCHD": Published(12, 2.39841590e3, lambda x: ((LOT_COST * x[:6]) ** 2).sum(), is_0=lotschd_rows, low=0.0),
    "QPTEST": Published(
        2,
        4.371875,
        lambda x: 1.5 * x[0] - 2 * x[1] + 4 * x[0] ** 2 + 2 * x[0] * x[1] + 5 * x[1] ** 2,
        lambda x: rows(2 * x[0] + x[1] - 2, 6 + x[0] - 2 * x[1]),
        low=0.0,
        high=[20.0, torch.inf],
    ),
    "TAME": Published(2, 0.0, lambda x: (x[0] - x[1]) ** 2, is_0=lambda x: rows(x[0] + x[1] - 1), low=0.0),
    "ZECEVIC2": Published(
        2,
        -4.125,
        lambda x: 2 * x[1] ** 2 - 2 * x[0] - 3 * x[1],
        lambda x: rows(2 - x[0] - x[1], 4 - x[0] - 4 * x[1]),
        low=0.0,
        high=10.0,
    ),
}
