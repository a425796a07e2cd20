"""What all layers have in common, and neural ODEs: closed forms, times, augmentation, options, bad input."""

import copy

import pytest
import torch
from diffeq_problems import DTYPE, tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, grad, vmap

from torchflux import Chain, Dense, load, save
from torchflux_diffeq import (
    FFJORD,
    PID,
    RK4,
    AugmentedNeuralODE,
    Backsolve,
    Discrete,
    Fixed,
    HamiltonianNN,
    Implicit,
    LagrangianNN,
    NeuralODE,
    Status,
    SteadyState,
    _together,
    append_time,
)

STEPS = {"solver": RK4(), "controller": Fixed(0.25)}


def net(nin, nout, *first):
    torch.manual_seed(nin + 10 * nout)
    return Chain(*first, Dense(nin, 5, torch.tanh), Dense(5, nout))


def lagrangian(**options):
    model = net(4, 1)
    return LagrangianNN(Chain(lambda x: (x[:, 2:] ** 2).sum(1, keepdim=True) + 0.2 * model(x)), **options)


def equilibrium(**options):
    model = net(8, 4, lambda z, x: torch.cat([0.3 * z, x], 1))
    return SteadyState(model, **options)


LAYERS = {
    "NeuralODE": lambda **options: NeuralODE(net(4, 4), **options),
    "NeuralODE of time": lambda **options: NeuralODE(net(5, 4, append_time), time=True, **options),
    "AugmentedNeuralODE": lambda **options: AugmentedNeuralODE(net(6, 6), 2, **options),
    "FFJORD": lambda **options: FFJORD(net(4, 4), 4, **options),
    "HamiltonianNN": lambda **options: HamiltonianNN(net(4, 1), **options),
    "LagrangianNN": lagrangian,
    "SteadyState": equilibrium,
}
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


def inputs(n=3, dtype=DTYPE):
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(0), dtype=dtype)


def exact(layer):
    """In float64, and as near to its own derivative as finite differences are."""
    if isinstance(layer, SteadyState):
        layer.options["adjoint"] = Implicit(1e-13, 1e-13)
    return layer.double()


def state(y):
    """What flows on: FFJORD gives a pair."""
    return torch.cat([part.reshape(len(part), -1) for part in y], 1) if isinstance(y, tuple) else y


@every_layer
def test_gradients(make):
    layer = exact(make(**STEPS))
    parameters = dict(layer.named_parameters())
    f = lambda x, *values: functional_call(layer, dict(zip(parameters, values, strict=True)), x)
    leaves = [x.detach().clone().requires_grad_() for x in (inputs(), *parameters.values())]
    assert gradcheck(f, leaves, fast_mode=True)


@pytest.mark.parametrize("adjoint", [Discrete(), Discrete(replay=True), Backsolve()], ids=str)
def test_parameters_that_functional_call_has_put_back(adjoint):
    """A gradient that calls the model again calls it with the parameters that the solution had."""
    layer = exact(LAYERS["NeuralODE"](solver=RK4(), controller=Fixed(1 / 300), adjoint=adjoint))  # several stretches
    changed = {name: (1.3 * x.detach()).requires_grad_() for name, x in layer.named_parameters()}
    loss = functional_call(layer, changed, inputs()).square().sum()
    found = torch.autograd.grad(loss, list(changed.values()))
    layer.load_state_dict(changed)
    due = torch.autograd.grad(layer(inputs()).square().sum(), list(layer.parameters()))
    assert all(torch.allclose(g, h, rtol=1e-8) for g, h in zip(found, due, strict=True))


@pytest.mark.parametrize("adjoint", [Discrete(), Discrete(replay=True)], ids=str)
def test_their_second_derivatives(adjoint):
    layer = exact(LAYERS["NeuralODE"](**STEPS, adjoint=adjoint))
    names = [name for name, _ in layer.named_parameters()]
    f = lambda *values: functional_call(layer, dict(zip(names, values, strict=True)), inputs()).square()
    assert gradgradcheck(f, [(1.3 * x.detach()).requires_grad_() for x in layer.parameters()], fast_mode=True)


@every_layer
def test_torch_func(make):
    layer = exact(make(**STEPS))
    parameters = {name: x.detach() for name, x in layer.named_parameters()}
    loss = lambda parameters, x: (state(functional_call(layer, parameters, x)) ** 2).sum()
    found = grad(loss)(parameters, inputs())
    due = torch.autograd.grad((state(layer(inputs())) ** 2).sum(), list(layer.parameters()), materialize_grads=True)
    assert all(torch.allclose(found[name], g, rtol=1e-9, atol=1e-12) for name, g in zip(found, due, strict=True))
    each = vmap(grad(loss), (None, 0))(parameters, inputs()[:, None])
    assert all(torch.allclose(each[name].sum(0), g, rtol=1e-9, atol=1e-12) for name, g in found.items())


@every_layer
def test_second_derivatives(make):
    layer = exact(make(**STEPS))
    x, v = inputs(2).requires_grad_(), inputs(4)[2:]
    gradient = lambda x: torch.autograd.grad(state(layer(x)).sin().sum(), x, create_graph=True)[0]
    found = torch.autograd.grad((gradient(x) * v).sum(), x)[0]
    difference = (gradient(x + 1e-5 * v) - gradient(x - 1e-5 * v)).detach() / 2e-5
    assert torch.allclose(found, difference, rtol=1e-6, atol=1e-8)


@every_layer
def test_a_batch_is_its_samples_and_float32_stays(make):
    layer = make()
    x = inputs(dtype=torch.float32)
    whole = state(layer(x))
    assert whole.dtype == torch.float32
    assert torch.allclose(whole, torch.cat([state(layer(one)) for one in x.split(1)]), rtol=1e-4, atol=1e-5)
    shared = layer.double()
    assert state(shared(x.double())).dtype == DTYPE


@every_layer
def test_it_is_a_module(make, tmp_path):
    model = Chain(Dense(2, 4), make(**STEPS), state)
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(1))
    other = copy.deepcopy(model)
    for p in other.parameters():
        p.data.normal_(generator=torch.Generator().manual_seed(2))
    assert not torch.allclose(other(x), model(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))
    save(tmp_path / "model.safetensors", model=model)
    for p in other.parameters():
        p.data.zero_()
    load(tmp_path / "model.safetensors", model=other)
    assert torch.equal(other(x), model(x))
    opt, before = torch.optim.SGD(model.parameters(), 0.1), model(x).square().mean()
    before.backward()
    opt.step()
    assert model(x).square().mean() < before


def test_a_linear_model_is_a_matrix_exponential():
    a = tensor(0.1, -0.9, 0.8, 0.2).reshape(2, 2)
    layer = NeuralODE(lambda y: y @ a.T, torch.linspace(0.0, 2.0, 5), controller=PID(1e-9, 1e-11))
    x = inputs()[:, :2]
    due = torch.stack([x @ torch.linalg.matrix_exp(t * a).T for t in torch.linspace(0.0, 2.0, 5)])
    assert torch.allclose(layer.trajectory(x), due, rtol=1e-7)
    assert torch.allclose(layer(x), due[-1], rtol=1e-7)
    assert torch.allclose(layer.trajectory(layer(x), (2.0, 0.0))[-1], x, rtol=1e-7)
    solution = layer.solve(x, controller=PID(1e-3, 1e-3))
    assert (solution.status == Status.SUCCESS).all()
    assert (solution.stats.evaluations < layer.solve(x).stats.evaluations).all()


def test_a_heavy_slope_has_the_same_gradient(monkeypatch):
    """Whether all steps' gradient is made at once depends on how much a slope multiplies."""
    layer, x = exact(LAYERS["NeuralODE"](**STEPS)), inputs(20)
    found = []
    for heavy in (0, 2**30):
        monkeypatch.setattr(_together, "HEAVY", heavy)
        loss = layer(x).square().mean()
        found.append(torch.autograd.grad(loss, list(layer.parameters())))
    assert all(torch.allclose(g, h, rtol=1e-10) for g, h in zip(*found, strict=True))


def test_the_time_goes_in_front():
    f = lambda t, y: (2 * t)[:, None] * torch.ones_like(y)
    assert torch.allclose(NeuralODE(f, time=True)(inputs()), inputs() + 1)
    image = torch.zeros(2, 3, 4, 4, dtype=DTYPE)
    assert torch.equal(append_time(tensor(1.0, 2.0), image)[:, 3], tensor(1.0, 2.0)[:, None, None].expand(2, 4, 4))
    shared = NeuralODE(lambda t, y: append_time(t, y)[:, :4], time=True, batched=False)
    assert torch.allclose(shared(inputs()), inputs() * torch.e, rtol=1e-5)


def test_the_end_is_learnt():
    ts = torch.nn.Parameter(tensor(0.0, 1.0))
    layer = NeuralODE(lambda y: y, ts, controller=PID(1e-9, 1e-11))
    layer(tensor(1.0)[:, None]).sum().backward()
    assert torch.allclose(ts.grad, tensor(-torch.e, torch.e), rtol=1e-7)
    assert "ts" in layer.state_dict()


def test_a_tree_flows():
    layer = NeuralODE(lambda y: {"x": y["v"], "v": -y["x"]}, (0.0, torch.pi))
    end = layer({"x": torch.ones(2, 1, dtype=DTYPE), "v": torch.zeros(2, 1, dtype=DTYPE)})
    assert torch.allclose(end["x"], -torch.ones(2, 1, dtype=DTYPE), atol=1e-5)


def test_only_an_augmented_one_learns_to_flip():
    """x -> -x has to cross itself in one dimension: Dupont et al. (2019), section 4.1."""
    torch.manual_seed(0)
    flow = AugmentedNeuralODE(Chain(Dense(2, 16, torch.tanh), Dense(16, 2)), 1, **STEPS)
    x = torch.linspace(-1.0, 1.0, 8)[:, None]
    opt = torch.optim.Adam(flow.parameters(), 0.05)
    for _ in range(60):
        opt.zero_grad()
        loss = (flow(x)[:, :1] + x).square().mean()
        loss.backward()
        opt.step()
    assert loss < 1e-3
    for _ in range(8):  # whatever the weights are, the order stays: no flow without the dimension is near
        plain = NeuralODE(Chain(Dense(1, 16, torch.tanh), lambda h: 3 * h, Dense(16, 1)))
        assert (plain(x).diff(dim=0) > 0).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: NeuralODE(torch.sin)(torch.zeros(3)), ValueError, r"\(3,\): the first axis is that of the samples"),
        (lambda: NeuralODE(torch.sin, rtol=1e-3), TypeError, "no option rtol"),
        (lambda: NeuralODE(torch.sin, (1.0,))(torch.zeros(2, 2)), ValueError, "followed by"),
        (lambda: NeuralODE(lambda y: y[:, :1])(torch.zeros(2, 2)), ValueError, r"shape \(2, 1\), its state \(2, 2\)"),
        (lambda: AugmentedNeuralODE(torch.sin, 0), ValueError, "use NeuralODE"),
        (lambda: AugmentedNeuralODE(torch.sin, 1)(torch.zeros(2)), ValueError, "first axis"),
        (lambda: HamiltonianNN(torch.sin)(torch.zeros(2, 3)), ValueError, "positions first"),
        (lambda: HamiltonianNN(torch.sin)(torch.zeros(2, 4)), ValueError, r"\(2, 4\) for 2 states: one number"),
        (lambda: LagrangianNN(lambda x: x.sum())(torch.zeros(2, 4)), ValueError, r"\(\) for 2 states: one number"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
