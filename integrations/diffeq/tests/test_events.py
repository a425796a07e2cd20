"""Events: all crossings found, closed forms of their times and places, gradients through them, and refusals."""

import math

import numpy as np
import pytest
import torch
from diffeq_problems import DTYPE, RATES, lotka_volterra, tensor
from scipy.integrate import solve_ivp
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jvp, vmap

from torchflux_diffeq import PID, RK4, Bosh3, Discrete, Event, Fixed, SaveAt, Status, Tsit5, per_sample, solve

G = 9.81


def flight(t, y, gravity=G):
    """A projectile: place and height, and their speeds."""
    x, v = y[..., :2], y[..., 2:]
    pull = torch.stack((torch.zeros_like(v[..., 0]), -gravity * torch.ones_like(v[..., 1])), -1)
    return torch.cat((v + 0 * x, pull), -1)


def height(t, y, args):
    return y[..., 1]


def thrown(speed, angle):
    return torch.stack((0 * speed, 0 * speed, speed * torch.cos(angle), speed * torch.sin(angle)))


def oscillator(t, y, args):
    return torch.stack((y[..., 1], -y[..., 0]), -1)


@pytest.mark.parametrize("solver", [Tsit5(), Bosh3()], ids=repr)
def test_time_of_flight_and_range(solver):
    speed, angle = tensor(20.0, 0.7).requires_grad_()
    solution = solve(flight, thrown(speed, angle), (0.0, 10.0), G, solver=solver, events=Event(height))
    due_t, due_x = 2 * speed * angle.sin() / G, speed**2 * (2 * angle).sin() / G
    assert solution.status is Status.EVENT
    assert torch.allclose(solution.t, due_t, rtol=1e-12)
    assert torch.allclose(solution.y[0], due_x, rtol=1e-12)
    assert torch.equal(solution.t_events[0], solution.t[None])
    for found, due in ((solution.t, due_t), (solution.y[0], due_x), (solution.y[3], -speed * angle.sin())):
        gradients = [torch.autograd.grad(x, (speed, angle), retain_graph=True) for x in (found, due)]
        assert all(torch.allclose(a, b, rtol=1e-11, atol=1e-11) for a, b in zip(*gradients, strict=True))


def test_what_comes_after_the_end_is_nan():
    ts = torch.linspace(0.0, 6.0, 13, dtype=DTYPE)
    solution = solve(flight, thrown(*tensor(20.0, 0.7)), ts, G, events=Event(height))
    assert torch.equal(solution.ys.isnan().any(-1), ts > solution.t)
    assert "ended at an event" in solution.message


def arrival(p, y0, threshold, **options):
    """When the prey of Lotka-Volterra reaches a threshold that depends on the time, and what there is then."""
    event = Event(lambda t, y, args: y[0] - threshold * (1 + 0.1 * t), direction=1)
    solution = solve(lotka_volterra, y0, (0.0, 10.0), p, events=event, controller=Fixed(0.1), **options)
    return torch.cat((solution.t[None], solution.y))


GIVEN = (tensor(*RATES), tensor(1.0, 0.8), tensor(2.0)[0])


def needing(*xs):
    return [x.clone().requires_grad_() for x in xs]


def test_finite_differences_once_and_twice():
    assert gradcheck(arrival, needing(*GIVEN))
    assert gradgradcheck(lambda p, threshold: arrival(p, GIVEN[1], threshold), needing(GIVEN[0], GIVEN[2]), atol=1e-4)


def test_checkpoints_give_the_same_gradient(monkeypatch):
    monkeypatch.setattr("torchflux_diffeq._replay.STRETCH", 8)
    given = needing(*GIVEN)
    found = [torch.autograd.grad(arrival(*given, adjoint=Discrete(m)).sum(), given) for m in ("tape", "checkpoints")]
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_one_correction_is_not_enough_for_second_derivatives(monkeypatch):
    """The canary of the check above."""
    monkeypatch.setattr("torchflux_diffeq._moments.CORRECTIONS", 1)
    p, y0, threshold = needing(*GIVEN)
    assert gradcheck(lambda c: arrival(p.detach(), y0.detach(), c), (threshold,))
    assert not gradgradcheck(lambda c: arrival(p.detach(), y0.detach(), c), (threshold,), raise_exception=False)


def test_tight_finite_differences_with_steps_that_adapt():
    def found(threshold):
        event = Event(lambda t, y, args: y[0] - threshold, direction=1)
        return solve(lotka_volterra, GIVEN[1], (0.0, 10.0), RATES, events=event, controller=PID(1e-11, 1e-13)).t

    threshold = needing(GIVEN[2])[0]
    difference = (found(2.0 + 1e-5) - found(2.0 - 1e-5)) / 2e-5
    assert torch.allclose(torch.autograd.grad(found(threshold), threshold)[0], difference, rtol=1e-5)


def test_torch_func():
    p, y0, threshold = GIVEN
    f = lambda threshold: arrival(p, y0, threshold)
    c = needing(threshold)[0]
    due = torch.stack([torch.autograd.grad(x, c, retain_graph=True)[0] for x in f(c)])
    assert torch.allclose(jacfwd(f)(threshold), due, rtol=1e-9)
    assert torch.allclose(jvp(f, (threshold,), (torch.ones_like(threshold),))[1], due, rtol=1e-9)
    assert torch.allclose(grad(lambda c: f(c)[0])(threshold), due[0], rtol=1e-9)
    g = torch.autograd.grad(f(c)[0], c, create_graph=True)[0]
    assert torch.allclose(hessian(lambda c: f(c)[0])(threshold), torch.autograd.grad(g, c)[0], rtol=1e-7)


def test_a_network_as_event():
    """All parameters of the event's function have gradients (torchdiffeq's issues 179 and 208)."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).double()
    level = -net(tensor(0.3, -0.8)).item()  # it is crossed on the way, whose radius is 1

    def found():
        event = Event(lambda t, y, args: net(y)[0] + level)
        return solve(oscillator, tensor(1.0, 0.0), (0.0, 20.0), events=event, controller=Fixed(0.1)).t

    gradients = torch.autograd.grad(found(), list(net.parameters()))
    for x, g in zip(net.parameters(), gradients, strict=True):
        with torch.no_grad():
            first = x.view(-1)[:1]
            first += 1e-6
            above = found()
            first -= 2e-6
            below = found()
            first += 1e-6
        assert g.view(-1)[0] != 0
        assert torch.allclose(g.view(-1)[0], (above - below) / 2e-6, rtol=1e-5)


@pytest.mark.parametrize("direction", [-1, 0, 1])
def test_scipys_events(direction):
    def g(t, y, args=None):
        return y[0] - 0.3

    g.direction = direction
    ends = lambda t, y, args=None: y[1] - 0.999 + 0.01 * t
    ends.terminal, ends.direction = True, 1
    f = lambda t, y: np.array([y[1], -y[0]])
    due = solve_ivp(f, (0.0, 30.0), [1.0, 0.0], "DOP853", events=[g, ends], rtol=1e-12, atol=1e-13)
    solution = solve(oscillator, tensor(1.0, 0.0), (0.0, 30.0), events=[g, ends], controller=PID(1e-11, 1e-13))
    for found, times, found_y, states in zip(
        solution.t_events, due.t_events, solution.y_events, due.y_events, strict=True
    ):
        assert np.allclose(found, times, atol=1e-9)
        assert np.allclose(found_y.flatten(), np.ravel(states), atol=1e-9)
    assert (solution.status is Status.EVENT) == (due.status == 1)
    assert math.isclose(solution.t, due.t[-1], rel_tol=1e-9)


@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("where", [0.37, 0.5, 0.99, 1e-2])
def test_two_crossings_in_one_step(gap, where):
    """diffrax's issue 507; here the step is 1, and the parabola dips below zero for a short time only."""
    event = Event(lambda t, y, args: (t - where) ** 2 - gap**2 + 0 * y[0], terminal=False)
    solution = solve(
        lambda t, y, args: 0 * y, tensor(1.0), (0.0, 3.0), solver=RK4(), controller=Fixed(1.0), events=event
    )
    due = [t for t in (where - gap, where + gap) if t > 0]
    assert solution.t_events[0].tolist() == pytest.approx(due, abs=1e-9)


def test_many_crossings_in_one_step():
    """Every crossing of a function that turns often; RK4's dense output is of third order in the state only."""
    event = Event(lambda t, y, args: torch.sin(20 * t) - 0.2 + 0 * y[0], terminal=False)
    one = solve(lambda t, y, args: 0 * y, tensor(1.0), (0.0, 1.0), solver=RK4(), controller=Fixed(1.0), events=event)
    many = solve(lambda t, y, args: 0 * y, tensor(1.0), (0.0, 1.0), solver=RK4(), controller=Fixed(0.01), events=event)
    assert torch.allclose(one.t_events[0], many.t_events[0], atol=1e-12)
    assert len(one.t_events[0]) == 7


def test_an_event_that_is_zero_at_the_start_does_not_fire_there():
    solution = solve(oscillator, tensor(0.0, 1.0), (0.0, 4.0), events=Event(lambda t, y, args: y[0]))
    assert math.isclose(solution.t, math.pi, rel_tol=1e-6)
    fall = lambda t, y, args: torch.stack((y[1], -2 * torch.ones_like(y[1])))
    for speed in (1.0, 1e-3, 1e-8):  # it comes back within a small part of the first step
        solution = solve(
            fall, tensor(0.0, speed), (0.0, 4.0), controller=Fixed(1.0), solver=RK4(), events=Event(height2)
        )
        assert math.isclose(solution.t, speed, rel_tol=1e-4)


def height2(t, y, args):
    return y[..., 0]


def test_terminal_at_the_third():
    event = Event(lambda t, y, args: y[0], terminal=3)
    solution = solve(oscillator, tensor(1.0, 0.0), (0.0, 30.0), events=event, controller=PID(1e-10, 1e-12))
    assert torch.allclose(solution.t_events[0], math.pi * (tensor(0.5, 1.5, 2.5)), rtol=1e-8)
    assert solution.status is Status.EVENT


def test_backward_in_time():
    event = Event(lambda t, y, c: y[0] - c)
    f = lambda c: solve(oscillator, tensor(1.0, 0.0), (0.0, -5.0), c, events=event, controller=Fixed(0.01)).t
    c = needing(tensor(0.3)[0])[0]
    assert torch.allclose(f(c), -torch.acos(c), rtol=1e-8)
    assert torch.allclose(torch.autograd.grad(f(c), c)[0], 1 / (1 - c**2).sqrt(), rtol=1e-7)


def test_a_batch_is_its_samples():
    speeds = torch.linspace(5.0, 40.0, 6, dtype=DTYPE).requires_grad_()
    gravity = torch.linspace(9.0, 10.0, 6, dtype=DTYPE).requires_grad_()
    ts = torch.linspace(0.0, 4.0, 9, dtype=DTYPE)
    many = lambda t, y, args: flight(t, y, args[0])
    start = torch.stack([thrown(speed, torch.ones_like(speed)) for speed in speeds])
    calls = []

    def event(t, y, args):
        calls.append(len(y))
        return y[:, 1] - args[1]

    top = Event(lambda t, y, args: y[..., 3], terminal=False)
    low = 0.1 * gravity
    args = (per_sample(gravity), per_sample(low))
    whole = solve(many, start, ts, args, events=[Event(event, direction=-1), top], batched=True)
    assert whole.status.tolist() == [Status.EVENT] * 3 + [Status.SUCCESS] * 3
    assert whole.t_events[0].shape == (6, 1)
    for i in range(6):
        one = (gravity[i], low[i])
        ground = Event(lambda t, y, args: y[1] - args[1], direction=-1)
        alone = solve(many, start[i], ts, one, events=[ground, top])
        assert torch.allclose(whole.t[i], alone.t, rtol=1e-12)
        assert torch.allclose(whole.ys[:, i], alone.ys, rtol=1e-11, equal_nan=True)
        assert whole.stats.steps[i] == alone.stats.steps
        for e in range(2):
            found = whole.t_events[e][i]
            assert torch.allclose(found[~found.isnan()], alone.t_events[e], rtol=1e-12)
        pairs = [(whole.y[i, 0], alone.y[0]), (whole.t_events[1][i, 0], alone.t_events[1][0])]
        for x, y in pairs + [(whole.t[i], alone.t)] * (i < 3):
            found, due = (torch.autograd.grad(z, (speeds, gravity), retain_graph=True) for z in (x, y))
            assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(found, due, strict=True))


def test_the_gradient_of_saved_states_is_the_same_with_events_that_are_noted():
    ts = torch.linspace(0.0, 5.0, 6, dtype=DTYPE)
    p = needing(GIVEN[0])[0]
    event = Event(lambda t, y, args: y[0] - 2.0, terminal=False)
    found = solve(lotka_volterra, GIVEN[1], ts, p, events=event)
    due = solve(lotka_volterra, GIVEN[1], ts, p)
    assert torch.allclose(found.ys, due.ys, rtol=1e-12)
    assert found.stats.evaluations == due.stats.evaluations
    a, b = (torch.autograd.grad(x.ys.square().sum(), p)[0] for x in (found, due))
    assert torch.allclose(a, b, rtol=1e-9)


@pytest.mark.parametrize("g", [lambda x: x**3, lambda x: x**2 - 1e-22, torch.sign], ids=["flat", "touching", "jump"])
def test_grazing_is_refused_where_its_time_has_no_derivative(g):
    y0 = needing(tensor(0.0))[0]
    options = {"events": Event(lambda t, y, args: g(y[0] - 0.5)), "controller": Fixed(0.13)}
    with torch.no_grad():
        found = solve(lambda t, y, args: torch.ones_like(y), y0, (0.0, 2.0), **options)
        assert math.isclose(found.t, 0.5, rel_tol=1e-8)
    with pytest.raises(ValueError, match=r"events\[0\] is zero at t = 0.5 without changing"):
        solve(lambda t, y, args: torch.ones_like(y), y0, (0.0, 2.0), **options)


def test_float32():
    y0 = thrown(*torch.tensor([20.0, 0.7])).requires_grad_()
    solution = solve(flight, y0, (0.0, 10.0), G, events=Event(height))
    assert solution.t.dtype == solution.t_events[0].dtype == solution.y.dtype == torch.float32
    assert math.isclose(solution.t.detach(), 40 * math.sin(0.7) / G, rel_tol=1e-5)
    assert torch.autograd.grad(solution.t, y0)[0].dtype == torch.float32


def test_trees():
    f = lambda t, y, args: {"x": y["v"], "v": -y["x"]}
    event = Event(lambda t, y, args: y["x"].sum(-1) if y["x"].dim() > 1 else y["x"].sum(), terminal=False)
    start = {"x": tensor(0.5, 0.5), "v": tensor(0.0, 0.0)}
    solution = solve(f, start, (0.0, 6.0), events=event, controller=PID(1e-9, 1e-11))
    assert torch.allclose(solution.t_events[0], math.pi * tensor(0.5, 1.5), rtol=1e-7)
    assert solution.y_events[0]["v"].shape == (2, 2)


def test_nan_of_an_event_is_a_failure_of_its_sample():
    event = Event(lambda t, y, args: torch.sqrt(y[:, 0] - 0.5) - 0.1)
    y0 = tensor(1.0, 2.0)[:, None]
    solution = solve(lambda t, y, args: -y, y0, (0.0, 1.0), events=event, batched=True, throw=False)
    assert solution.status.tolist() in ([Status.NOT_FINITE, Status.SUCCESS], [Status.EVENT, Status.SUCCESS])
    late = Event(lambda t, y, args: torch.where(t < 0.5, 1.0, math.nan).to(y))
    solution = solve(lambda t, y, args: -y, y0[0], (0.0, 1.0), events=late, throw=False)
    assert solution.status is Status.NOT_FINITE
    assert solution.y.isfinite().all()


def test_vmap_is_refused():
    f = lambda y0: solve(oscillator, y0, (0.0, 5.0), events=Event(height2)).t
    with pytest.raises(ValueError, match=r"events\[0\] differs between the lanes of a vmap"):
        vmap(f)(torch.ones(3, 2, dtype=DTYPE))


@pytest.mark.parametrize(
    ("event", "error", "message"),
    [
        (3.0, TypeError, r"events\[0\] is 3.0: pass an Event"),
        (lambda t, y, args: 1.0, TypeError, r"events\[0\] returned 1.0: return a tensor"),
        (lambda t, y, args: y, ValueError, r"events\[0\] has the shape \(2,\), not \(\)"),
        (lambda t, y, args: y[0] > 0, TypeError, "bool"),
    ],
)
def test_bad_events(event, error, message):
    with pytest.raises(error, match=message):
        solve(oscillator, tensor(1.0, 0.0), (0.0, 1.0), events=event)


def test_bad_events_of_a_batch():
    y0 = torch.ones(3, 2, dtype=DTYPE)
    with pytest.raises(ValueError, match=r"shape \(\), not \(3,\)"):
        solve(oscillator, y0, (0.0, 1.0), events=lambda t, y, args: y.sum(), batched=True)
    with pytest.raises(TypeError, match=r"Event\(f=1\)"):
        Event(1)
    with pytest.raises(ValueError, match="terminal=-1"):
        Event(height, terminal=-1)


def test_a_solution_that_fails_keeps_its_last_good_state():
    event = Event(lambda t, y, args: y[0] - 5.0, terminal=False)
    options = {"events": event, "throw": False, "saveat": SaveAt(dense=True)}
    solution = solve(lambda t, y, args: y * y, tensor(1.0), (0.0, 2.0), **options)
    assert solution.status in (Status.STALLED, Status.NOT_FINITE)
    assert solution.y.isfinite().all()
    assert math.isclose(solution.t_events[0][0], 0.8, rel_tol=1e-5)
    assert math.isclose(solution.evaluate(0.5), 2.0, rel_tol=1e-5)
