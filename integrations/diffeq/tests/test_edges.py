"""Edges: hooks, float32 far from zero, tangents of another dtype, state changed in place, no samples, odd options."""

import math

import pytest
import torch
from torch.func import jacfwd, jvp

from torchflux_diffeq import (
    FFJORD,
    PID,
    SDE,
    Backsolve,
    Callback,
    Discrete,
    Euler,
    Event,
    Fixed,
    Forward,
    HamiltonianNN,
    Hutchinson,
    LagrangianNN,
    Milstein,
    NeuralODE,
    Rodas5P,
    Rosenbrock23,
    SaveAt,
    SciPy,
    solve,
)
from torchflux_zygote import native

DTYPE = torch.float64
FINE = PID(1e-9, 1e-11)
ADJOINTS = [Discrete(), Discrete(replay=True), Backsolve(), Forward()]


def decay(t, y, rate):
    return -rate * y


@native
def native_decay(t, y, rate):
    return (-rate * y[0],)


def needing(x):
    return torch.tensor([x], dtype=DTYPE, requires_grad=True)


@pytest.mark.parametrize("adjoint", ADJOINTS, ids=str)
@pytest.mark.parametrize("leaf", [True, False])
def test_a_hook_is_called_once(adjoint, leaf):
    """A hook that doubles what arrives: called twice, it would make four of it."""
    given = needing(0.7)
    rate = given if leaf else 1.0 * given
    called = []
    rate.register_hook(lambda g: called.append(g) or 2 * g)
    if not leaf:
        rate.retain_grad()
    solve(lambda t, y, args: -rate * y, torch.ones(1, dtype=DTYPE), (0.0, 1.0), adjoint=adjoint, controller=FINE).ys[
        -1
    ].sum().backward()
    assert len(called) == 1
    assert given.grad.item() == pytest.approx(-2 * math.exp(-0.7), rel=1e-7)
    assert rate.grad.item() == pytest.approx(-2 * math.exp(-0.7), rel=1e-7)


@pytest.mark.parametrize("f", [decay, native_decay], ids=["torch", "native"])
def test_a_hook_is_called_once_by_a_gradient_that_is_differentiated(f):
    rate, called = torch.tensor(0.7, dtype=DTYPE, requires_grad=True), []
    rate.register_hook(lambda g: called.append(g))
    y = solve(f, torch.ones(1, dtype=DTYPE), (0.0, 1.0), rate, controller=FINE).ys[-1]
    (first,) = torch.autograd.grad(y.sum(), rate, create_graph=True)
    assert len(called) == 1
    assert torch.autograd.grad(first.sum(), rate)[0].item() == pytest.approx(math.exp(-0.7), rel=1e-6)
    assert len(rate._backward_hooks) == 1


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("controller", [PID(), Fixed(0.1)], ids=["PID", "Fixed"])
def test_float32_far_from_zero(gradient, controller):
    """Times from 10⁶ on are 1/16 apart in float32: steps between are as long as they are, not as they round."""
    t0 = 1e6
    y0 = torch.ones(1, requires_grad=gradient)
    solution = solve(lambda t, y, args: -y, y0, (t0, t0 + 0.5, t0 + 1.0), controller=controller)
    assert torch.allclose(
        solution.ys[:, 0].detach(), torch.tensor([1.0, -0.5, -1.0]).exp() / torch.tensor([math.e, 1, 1]), rtol=1e-4
    )
    if not gradient:
        dense = solve(lambda t, y, args: -y, y0, (t0, t0 + 1.0), controller=controller, saveat=SaveAt(dense=True))
        assert dense.evaluate(t0 + 0.5).item() == pytest.approx(math.exp(-0.5), rel=1e-4)


def test_float32_far_from_zero_is_not_native():
    given = {"y0": torch.ones(1), "ts": (1e6, 1e6 + 0.5, 1e6 + 1.0), "args": torch.tensor(1.0)}
    solution = solve(native_decay, **given)
    assert solution.route == "torch"
    assert solution.ys[1].item() == pytest.approx(math.exp(-0.5), rel=1e-4)
    with pytest.raises(TypeError, match="far from zero"):
        solve(native_decay, **given, route="native")
    assert solve(native_decay, torch.ones(1), (10.0, 11.0), torch.tensor(1.0)).route == "native"


@pytest.mark.parametrize("change", ["in place", "another"])
def test_a_parameter_that_changes_before_the_gradient_is_refused(change):
    """The steps that are made again would be another solution's."""
    args = {"rate": needing(0.7)}
    adjoint, controller = Discrete(replay=True), Fixed(1 / 300)
    f = lambda t, y, args: -args["rate"] * y
    end = solve(f, torch.ones(1, dtype=DTYPE), (0.0, 1.0), args, solver=Euler(), adjoint=adjoint, controller=controller)
    if change == "in place":
        with torch.no_grad():
            args["rate"].mul_(1.001)
    else:
        args["rate"] = needing(0.8)
    with pytest.raises(RuntimeError, match="has changed since"):
        end.ys[-1].sum().backward()


@pytest.mark.parametrize("solver", [Rosenbrock23(), Rodas5P()], ids=str)
def test_back_by_a_jacobian_that_is_also_by_the_time(solver):
    """`y = sin t + (y₀ - sin 0) e^(-rate t)` solves `y' = cos t - rate (y - sin t)`."""
    rate, y0 = needing(2.0), needing(1.5)
    f = lambda t, y, rate: torch.cos(t) - rate * (y - torch.sin(t))
    controller = PID(1e-6, 1e-8) if solver.order < 5 else FINE
    end = solve(f, y0, (0.0, 1.0), rate, solver=solver, adjoint=Backsolve(), controller=controller).ys[-1]
    found = torch.autograd.grad(end.sum(), (y0, rate))
    assert found[0].item() == pytest.approx(math.exp(-2.0), rel=1e-4)
    assert found[1].item() == pytest.approx(-1.5 * math.exp(-2.0), rel=1e-4)


def shifted(t, y, args):
    """Of single numbers PyTorch's forward mode has float64 tangents, where a Python number is taken away."""
    return torch.stack((-(y[0] - 0.5), 0.25 - y[1]))


@pytest.mark.parametrize("options", [{}, {"solver": Rodas5P()}, {"adjoint": Forward()}], ids=str)
def test_float32_tangents_of_single_numbers(options):
    y0 = torch.tensor([1.0, 0.3])
    end = lambda y: solve(shifted, y, (0.0, 0.5, 1.0), **options).ys[-1]
    tangent = jvp(end, (y0,), (torch.ones(2),))[1]
    assert tangent.dtype == torch.float32
    assert torch.allclose(tangent, torch.full((2,), math.exp(-1.0)), rtol=1e-3)
    assert torch.allclose(jacfwd(end)(y0), torch.eye(2) * math.exp(-1.0), atol=1e-3)
    given = y0.clone().requires_grad_()
    end(given).sum().backward()
    assert torch.allclose(given.grad, torch.full((2,), math.exp(-1.0)), rtol=1e-3)


def test_float32_event_of_a_single_number():
    """`y = 1/2` is at `t = log(2 y₀)`, whose derivative is `1 / y₀`."""
    y0 = torch.tensor([1.0], requires_grad=True)
    solution = solve(lambda t, y, args: -y, y0, (0.0, 5.0), events=Event(lambda t, y, args: y[0] - 0.5))
    assert solution.t.dtype == torch.float32
    assert torch.autograd.grad(solution.t, y0)[0].item() == pytest.approx(1.0, rel=1e-3)


def test_float32_noise_of_a_single_number():
    generator = torch.Generator().manual_seed(0)
    sde = SDE(shifted, lambda t, y, args: torch.stack((y[0] - 0.5, y[1] - 0.5)))
    ys = solve(sde, torch.ones(2), (0.0, 0.5), solver=Milstein(), controller=Fixed(0.1), generator=generator).ys
    assert ys.dtype == torch.float32
    assert ys.isfinite().all()


def test_a_change_in_place_is_refused():
    with pytest.raises(ValueError, match="in place"):
        solve(lambda t, y, args: y.neg_(), torch.ones(2), (0.0, 1.0), solver=Euler(), controller=Fixed(0.1))
    parts = {"a": torch.ones(2), "b": torch.ones(3)}
    with pytest.raises(ValueError, match="in place"):
        solve(lambda t, y, args: {name: x.neg_() for name, x in y.items()}, parts, (0.0, 1.0))


def test_a_callback_may_change_in_place():
    def more(t, y, args):
        y += 1.0
        return y

    dose = Callback((1.0,), more)
    y0 = torch.zeros(1, dtype=DTYPE)
    solution = solve(lambda t, y, args: 1.0 - y, y0, (0.0, 1.0, 2.0), callbacks=dose, controller=FINE)
    assert torch.allclose(
        solution.ys[1:, 0], 1.0 - torch.tensor([math.exp(-1.0), math.exp(-2.0) - math.exp(-1.0)]).double()
    )


def test_a_slope_in_the_same_memory_each_time():
    slope = torch.empty(2, dtype=DTYPE)

    def turning(t, y, args):
        slope[0], slope[1] = y[1], -y[0]
        return slope

    y = solve(turning, torch.tensor([1.0, 0.0], dtype=DTYPE), (0.0, 1.0), controller=FINE).ys[-1]
    assert torch.allclose(y, torch.tensor([math.cos(1.0), -math.sin(1.0)], dtype=DTYPE))


def test_samples_that_are_coupled_in_a_small_number_are_replayed():
    """The gradient is that of what was computed, also where one number of the state is 10⁸ times as large as another.

    A mean over the samples is none of one by one; with all steps together it would be over the steps, too.
    """

    def coupled(t, y, rate):
        return torch.stack((-y[:, 0], rate * (y[:, 1].mean(0) - 2 * y[:, 1])), 1)

    y0 = torch.tensor([[1e8, 1.0], [1e8, 2.0], [1e8, 5.0]], dtype=DTYPE)
    end = lambda rate: (
        solve(coupled, y0, (0.0, 1.0), rate, batched=True, solver=Euler(), controller=Fixed(0.002)).ys[-1, :, 1] ** 2
    )
    assert torch.autograd.gradcheck(end, needing(0.7))


def test_args_that_should_be_marked_are_named():
    rates = torch.tensor([[0.1], [1.0], [300.0]])
    with pytest.raises(RuntimeError, match="must match") as caught:
        solve(decay, torch.ones(3, 1), (0.0, 1.0), rates, batched=True)
    assert "2 of 3 samples" in caught.value.__notes__[0]
    with pytest.raises(ValueError, match=r"for 1 of 2 samples \(mark .* per_sample"):
        solve(decay, torch.ones(2, 1), (0.0, 1.0), rates[1:], batched=True)


NET = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Softplus(), torch.nn.Linear(4, 2)).to(DTYPE)


def energy(x):
    return NET(x).square().sum(1) + x[:, 1] ** 2


def flow(x, **options):
    found = FFJORD(NET, 2, **options)(x, generator=torch.Generator().manual_seed(0))
    return torch.cat([part.flatten() for part in found])


@pytest.mark.parametrize(
    "f",
    [
        flow,
        lambda x: flow(x, trace=Hutchinson()),
        lambda x: FFJORD(NET, 2).log_prob(x),
        HamiltonianNN(energy),
        LagrangianNN(energy),
        lambda x: solve(lambda t, y, args: NET(y), x, (0.0, 1.0), solver=Rodas5P(), batched=True).ys,
        lambda x: solve(lambda t, y, args: -1e5 * y + NET(y), x, (0.0, 1.0), solver=SciPy("BDF"), batched=True).ys,
    ],
    ids=["ffjord", "hutchinson", "density", "hamiltonian", "lagrangian", "rodas", "scipy"],
)
@pytest.mark.parametrize("of_inference", [False, True])
def test_inference_mode_takes_nothing_away(f, of_inference):
    """In it `enable_grad` makes no tape: traces and forces were zero, without an error."""
    x = torch.tensor([[0.3, -0.4], [1.2, 0.7]], dtype=DTYPE)
    due = f(x).detach()
    with torch.inference_mode():
        given = x.clone() if of_inference else x
        found = f(given)
    assert torch.allclose(found, due, rtol=1e-9)
    with torch.no_grad():
        assert torch.allclose(f(given), due, rtol=1e-9)


@pytest.mark.parametrize(
    "options", [{"controller": PID(jump_ts=[])}, {"callbacks": Callback((), decay)}], ids=["jump_ts", "callbacks"]
)
def test_no_jumps_and_no_doses(options):
    ones = torch.ones(1)
    assert torch.equal(solve(decay, ones, (0.0, 1.0), 1.0, **options).ys, solve(decay, ones, (0.0, 1.0), 1.0).ys)


def test_no_samples():
    net = torch.nn.Linear(2, 2)
    solution = solve(lambda t, y, args: net(y), torch.zeros(0, 2), (0.0, 0.5, 1.0), batched=True)
    assert solution.ys.shape == (3, 0, 2)
    assert solution.stats.steps.shape == (0,)
    x = torch.zeros(0, 2, requires_grad=True)
    NeuralODE(net)(x).sum().backward()
    assert x.grad.shape == (0, 2)
    assert solve(native_decay, torch.zeros(0, 1), (0.0, 0.5, 1.0), 1.0, batched=True).ys.shape == (3, 0, 1)
    with pytest.raises(ValueError, match="no samples"):
        solve(lambda t, y, args: -y, torch.zeros(0, 2), (0.0, 1.0), batched=True, saveat=SaveAt(dense=True))


@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_no_numbers(shape):
    with pytest.raises(ValueError, match="one number at least"):
        solve(lambda t, y, args: -y, torch.zeros(shape), (0.0, 1.0), batched=len(shape) > 1)


@pytest.mark.parametrize("t", [0.5, [0.5]])
def test_the_slope_of_all_samples_at_one_time(t):
    y0 = torch.tensor([[1.0], [2.0]], dtype=DTYPE)
    solution = solve(decay, y0, (0.0, 1.0), 1.0, batched=True, controller=FINE, saveat=SaveAt(dense=True))
    assert torch.allclose(solution.derivative(t), -y0 * math.exp(-0.5), rtol=1e-5)


@pytest.mark.parametrize("span", [1e-300, 1e-12, 1e12, 1e300])
def test_spans(span):
    y = solve(lambda t, y, args: -y / span, torch.ones(1, dtype=DTYPE), (0.0, span / 2, span), controller=FINE).ys[:, 0]
    assert torch.allclose(y, torch.tensor([0.0, -0.5, -1.0], dtype=DTYPE).exp(), rtol=1e-7)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"dt0": -0.1}, ValueError, "dt0=-0.1: .* positive"),
        ({"dt0": 0.0}, ValueError, "dt0=0.0"),
        ({"dt0": math.nan}, ValueError, "dt0=nan"),
        ({"max_steps": 0}, ValueError, "max_steps=0"),
        ({"route": "nativ", "saveat": SaveAt(dense=True)}, ValueError, "route='nativ'"),
        ({"solver": Euler}, TypeError, r"solver=.*Euler.* an object like Tsit5\(\)"),
        ({"controller": 1e-3}, TypeError, "controller=0.001: pass an object like PID"),
        ({"saveat": [0.5]}, TypeError, r"saveat=\[0.5\]: .* name times in ts"),
        ({"adjoint": "backsolve"}, TypeError, "adjoint='backsolve'"),
        ({"ts": (1e6, 1e6 + 1), "solver": Euler(), "controller": Fixed(0.03)}, ValueError, "below what torch.float32"),
        ({"ts": 1.0}, TypeError, r"ts is 1.0: .*\(t0, t1\)"),
        ({"ts": (1e6, 1e6 + 1e-3)}, ValueError, "1000000 is followed by 1000000 in the state's torch.float32"),
    ],
    ids=str,
)
def test_odd_options_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        solve(decay, torch.ones(1), **{"ts": (0.0, 1.0), "args": 1.0, **options})
