"""Chains of dense layers as machine code: every layer and activation against the module itself."""

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffeq_problems import DTYPE
from test_native import FINE, TIMES, compared, leaf, plain, same_solution  # noqa: F401 - a fixture
from torch import nn
from torch.nn.utils import prune

import torchflux
from torchflux import Chain, Dense
from torchflux_diffeq import (
    Bosh3,
    Fixed,
    Heun,
    NeuralODE,
    NotNative,
    _native_chain_text,
    autonomous,
    lower,
    native_source,
    solve,
)
from torchflux_diffeq._native_activations import exponential_text

pytest.importorskip("torchflux_zygote")
from torchflux_zygote import native
from torchflux_zygote._native._compile import compiled

ACTIVATIONS = {
    "tanh": torch.tanh, "F.tanh": F.tanh, "torchflux.tanh": torchflux.tanh, "Tanh": nn.Tanh(),
    "sigmoid": torch.sigmoid, "Sigmoid": nn.Sigmoid(), "relu": torch.relu, "ReLU": nn.ReLU(),
    "swish": torchflux.swish, "SiLU": nn.SiLU(), "softsign": F.softsign, "Softsign": nn.Softsign(),
    "leaky_relu": F.leaky_relu, "leakyrelu": torchflux.leakyrelu, "LeakyReLU": nn.LeakyReLU(0.2),
    "elu": F.elu, "ELU": nn.ELU(0.7), "softplus": F.softplus, "torchflux.softplus": torchflux.softplus,
    "Softplus": nn.Softplus(threshold=1.0), "sin": torch.sin, "cos": torch.cos, "Identity": nn.Identity(),
    "a lambda": lambda x: 0.3 * x * x - x,
}  # fmt: skip


def chain(*sizes, activation=torch.tanh, seed=0, **options):
    torch.manual_seed(seed)
    layers = [Dense(a, b, activation, **options) for a, b in pairwise(sizes)]
    return Chain(*layers[:-1], Dense(*sizes[-2:])).to(DTYPE)


def states(samples, n=2, seed=1):
    return torch.randn(samples, n, dtype=DTYPE, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def by_both(model, n=2, samples=2, ts=TIMES[:3], **options):
    y0 = states(samples, n)
    options = {"controller": Fixed(0.2), "batched": True, **options}
    return compared(autonomous(model), y0, ts, None, (y0, *model.parameters()), **options)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name, plain):  # noqa: F811
    """Behind a hidden layer, before all layers, and behind the last one."""
    f = ACTIVATIONS[name]
    torch.manual_seed(0)
    by_both(Chain(f, nn.Linear(2, 5), f, nn.Linear(5, 2), f).to(DTYPE), ts=TIMES[:2])


@pytest.mark.parametrize(
    "model",
    [
        chain(2, 6, 5, 4, 2),
        chain(2, 6, 2, bias=False),
        Chain(chain(2, 3, 2), nn.Sequential(nn.Tanh(), nn.Linear(2, 2)).to(DTYPE)),
        Chain(lambda y: y**3, Dense(2, 2, torch.tanh).to(DTYPE)),
        nn.Sequential(nn.Linear(2, 7), nn.Sigmoid(), nn.Softplus(), nn.Linear(7, 2, bias=False)).to(DTYPE),
        Chain(lambda y: y**2 - y),
    ],
    ids=["deep", "no bias", "nested", "one layer", "two activations", "no layer"],
)
def test_layers(model, plain):  # noqa: F811
    by_both(model)
    by_both(model, ts=-TIMES[:2])


def test_one_number_and_many(plain):  # noqa: F811
    by_both(chain(1, 4, 1), 1)
    by_both(chain(8, 5, 8), 8, 1)
    y0 = leaf(0.3, -0.4)
    model = chain(2, 4, 2)
    compared(autonomous(model), y0, TIMES, None, (y0, *model.parameters()), controller=FINE)


def test_machine_code():
    """The demonstration of torchdiffeq, in both dtypes."""
    model = Chain(lambda y: y**3, *chain(2, 50, 2))
    by_both(model, samples=20, controller=FINE, solver=Bosh3())
    y0, f = states(20).float(), autonomous(model.float())
    found, expected = (
        solve(f, y0, TIMES.float(), controller=Fixed(0.1), solver=Heun(), batched=True, route=route)
        for route in ("native", "torch")
    )
    assert found.ys.dtype == torch.float32
    same_solution(found, expected, 1e-5)
    grads = [torch.autograd.grad(s.ys.square().mean(), list(model.parameters())) for s in (found, expected)]
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-5)


def test_finite_differences(plain):  # noqa: F811
    """By every weight: of fixed steps, so that the computed function is smooth."""
    model, y0 = chain(2, 3, 3, 2), states(2)
    weights = tuple(p.detach().clone().requires_grad_() for p in model.parameters())
    names = [name for name, _ in model.named_parameters()]

    def run(y0, *weights):
        for name, p in zip(names, weights, strict=True):
            layer, _, kind = name.rpartition(".")
            model.get_submodule(layer)._parameters[kind] = p
        options = {"controller": Fixed(0.25), "solver": Heun(), "batched": True}
        return solve(autonomous(model), y0, TIMES[:3], route="native", **options).ys

    assert torch.autograd.gradcheck(run, (y0, *weights), eps=1e-6, rtol=1e-6)


def test_gradients_do_not_depend_on_the_threads(plain, monkeypatch):  # noqa: F811
    monkeypatch.setattr("torchflux_diffeq._native_operation.WORTH_THREADS", 0.0)
    model, y0, threads, found = chain(2, 3, 2), states(70), torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            ys = solve(autonomous(model), y0, TIMES[:2], batched=True, route="native").ys
            found.append((ys, *torch.autograd.grad(ys.square().sum(), [y0, *model.parameters()])))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_second_derivatives(plain):  # noqa: F811
    model, y0, found = chain(2, 3, 2), states(3), []
    for route in ("native", "torch"):
        ys = solve(autonomous(model), y0, TIMES[:3], controller=Fixed(0.2), batched=True, route=route).ys
        inputs = [y0, *model.parameters()]
        first = torch.autograd.grad(ys.square().sum(), inputs, create_graph=True)
        found.append((*first, *torch.autograd.grad(sum(x.square().sum() for x in first), inputs)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)


def test_a_wrong_pullback_is_found(plain, monkeypatch):  # noqa: F811
    """The canary: cotangents that pass an activation as if it were linear."""
    right = _native_chain_text._Text.final_back
    wrong = lambda *args: [args[0].lines.append(""), right(*args), args[0].lines.__setitem__(
        slice(None), [line.replace(") * steep0[j]", ")") for line in args[0].lines]
    )][1]  # fmt: skip
    monkeypatch.setattr(_native_chain_text._Text, "final_back", wrong)
    with pytest.raises(AssertionError, match="not close"):
        by_both(chain(2, 6, 2))


@pytest.mark.parametrize("double", [True, False])
def test_accuracy(double):
    """Units in the last place, against NumPy's extended precision on a dense grid."""
    dtype = np.float64 if double else np.float32
    jit = '@numba.njit(error_model="numpy", fastmath=False)'
    loop = """
def fill(x, a, b, c):
    for i in range(x.shape[0]):
        a[i], b[i], c[i] = fast_tanh(x[i]), fast_sigmoid(x[i]), fast_exp(x[i])
"""
    head = f"{jit}\ndef number(x):\n    return x\n\nT = np.{np.dtype(dtype).name}\n"
    fill = compiled(f"{head}{exponential_text(double, jit)}\n{jit}{loop}", "fill")
    x = np.concatenate([np.linspace(-80.0, 80.0, 100_001), np.linspace(-2, 2, 50_001), np.logspace(-30, 0, 2_000)])
    x = x.astype(dtype)
    found = [np.empty_like(x) for _ in range(3)]
    fill(x, *found)
    wide = x.astype(np.longdouble)
    for y, expected in zip(found, (np.tanh(wide), 1 / (1 + np.exp(-wide)), np.exp(wide)), strict=True):
        ulps = np.abs(y.astype(np.longdouble) - expected) / np.spacing(np.abs(expected).astype(dtype))
        assert float(ulps.max()) < 4.0
    special = np.array([0.0, -0.0, math.inf, -math.inf, math.nan], dtype)
    found = [np.empty_like(special) for _ in range(3)]
    fill(special, *found)
    np.testing.assert_array_equal(found[0], np.tanh(special))
    np.testing.assert_allclose(found[1], [0.5, 0.5, 1.0, 0.0, math.nan], atol=1e-30)
    assert np.signbit(found[0][1])


# The choice.


class Doubled(nn.Linear):
    def forward(self, x):
        return 2.0 * super().forward(x)


class Scaled:
    def __init__(self, scale):
        self.scale = scale

    def activation(self, x):
        return self.scale * x * x


def hooked(register):
    model = chain(2, 3, 2)
    getattr(model[0], register)(lambda module, *args: None)
    return model


def patched():
    model = chain(2, 3, 2)
    given = model[1].forward
    model[1].forward = lambda x: 2.0 * given(x)
    return model


def parametrized(wrap):
    return nn.Sequential(wrap(nn.Linear(2, 3)), nn.Tanh(), nn.Linear(3, 2)).to(DTYPE)


REFUSED = {
    "no layer of the table": (Chain(nn.Linear(2, 2), nn.BatchNorm1d(2).eval()).to(DTYPE), "BatchNorm1d"),
    "dropout": (Chain(*chain(2, 3, 2), nn.Dropout(0.5)), "Dropout"),
    "a sum": (Chain(lambda y: y - y.sum(), *chain(2, 3, 2)), "function of a number"),
    "a shape": (Chain(lambda y: y * y.shape[-1], *chain(2, 3, 2)), "function of a number"),
    "another of tensors": (Chain(lambda y: 2.0 * y if isinstance(y, torch.Tensor) else y, *chain(2, 3, 2)), "another"),
    "a tensor within": (Chain(partial(torch.add, torch.ones(2)), *chain(2, 3, 2)), "no dense layer"),
    "forward hook": (hooked("register_forward_hook"), "hooks"),
    "forward pre-hook": (hooked("register_forward_pre_hook"), "hooks"),
    "backward hook": (hooked("register_full_backward_hook"), "hooks"),
    "backward pre-hook": (hooked("register_full_backward_pre_hook"), "hooks"),
    "a forward of its own": (patched(), "forward of its own"),
    "a subclass": (Chain(Doubled(2, 3), nn.Linear(3, 2)).to(DTYPE), "Doubled"),
    "weight norm": (parametrized(nn.utils.parametrizations.weight_norm), "ParametrizedLinear"),
    "pruned": (parametrized(lambda layer: prune.l1_unstructured(layer, "weight", 0.5)), "hooks"),
    "no module": (lambda y: -y.flip(-1) * y, "function of a number"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_lowered_goes_by_torch(name, plain):  # noqa: F811
    """What a layer computes may be more than its class says: then it is PyTorch's, and the refusal says why."""
    model, why = REFUSED[name]
    y0, options, found = states(2), {"controller": Fixed(0.05), "batched": True}, []
    for f in (autonomous(model), lambda t, y, args: model(y)):
        torch.manual_seed(3)
        found.append(solve(f, y0, (0.0, 0.1), **options))
        assert found[-1].route == "torch"
    torch.testing.assert_close(found[0].ys, found[1].ys)
    with pytest.raises(NotNative, match=why):
        solve(autonomous(model), y0, (0.0, 0.1), route="native", **options)


def test_a_hook_of_all_modules(plain):  # noqa: F811
    handle = nn.modules.module.register_module_forward_hook(lambda module, args, y: 2.0 * y)
    try:
        assert solve(autonomous(chain(2, 3, 2)), states(2), (0.0, 0.1), batched=True).route == "torch"
    finally:
        handle.remove()


def test_states_that_do_not_fit(plain):  # noqa: F811
    run = lambda model, y0: solve(autonomous(model), y0, (0.0, 1.0), batched=True, route="native")
    with pytest.raises(NotNative, match="up to 8 numbers"):
        run(chain(9, 3, 9), states(1, 9))
    with pytest.raises(NotNative, match="gets 3"):
        run(chain(2, 3, 3), states(1, 3))
    with pytest.raises(NotNative, match="on the CPU, a weight is"):
        run(chain(2, 3, 2).float(), states(1))
    with pytest.raises(NotNative, match="one axis"):
        run(Chain(lambda y: y if y > 0.0 else 2.0 * y, *chain(2, 3, 2)), states(1))
    with pytest.raises(NotNative, match="autocast"), torch.autocast("cpu"):
        run(chain(2, 3, 2), states(1))


def test_weights_of_any_form(plain):  # noqa: F811
    """Shared by two layers, frozen, and not in a row."""
    model = chain(2, 3, 3, 3, 2)
    model[2].weight, model[2].bias = model[1].weight, model[1].bias
    by_both(model)
    model[0].weight.requires_grad_(False)
    y0, model[3].weight = states(2), nn.Parameter(torch.randn(3, 2, dtype=DTYPE).t())
    wanted = (y0, *(p for p in model.parameters() if p.requires_grad))
    compared(autonomous(model), y0, TIMES[:3], None, wanted, controller=Fixed(0.2), batched=True)


def test_weights_that_are_lent(plain):  # noqa: F811
    """`functional_call` puts other tensors in the parameters' places for the length of a call."""
    layer = NeuralODE(chain(2, 3, 2), controller=Fixed(0.2))
    lent = {name: (2.0 * p).detach().requires_grad_() for name, p in layer.named_parameters()}
    x, found = states(3), []
    for route in ("native", "torch"):
        layer.options = {**layer.options, "route": route}
        y = torch.func.functional_call(layer, lent, (x,))
        found.append((y, *torch.autograd.grad(y.square().sum(), [x, *lent.values()])))
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-11)


def test_weights_changed_before_the_gradient(plain):  # noqa: F811
    model = chain(2, 3, 2)
    y = solve(autonomous(model), states(2), (0.0, 0.5), batched=True, route="native").ys
    with torch.no_grad():
        model[0].weight.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_a_chain_that_changes_is_read_again(plain):  # noqa: F811
    scale, own = 1.0, Scaled(2.0)
    model, y0 = Chain(lambda y: scale * y, own.activation, *chain(2, 3, 2)), states(2)
    f = autonomous(model)

    def agree():
        run = lambda route: solve(f, y0, (0.0, 0.5), controller=Fixed(0.25), batched=True, route=route).ys
        torch.testing.assert_close(run("auto"), run("torch"))

    agree()
    scale = 3.0
    agree()
    own.scale = -1.0
    agree()
    with torch.no_grad():
        model[2].weight.mul_(2.0)
    agree()
    model[2].weight = nn.Parameter(-model[2].weight.detach())
    agree()
    model[2].activation = torch.sigmoid
    agree()
    model[2].register_forward_hook(lambda module, args, y: 2.0 * y)
    agree()


def test_neural_ode_layer(plain):  # noqa: F811
    model, x = chain(2, 3, 2), states(4)
    layer = NeuralODE(model, controller=FINE)
    assert layer.solve(x).route == "native"
    assert layer.solve(x, route="torch").route == "torch"
    torch.testing.assert_close(layer(x), NeuralODE(model, controller=FINE, route="torch")(x), rtol=1e-10, atol=1e-10)


def test_a_universal_differential_equation(plain):  # noqa: F811
    torch.manual_seed(0)
    model = Chain(lambda y: y * y, nn.Sequential(nn.Linear(2, 4), nn.Softplus(), nn.Linear(4, 2, bias=False))).to(DTYPE)
    net, weights = lower(model)
    assert all(a is b for a, b in zip(weights, model.parameters(), strict=True))

    @native
    def slope(t, y, args):
        rate, weights = args
        return rate[0] * y + net(y, weights)

    y0, rate = leaf(0.7, 0.2), leaf(-0.5)
    compared(slope, y0, TIMES[:2], (rate, weights), (y0, rate, *weights), controller=Fixed(0.2), solver=Heun())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_lowered_functions_are_the_chain(name):
    """As plain NumPy, from few numbers to many, to many, to few, to few."""
    torch.manual_seed(0)
    f, sizes = ACTIVATIONS[name], (3, 10, 9, 2, 2)
    model = Chain(*(layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), f))).to(DTYPE)
    net, weights = lower(model)
    x = torch.tensor([0.3, -0.7, 1.1], dtype=DTYPE)
    found = net.function(x.numpy(), tuple(w.detach().numpy() for w in weights))
    torch.testing.assert_close(torch.as_tensor(found), model(x).detach(), rtol=1e-12, atol=1e-13)


def test_lowered_functions_as_machine_code():
    torch.manual_seed(0)
    model = Chain(nn.Linear(3, 10), F.elu, nn.Linear(10, 9), F.silu, nn.Linear(9, 2), torch.sin, nn.Linear(2, 2, False))
    net, weights = lower(model.to(DTYPE))
    x = leaf(0.3, -0.7, 1.1)
    found, expected = (torch.autograd.grad(y.square().sum(), [x, *weights]) for y in (net(x, weights), model(x)))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_lowered_functions_take_weights_of_their_shape():
    net, weights = lower(chain(2, 3, 2))
    x, *weights = (w.detach().numpy() for w in (leaf(0.3, 0.4), *weights))
    wide, short = (np.ones((3, 4)), *weights[1:]), (weights[0], np.ones(1), *weights[2:])
    for wrong in (wide, short):
        with pytest.raises(ValueError, match="lower it again"):
            net.function(x, wrong)
    with pytest.raises(ValueError, match="another length than the network takes"):
        net.function(np.ones(3), weights)


def test_the_source_can_be_read():
    text = native_source(autonomous(chain(2, 3, 2)), states(1), batched=True, what="sweep")
    compile(text, "sweep", "exec")
    assert "v = b0[i] + w0[0, i] * y_0 + w0[1, i] * y_1" in text
