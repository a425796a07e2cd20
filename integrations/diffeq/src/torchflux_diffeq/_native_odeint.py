"""A solution as a part of a native function: loss, solution and data become one compiled program with its gradient."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ._methods import Tsit5
from ._runge_kutta import ExplicitRungeKutta

__all__ = ["native_odeint"]

SHORTEST = 4 * np.finfo(np.float64).eps
"""The shortest step that is worth taking, as a part of the time: below it, the time doesn't move on."""

State = tuple[float, ...]


def native_odeint(
    f: Callable[..., State],
    y0: State,
    ts: Any,
    args: Any = None,
    *,
    solver: ExplicitRungeKutta = Tsit5(),  # noqa: B008  # a solver holds nothing
    rtol: float = 1e-6,
    atol: float = 1e-9,
    dt0: float = 0.0,
    max_steps: int = 4096,
) -> Any:
    """Solves `dy/dt = f(t, y, args)` inside of a `@native` function, or in plain Python.

    `solve` hands its solution to PyTorch, which takes longer than a small problem itself. Where the loss is native as
    well, this leaves PyTorch out. It is written in what `@native` compiles, so that derivatives of every order and both
    modes come from there: those of the steps that were made, whose lengths count as constants.

    Arguments:
        f: the slope, a tuple of floats as the state is; its `args` may be anything that native code takes.
        y0: the state at the start, a tuple of floats: the program spells them out one by one, so let them be few.
        ts: the times at which the state is wanted, float64 (times,), increasing or decreasing; the first is `y0`'s.
        solver: an explicit Runge-Kutta method with an error estimate; of a native function, made outside of it.
        rtol, atol: the tolerances, as of `PID`.
        dt0: the length of the first step; 0 estimates one.
        max_steps: rejected steps included.

    Returns:
        The states at all times, float64 (times, len(y0)).

    Raises:
        ValueError: the times are not in order, the slope has another length than the state, or the solver no estimate
            of its error.
        RuntimeError: more steps than `max_steps`, or steps so short that time stands still.

    >>> import numpy as np
    >>> from torchflux_zygote import native
    >>> ts, seen = np.linspace(0.0, 1.0, 5), np.exp(-2.0 * np.linspace(0.0, 1.0, 5))
    >>> @native
    ... def loss(rate):
    ...     ys = native_odeint(lambda t, y, rate: (-rate * y[0],), (1.0,), ts, rate)
    ...     return np.sum((ys[:, 0] - seen) ** 2)
    >>> round(loss(2.0), 6), round(loss.gradient(3.0)[0], 4)
    (0.0, 0.0911)

    Source: Hairer, Nørsett & Wanner (1993), Solving Ordinary Differential Equations I, II.4 to II.6.
    """
    from torchflux_zygote import ignore

    n, sign = len(ts), 1.0 if ts[len(ts) - 1] >= ts[0] else -1.0
    for i in range(n - 1):
        if not sign * ts[i] < sign * ts[i + 1]:
            raise ValueError("native_odeint: the times in ts have to increase, or decrease, from each to the next")
    tableau, order = solver.tableau, solver.error_order
    if len(tableau.error_weights) == 0:
        raise ValueError("native_odeint: this solver has no estimate of its error: take Tsit5(), Dopri5() or Bosh3()")
    t, y = ts[0], tuple([float(a) for a in y0])
    k = f(t, y, args)
    if len(k) != len(y):
        raise ValueError("native_odeint: f returns another number of slopes than the state has numbers")
    ys = np.empty((n, len(y)))
    for i, a in enumerate(y):
        ys[0, i] = a
    h = ignore(dt0 if dt0 > 0.0 else _first(f, t, y, k, args, sign, tableau.order, rtol, atol))
    j, steps = 1, 0
    while j < n:
        left = ignore(sign * (ts[n - 1] - t))
        last = h >= left * (1.0 - 1e-9)
        dt = sign * (left if last else h)
        ks: tuple[State, ...] = (k,)
        for c, weights in tableau.stage_weights:
            u = _moved(y, dt, weights, ks)
            ks = (*ks, f(t + c * dt, u, args))
        error = ignore(_norm(_moved(tuple([0.0 for _ in y]), dt, tableau.error_weights, ks), y, u, rtol, atol))
        steps += 1
        if steps > max_steps:
            raise RuntimeError("native_odeint: more than max_steps steps: allow more, or choose larger tolerances")
        if error <= 1.0:
            arrival = ts[n - 1] if last else t + dt
            while j < n and sign * ts[j] <= sign * arrival:
                for i, a in enumerate(_inside(y, dt, (ts[j] - t) / dt, tableau.dense_weights, ks)):
                    ys[j, i] = a
                j += 1
            t, y, k = arrival, u, ks[-1]
        elif not h > SHORTEST * abs(t) + 1e-300:
            raise RuntimeError(
                "native_odeint: time stands still, the steps have become so short: look for a slope that isn't finite"
            )
        h = ignore(abs(dt) * _factor(error, order))
    return ys


def _moved(y: State, dt: float, weights: Any, ks: Any) -> State:
    """The state with some of the slopes added to it."""
    for i, weight in weights:
        y = tuple([a + dt * weight * b for a, b in zip(y, ks[i])])  # noqa: B905  # native code's zip isn't strict
    return y


def _inside(y: State, dt: float, x: float, weights: Any, ks: Any) -> State:
    """The state at the part `x` of a step."""
    return _moved(y, dt, tuple([(i, _polynomial(powers, x)) for i, powers in weights]), ks)


def _polynomial(powers: Any, x: float) -> float:
    """That of these coefficients, the highest power first; it is zero at zero."""
    value = 0.0
    for power in powers:
        value = (value + power) * x
    return value


def _norm(error: State, y: State, u: State, rtol: float, atol: float) -> float:
    """The root mean square of an error, in units of what is tolerated."""
    total = 0.0
    for e, a, b in zip(error, y, u):  # noqa: B905
        total += (e / (atol + rtol * max(abs(a), abs(b)))) ** 2
    return (total / len(y)) ** 0.5


def _factor(error: float, order: int) -> float:
    """By how much the next step is longer, as `PID` says."""
    return min(max(0.9 * max(error, 1e-10) ** (-1.0 / order), 0.2), 10.0) if error <= 1e100 else 0.2


def _first(
    f: Callable[..., State], t: float, y: State, k: State, args: Any, sign: float, order: int, rtol: float, atol: float
) -> float:
    """The length of the first step, at the cost of one slope."""
    d0, d1 = _norm(y, y, y, rtol, atol), _norm(k, y, y, rtol, atol)
    h = 1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / max(d1, 1e-300)
    then = f(t + sign * h, _moved(y, sign * h, ((0, 1.0),), (k,)), args)
    d2 = _norm(tuple([b - a for a, b in zip(k, then)]), y, y, rtol, atol) / h  # noqa: B905
    steepest = max(d1, d2)
    longer = max(h * 1e-3, 1e-6) if steepest <= 1e-15 else (0.01 / steepest) ** (1.0 / (order + 1))
    return min(100.0 * h, longer) if d0 + d1 + d2 <= 1e300 else 1e-6
