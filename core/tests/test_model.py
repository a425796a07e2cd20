"""Whole models: flattened, copied, listed, inspected."""

import copy

import pytest
import torch
from torch import nn
from torch.func import grad, vmap

from torchflux import Chain, Dense, destructure, freeze, gradient, loadmodel, modules, state, trainables, treelike


@treelike
class Shift:
    by: torch.Tensor
    count: torch.Tensor

    def __call__(self, x):
        return x + self.by


def closure(w):
    return lambda x: w * x


def mlp(dtype=torch.float64):
    torch.manual_seed(0)
    return Chain(Dense(2, 3, torch.tanh), Shift(torch.ones(3), torch.tensor(2)), Dense(3, 1)).to(dtype)


def tied():
    torch.manual_seed(0)
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    b.weight = a.weight
    return Chain(a, torch.tanh, b).double()


def is_near_finite_differences(f, x, slope, step=1e-6):
    differences = [(f(x + step * e) - f(x - step * e)) / (2 * step) for e in torch.eye(len(x), dtype=x.dtype)]
    return torch.allclose(torch.stack(differences), slope, rtol=1e-6, atol=1e-8)


@pytest.fixture
def x():
    return torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# destructure

MODELS = {
    "chain": mlp,
    "tied": tied,
    "module": lambda: nn.BatchNorm1d(2).double().eval(),
    "closure": lambda: closure(nn.Parameter(torch.ones(2, dtype=torch.float64))),
}
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())


@each_model
def test_destructure_makes_a_round_trip(make, x):
    model = make()
    flat, rebuild = destructure(model)
    torch.testing.assert_close(rebuild(flat)(x), model(x), rtol=0, atol=0)
    torch.testing.assert_close(destructure(rebuild(flat.detach()))[0], flat, rtol=0, atol=0)


@each_model
def test_the_vector_is_as_long_as_the_parameters_together(make):
    model = make()
    unique = {id(p): p.numel() for p in trainables(model)}
    assert destructure(model)[0].shape == (sum(unique.values()),)


def test_the_vector_holds_the_parameters_in_their_order():
    flat, _ = destructure({"a": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "b": torch.tensor(5.0), "c": torch.tensor(6)})
    assert flat.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_the_rebuilt_model_holds_the_vector():
    model = destructure(mlp())[1](torch.arange(16, dtype=torch.float64))
    torch.testing.assert_close(
        torch.cat([p.reshape(-1) for p in model.parameters()]).tolist(), [float(i) for i in range(16)]
    )


def test_the_original_is_unchanged(x):
    model = mlp()
    y = model(x)
    flat, rebuild = destructure(model)
    rebuild(torch.zeros_like(flat))
    torch.testing.assert_close(model(x), y, rtol=0, atol=0)
    assert all(isinstance(p, nn.Parameter) for p in model.parameters())


@each_model
def test_gradients_flow_from_the_rebuilt_model_into_the_vector(make, x):
    flat, rebuild = destructure(make())
    loss = lambda v: rebuild(v)(x).square().sum()
    (slope,) = gradient(loss, flat.detach())
    with torch.no_grad():
        assert is_near_finite_differences(loss, flat, slope)
        assert not is_near_finite_differences(loss, flat, 1.01 * slope)  # the check can fail
    torch.testing.assert_close(grad(loss)(flat.detach()), slope)


def test_gradients_flow_from_the_vector_into_the_parameters():
    model = mlp()
    weights = torch.arange(16, dtype=torch.float64)
    (destructure(model)[0] * weights).sum().backward()
    torch.testing.assert_close(torch.cat([p.grad.reshape(-1) for p in model.parameters()]), weights)


def test_gradients_flow_through_a_round_trip_into_the_parameters(x):
    model = mlp()
    flat, rebuild = destructure(model)
    through = torch.autograd.grad(rebuild(flat)(x).sum(), list(model.parameters()))
    torch.testing.assert_close(through, torch.autograd.grad(model(x).sum(), list(model.parameters())))


def test_tied_parameters_stand_in_the_vector_once_and_are_tied_in_every_rebuilt_model():
    flat, rebuild = destructure(tied())
    assert flat.shape == (8,)
    for vector in (flat, flat.detach(), torch.zeros_like(flat)):
        model = rebuild(vector)
        assert model[0].weight is model[2].weight
        assert len(trainables(model)) == 3


def test_every_part_has_its_own_dtype_again():
    model = nn.Sequential(nn.Linear(2, 2).half(), nn.Linear(2, 2), nn.Linear(2, 2).double())
    flat, rebuild = destructure(model)
    assert flat.dtype == torch.float64
    assert [p.dtype for p in rebuild(flat).parameters()] == [p.dtype for p in model.parameters()]


def test_what_is_frozen_and_buffers_are_not_in_the_vector_and_stay():
    model = mlp()
    freeze(model[0])
    flat, rebuild = destructure(model)
    assert flat.shape == (7,)
    assert rebuild(torch.zeros_like(flat))[0].weight is model[0].weight
    assert rebuild(torch.zeros_like(flat))[1].count == 2


def test_a_rebuilt_model_trains(x):
    flat, rebuild = destructure(mlp())
    model = rebuild(flat.detach().clone())
    torch.optim.SGD(model.parameters(), lr=0.1)
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("shape", [(15,), (17,), (16, 1), ()])
def test_a_vector_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"\(16,\)"):
        destructure(mlp())[1](torch.zeros(shape))


@pytest.mark.parametrize("model", [torch.relu, nn.ReLU(), {}, (1, "s"), torch.tensor([1])])
def test_a_model_without_parameters_has_nothing_to_flatten(model):
    with pytest.raises(ValueError, match="nothing to flatten"):
        destructure(model)


def test_many_models_are_run_at_once_with_vmap(x):
    flat, rebuild = destructure(mlp())
    vectors = torch.stack([flat.detach(), 2 * flat.detach(), torch.zeros_like(flat)])
    torch.testing.assert_close(vmap(lambda v: rebuild(v)(x))(vectors), torch.stack([rebuild(v)(x) for v in vectors]))


def test_gradients_flow_out_of_vmap_through_rebuilt_models(x):
    """Whether the vectors are differentiated on the tape or by grad: as one after the other."""
    flat, rebuild = destructure(mlp())
    out = lambda w: rebuild(w)(x).square().sum()
    vectors = torch.stack([flat.detach(), 2 * flat.detach(), flat.detach() - 1])
    due = torch.stack([torch.autograd.grad(out(w), w)[0] for w in vectors.requires_grad_().unbind()])
    (taped,) = torch.autograd.grad(vmap(out)(vectors).sum(), vectors)
    torch.testing.assert_close(taped, due)
    torch.testing.assert_close(grad(lambda v: vmap(out)(v).sum())(vectors.detach()), due)


# state and loadmodel


@pytest.mark.parametrize("make", [mlp, tied, lambda: nn.BatchNorm1d(2)])
def test_the_state_of_a_module_is_its_state_dict(make):
    model = make()
    ours, theirs = state(model), model.state_dict()
    assert list(ours) == list(theirs)
    assert all(ours[k].data_ptr() == theirs[k].data_ptr() and not ours[k].requires_grad for k in theirs)


def test_the_state_of_a_tree_has_every_tensor_by_path():
    model = {
        "a": [torch.ones(1), 3],
        "b": (nn.Linear(1, 1), torch.tensor(1)),
        "c": closure(nn.Parameter(torch.ones(1))),
    }
    assert list(state(model)) == ["a.0", "b.0.weight", "b.0.bias", "b.1", "c.w"]


@pytest.mark.parametrize("source", [lambda m: m, state, lambda m: m.state_dict()], ids=["model", "state", "state_dict"])
def test_a_loaded_model_is_the_same_object_with_the_values_of_the_source(source, x):
    a, b = mlp(), mlp()
    with torch.no_grad():
        b[0].weight.zero_()
    b[1].count.fill_(7)
    parameters = list(a.parameters())
    assert loadmodel(a, source(b)) is a
    torch.testing.assert_close(a(x), b(x), rtol=0, atol=0)
    assert a[1].count == 7
    assert all(p is q for p, q in zip(a.parameters(), parameters, strict=True))


def test_a_sequential_loads_into_a_chain():
    source = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.BatchNorm1d(3))
    model = loadmodel(Chain(Dense(2, 3), torch.tanh, nn.BatchNorm1d(3)), source)
    torch.testing.assert_close(model(torch.ones(2, 2)), source(torch.ones(2, 2)))


def test_a_tree_loads_from_a_tree_like_it():
    model = {"net": nn.Linear(1, 1), "scale": [torch.zeros(1)]}
    source = {"net": nn.Linear(1, 1), "scale": [torch.ones(1)]}
    loadmodel(model, source)
    assert torch.equal(model["net"].weight, source["net"].weight)
    assert model["scale"][0].tolist() == [1.0]


def test_loading_converts_to_the_dtype_of_the_model():
    model = loadmodel(nn.Linear(2, 2), nn.Linear(2, 2).double())
    assert model.weight.dtype == torch.float32


REFUSED = {
    "missing": (lambda: mlp(), lambda s: {k: v for k, v in s.items() if k != "1.by"}, r"missing: 1\.by"),
    "left over": (lambda: mlp(), lambda s: {**s, "3.weight": torch.ones(1)}, r"not in the model: 3\.weight"),
    "shape": (lambda: mlp(), lambda s: {**s, "1.by": torch.ones(4)}, r"1\.by: shape \(4,\), the model's is \(3,\)"),
    "tie": (lambda: tied(), lambda s: {**s, "2.weight": 2 * s["2.weight"]}, r"2\.weight and 0\.weight are tied"),
}


@pytest.mark.parametrize(("make", "spoil", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_a_source_that_does_not_fit_is_refused_and_the_model_is_unchanged(make, spoil, says):
    model = make()
    before = copy.deepcopy(model.state_dict())
    source = spoil({k: v + 1 for k, v in state(model).items()})
    with pytest.raises(ValueError, match=f"can't load into Chain:\n.*{says}"):
        loadmodel(model, source)
    for name, x in model.state_dict().items():
        assert torch.equal(x, before[name])


def test_all_that_does_not_fit_is_listed():
    with pytest.raises(ValueError, match=r"(?s)(?=.*missing: bias)(?=.*not in the model: b)(?=.*weight: shape)"):
        loadmodel(nn.Linear(2, 2), {"weight": torch.ones(3), "b": torch.ones(2)})


def test_a_tied_model_loads_from_a_source_that_agrees():
    model = loadmodel(tied(), {k: v + 1 for k, v in state(tied()).items()})
    assert model[0].weight is model[2].weight
    torch.testing.assert_close(model[0].weight.detach(), tied()[0].weight.detach() + 1)


def test_a_diverged_tied_model_makes_a_round_trip():
    model = tied()
    with torch.no_grad():
        model[0].weight.fill_(torch.nan)
    loadmodel(tied(), model)


# modules


def test_modules_are_all_modules_each_once_the_model_first():
    layer = nn.Linear(1, 1)
    model = Chain(layer, torch.relu, Chain(layer, nn.ReLU()))
    assert [type(m).__name__ for m in modules(model)] == ["Chain", "Linear", "Chain", "ReLU"]
    assert {id(m) for m in modules(model)} == {id(m) for m in model.modules()}


def test_modules_are_found_in_any_tree():
    layer = nn.Linear(1, 1)
    assert modules({"a": [layer, 3], "b": closure(layer)}) == [layer]
    assert modules(torch.relu) == modules(()) == []
