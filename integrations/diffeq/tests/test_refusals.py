"""Mistakes that show only on the way, and parameters that get no gradient: each is named. (Others: test_solve.)"""

import math
import warnings

import pytest
import torch
from diffeq_problems import tensor
from torch import nn

from torchflux import Chain, Dense
from torchflux_diffeq import (
    PID,
    Backsolve,
    BrownianTree,
    Callback,
    Discrete,
    Event,
    Fixed,
    Forward,
    HamiltonianNN,
    NeuralODE,
    SciPy,
    SolveError,
    UnreachedWarning,
    odeint,
    odeint_event,
    per_sample,
    solve,
    unreached,
)

Y = tensor(1.0, -0.5)
MATRIX = tensor(1.0, 2.0, 3.0, 4.0, 5.0, 6.0).view(3, 2)


def decay(t, y, args):
    return -y


@pytest.mark.parametrize(
    ("y0", "later", "error", "message"),
    [
        (Y, lambda y: y[:1], ValueError, r"f's slope has the shape \(1,\), its state \(2,\)"),
        (MATRIX, lambda y: y.T, ValueError, r"shape \(2, 3\), its state \(3, 2\)"),
        (Y, lambda y: y.float(), TypeError, "f's slope is torch.float32, its state torch.float64"),
        (Y, lambda y: (y, y), TypeError, r"a tuple of 2 for a state that is a tensor of shape \(2,\)"),
        ((Y, Y), lambda y: (y[0], y[1][:1]), ValueError, r"slope of '1' has the shape \(1,\)"),
        ((Y, Y), lambda y: (y[0].float(), y[1].float()), TypeError, "slope of '0' is torch.float32"),
        ((Y, Y), lambda y: y[0], TypeError, "a tensor of shape .* for a state that is a tuple of 2"),
    ],
)
def test_a_slope_that_is_another_one_later(y0, later, error, message):
    same = lambda y: tuple(-x for x in y) if isinstance(y, tuple) else -y
    with pytest.raises(error, match=message):
        solve(lambda t, y, args: same(y) if t < 0.5 else later(y), y0, (0.0, 1.0))


def test_misuse_is_named_at_once():
    wrong = [
        (lambda: solve(decay, Y.bfloat16(), (0.0, 1.0)), TypeError, "bfloat16.*y0.float"),
        (lambda: solve(decay, MATRIX, tensor(0.0, 1.0).expand(3, 2), batched=True), ValueError, "all samples share"),
        (lambda: Event(lambda t, y, args: y[0], direction="up"), ValueError, r"Event\(direction='up'\)"),
        (lambda: Callback(lambda t, y, args: y[0], decay, math.nan), ValueError, r"Callback\(direction=nan\)"),
        (lambda: PID(dtmax=-1.0), ValueError, r"PID\(dtmax=-1\.0\)"),
        (lambda: PID(safety=math.nan), ValueError, r"PID\(safety=nan\)"),
        (lambda: PID(factor_min=2.0), ValueError, "factors below and above 1"),
        (lambda: PID(factor_max=0.5), ValueError, "factors below and above 1"),
        (lambda: BrownianTree(1.5, 0.0, 1.0), ValueError, r"seed=1\.5"),
    ]
    for call, error, message in wrong:
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize("shape", [(), (1, 1), (4, 1)])
def test_per_sample_has_the_samples_of_the_state(shape):
    """One row would do for all samples until the first of them ends, and of four the first three would be taken."""
    args = {"rate": per_sample(torch.ones(shape))}
    with pytest.raises(ValueError, match=r"args\['rate'\] is per_sample and has the shape .*, for 3 samples"):
        solve(lambda t, y, args: -args["rate"] * y, torch.ones(3, 1), (0.0, 1.0), args, batched=True)


def test_an_event_within_rounding_of_the_start():
    fall = lambda t, y: torch.stack((y[1], torch.full_like(y[1], -9.8)))
    with pytest.raises(ValueError, match=r"-1e-06 at the start, t = 3, .* rounding of torch.float32"):
        odeint_event(fall, torch.tensor([-1e-6, 10.0]), torch.tensor(3.0), event_fn=lambda t, y: y[0])


def test_which_number_is_not_finite():
    y0 = {"a": torch.zeros(2), "b": torch.tensor([[1.0, 2.0], [float("inf"), float("nan")]])}
    with pytest.raises(ValueError, match=r"y0\['b'\] has NaN or inf in it, at \[1, 0\], and 1 more"):
        solve(lambda t, y, args: y, y0, (0.0, 1.0))


@pytest.mark.parametrize(("power", "words"), [(2, "t = 1, after.*singularity"), (40, "not finite.*blow up")])
def test_a_blow_up_says_when_and_what(power, words):
    with pytest.raises(SolveError, match=f"(?s){words}") as error:
        solve(lambda t, y, args: y**power, tensor(1.0), (0.0, 2.0), controller=Fixed(0.3) if power > 2 else None)
    assert error.value.solution.ys[-1].isnan()


class Decay(nn.Module):
    """Of its four parameters one is used, one isn't, one is detached and one frozen."""

    def __init__(self):
        super().__init__()
        self.rate, self.idle = nn.Parameter(tensor(0.7)), nn.Parameter(tensor(1.0))
        self.inner = nn.Linear(1, 1, dtype=torch.float64)
        self.frozen = nn.Parameter(tensor(1.0), requires_grad=False)
        self.inner.bias.requires_grad_(False)

    def forward(self, t, y, args=None):
        return -self.rate * y + 0.1 * self.inner.weight.detach()[0, 0]


@pytest.mark.parametrize(
    "options",
    [
        {"adjoint": Discrete()},
        {"adjoint": Discrete(replay=True), "controller": Fixed(0.0035)},
        {"adjoint": Discrete("tape", replay=True)},
        {"adjoint": Backsolve()},
        {"adjoint": Forward()},
        {"solver": SciPy("LSODA")},
    ],
    ids=str,
)
def test_parameters_without_a_gradient_are_named(options):
    f = Decay()
    with pytest.warns(UnreachedWarning, match=r"parameters of Decay that get no gradient.*: idle, inner\.weight\. Use"):
        ys = solve(f, Y, (0.0, 1.0), **options).ys
    ys.sum().backward()
    assert f.rate.grad is not None
    assert f.idle.grad is f.inner.weight.grad is None
    assert unreached(f, ys) == ["idle", "inner.weight"]


def test_a_slope_without_a_tape():
    class Cut(Decay):
        def forward(self, t, y, args):
            with torch.no_grad():
                return super().forward(t, y)

    with pytest.warns(UnreachedWarning, match=r"of Cut .*rate, idle, inner\.weight.*Cut\.forward.*no_grad"):
        solve(Cut(), Y, (0.0, 1.0))


def test_nothing_is_warned_of_where_nothing_is_wrong():
    """Frozen ones, no gradient asked for, a module that is only used, a slope that is a derivative, `odeint`."""
    f = Decay()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with torch.no_grad():
            solve(f, Y, (0.0, 1.0))
        torch.func.grad(lambda y: solve(f, y, (0.0, 1.0)).ys.sum())(Y)
        ys = solve(lambda t, y, args: f(t, y), Y, (0.0, 1.0)).ys
        odeint(f, Y, tensor(0.0, 1.0))
        HamiltonianNN(Chain(Dense(2, 4, torch.tanh), Dense(4, 1)))(torch.ones(1, 2))
        f.idle.requires_grad_(False)
        f.inner.weight.requires_grad_(False)
        solve(f, Y, (0.0, 1.0))
    assert unreached(f, ys) == []
    assert unreached(nn.Linear(1, 1), ys) == ["weight", "bias"]
    assert unreached(nn.Linear(1, 1), {"a": Y}) == ["weight", "bias"]


def test_the_layers_model():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, y):
            return self.used(y)

    with pytest.warns(UnreachedWarning, match=r"of Half that get no gradient.*idle\.weight, idle\.bias"):
        NeuralODE(Half())(torch.ones(3, 2))


class Hidden(torch.autograd.Function):
    """A product that is shown to nobody, as one in another language would be."""

    @staticmethod
    def forward(ctx, y, w):
        ctx.save_for_backward(y, w)
        with torch._C.DisableTorchFunction():
            return y * w

    @staticmethod
    def backward(ctx, g):
        y, w = ctx.saved_tensors
        return g * w, (g * y).sum().reshape(w.shape)


class Shown(Hidden):
    """The same, made of an operation of PyTorch."""

    @staticmethod
    def forward(ctx, y, w):
        ctx.save_for_backward(y, w)
        return y * w


def test_what_an_operation_within_a_function_uses_is_seen():
    w = tensor(-0.5).requires_grad_()
    y = solve(lambda t, y, args: Shown.apply(y, w), Y, (0.0, 1.0), adjoint=Backsolve()).ys[-1].sum()
    assert torch.allclose(torch.autograd.grad(y, w)[0], Y.sum() * w.detach().exp(), rtol=1e-5)


@pytest.mark.parametrize("adjoint", [Discrete(), Discrete(replay=True), Forward(), Backsolve()], ids=str)
def test_one_of_two_results_of_an_operation_does_not_stand_for_the_other(adjoint):
    """`a` is seen and `b` is hidden, and both came out of one `unbind`."""
    w = tensor(0.3, 0.4).requires_grad_()
    a, b = w.unbind()
    run = lambda: solve(lambda t, y, args: a * y + Hidden.apply(y, b), Y, (0.0, 1.0), adjoint=adjoint).ys[-1].sum()
    if isinstance(adjoint, Discrete):
        assert torch.allclose(torch.autograd.grad(run(), w)[0], Y.sum() * w.detach().sum().exp(), rtol=1e-5)
    else:
        with pytest.raises(ValueError, match="no operation shows"):
            run()


@pytest.mark.parametrize("adjoint", [Forward(), Backsolve()], ids=str)
def test_a_hidden_parameter_is_named(adjoint):
    net = nn.Sequential(nn.Linear(1, 1, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"f uses the parameter 0\.bias, which can be differentiated"):
        solve(lambda t, y, args: Hidden.apply(y, net[0].bias), Y, (0.0, 1.0), adjoint=adjoint)
    bare = tensor(1.0).requires_grad_()
    with pytest.raises(ValueError, match=r"f uses a tensor of shape \(1,\), which"):
        solve(lambda t, y, args: Hidden.apply(y, bare), Y, (0.0, 1.0), adjoint=adjoint)
