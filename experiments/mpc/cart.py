"""A cart that balances a pole, and model-predictive control of it as a differentiable quadratic program."""

import torch
from torch.func import jacfwd
from torch.nn.functional import pad

from torchflux_optlayers import solve_qp

# The cart: place, speed, angle of the pole from upright, its speed; (*, 4). SI units.

DT, FORCE, MARGIN, HORIZON = 0.05, 5.0, 0.01, 30
CART, POLE, LENGTH, GRAVITY = 1.0, 0.1, 0.5, 9.81


def slope(state, force, length=LENGTH):
    """The cart-pole's equations (Barto, Sutton & Anderson, 1983), without friction; length is half the pole's."""
    _, v, θ, ω = state.unbind(-1)
    sin, cosine, mass = θ.sin(), θ.cos(), CART + POLE
    push = (force + POLE * length * ω**2 * sin) / mass
    spin = (GRAVITY * sin - cosine * push) / (length * (4 / 3 - POLE * cosine**2 / mass))
    return torch.stack([v, push - POLE * length * spin * cosine / mass, ω, spin], -1)


def step(state, force, length=LENGTH):
    """A step of Runge and Kutta's method, with the same force all along."""
    k1 = slope(state, force, length)
    k2 = slope(state + DT / 2 * k1, force, length)
    k3 = slope(state + DT / 2 * k2, force, length)
    k4 = slope(state + DT * k3, force, length)
    return state + DT / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


class Controller:
    """Model-predictive control by costs and half the pole's length, given as logarithms (5,)."""

    def __init__(self, logarithms):
        self.costs, self.length = logarithms[:4].exp(), logarithms[4].exp()

    def forecast(self, state):
        """Where it goes without force (b, N, 4), and what forces add: (N, N, 4), by a step, for that of a step."""
        force, N = torch.zeros((), dtype=state.dtype), HORIZON
        A, B = jacfwd(step, (0, 1))(torch.zeros_like(state[0]), force, self.length)  # (4, 4), (4,)
        powers = [torch.eye(4, dtype=state.dtype)]
        for _ in range(N):
            powers.append(A @ powers[-1])
        pushed = torch.stack(powers[:-1]) @ B  # (N, 4): what a unit of force has done so many steps later
        lag = torch.arange(N)[:, None] - torch.arange(N)
        moves = torch.where(lag[..., None] >= 0, pushed[lag.clamp(min=0)], 0.0)
        return torch.einsum("kij,bj->bki", torch.stack(powers[1:]), state), moves

    def program(self, state, wall):
        """Its (Q, p, G, h). The unknowns: the forces, and how many millimetres the cart is beyond the wall at worst."""
        (ahead, moves), costs, reach = self.forecast(state), self.costs, wall - MARGIN
        eye, place = torch.eye(HORIZON, dtype=state.dtype), moves[..., 0]
        Q = torch.einsum("kui,kvi,i->uv", moves, moves, costs) + 0.1 * eye
        p = torch.einsum("kui,bki,i->bu", moves, ahead, costs)
        rows = (eye, 0.0), (-eye, 0.0), (place, -1e-3), (-place, -1e-3), (0 * eye[:1], -1.0)
        limit = torch.full((len(state), 2 * HORIZON), FORCE, dtype=state.dtype)
        h = torch.cat([limit, reach - ahead[..., 0], reach + ahead[..., 0], 0 * limit[:, :1]], 1)
        return (
            pad(Q, (0, 1, 0, 1)),
            pad(p, (0, 1), value=10.0),
            torch.cat([pad(G, (0, 1), value=v) for G, v in rows]),
            h,
        )

    def __call__(self, state, wall, before=None):
        """The force now (b,), and the plan, with which the next one begins."""
        plan = solve_qp(*self.program(state, wall), warm_start=before)
        return plan.x[:, 0], plan
