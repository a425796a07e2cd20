"""Containers: what they compute, how they read, and that anything callable is a layer that trains."""

import copy
import functools

import pytest
import torch
from torch import nn
from torch.func import functional_call

from torchflux import Chain, Dense, Maxout, PairwiseFusion, Parallel, SkipConnection, activations, trainables, treelike


@pytest.fixture
def x():
    return torch.randn(3, 2, generator=torch.Generator().manual_seed(0))


def affine():
    w, b = nn.Parameter(torch.full((2,), 2.0)), nn.Parameter(torch.ones(2))
    return lambda x: w * x + b


def residual(n=2):
    layer = nn.Linear(n, n)

    def add(x):
        return layer(x) + x

    return add


@treelike
class Shift:
    by: torch.Tensor

    def __call__(self, x):
        return x + self.by


# Chain


def test_a_chain_calls_its_layers_in_order():
    model = Chain(lambda x: x + 1, lambda x: 2 * x, str)
    assert model(3) == "8"


def test_any_callable_is_a_layer(x):
    model = Chain(Dense(2, 2), nn.Linear(2, 2), torch.relu, functools.partial(torch.mul, 3.0), x.add, Shift(x), abs)
    y = model[1](model[0](x)).relu() * 3 + 2 * x
    torch.testing.assert_close(model(x), y.abs())


def test_several_inputs_all_go_to_the_first_layer(x):
    model = Chain(lambda a, b, c: a + 10 * b + 100 * c, lambda y: 2 * y)
    torch.testing.assert_close(model(x, x, x), 222 * x)


def test_the_empty_chain_is_the_identity(x):
    assert Chain()(x) is x
    assert len(Chain()) == 0
    assert list(Chain()) == list(Chain().state_dict()) == []


def test_the_empty_chain_returns_all_that_it_is_given(x):
    assert Chain()(x, 2) == (x, 2)


def test_layers_are_named_by_keyword(x):
    model = Chain(encoder=Dense(2, 3), act=torch.relu, decoder=Dense(3, 2))
    assert model.encoder is model["encoder"] is model[0]
    assert model.keys() == ("encoder", "act", "decoder")
    assert list(model.state_dict()) == ["encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"]
    torch.testing.assert_close(model(x), model.decoder(model.encoder(x).relu()))


def test_a_chain_reads_like_the_list_of_its_layers():
    layers = [Dense(2, 3), torch.relu, nn.Linear(3, 1)]
    model = Chain(*layers)
    assert len(model) == 3
    assert all(a is b for a, b in zip(model, layers, strict=True))
    assert all(model[i] is layers[i] for i in range(-3, 3))
    assert layers[0] in model
    with pytest.raises(IndexError, match="no 3 in Chain"):
        model[3]


@pytest.mark.parametrize("key", [slice(1), slice(1, None), slice(None, None, 2), slice(-1, None), slice(0, 0)])
def test_a_slice_is_a_chain_that_shares_the_layers(key, x):
    layers = [Dense(2, 2), torch.relu, Dense(2, 2)]
    sliced = Chain(*layers)[key]
    assert type(sliced) is Chain
    assert all(a is b for a, b in zip(sliced, layers[key], strict=True))
    assert sliced.keys() == tuple(str(i) for i in range(len(layers[key])))
    torch.testing.assert_close(sliced(x), functools.reduce(lambda y, layer: layer(y), layers[key], x))


def test_a_slice_of_a_named_chain_keeps_the_names():
    model = Chain(a=Dense(2, 2), b=torch.relu, c=Dense(2, 2))
    assert model[1:].keys() == ("b", "c")
    assert model[1:].c is model.c


def test_a_chain_unpacks_into_another(x):
    tower = Chain(Dense(2, 2), torch.relu)
    model = Chain(*tower, Dense(2, 1))
    assert model[0] is tower[0]
    torch.testing.assert_close(model(x), model[2](tower(x)))


def test_state_dict_keys_are_those_of_sequential_and_load_strictly(x):
    ours = Chain(Dense(2, 3), torch.relu, nn.BatchNorm1d(3), Chain(Dense(3, 1)))
    theirs = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.BatchNorm1d(3), nn.Sequential(nn.Linear(3, 1)))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict(), strict=True)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((3,), "Chain takes callables; .*0.* is 3"),
        ((torch.relu, None), "1.* is None"),
        (([torch.relu],), r"unpack .*with \*"),
        (((torch.relu,),), r"unpack .*with \*"),
    ],
)
def test_what_cannot_be_called_is_refused(given, says):
    with pytest.raises(TypeError, match=says):
        Chain(*given)


def test_layers_are_given_by_position_or_by_name():
    with pytest.raises(TypeError, match="by position or by name, not both"):
        Chain(torch.relu, head=torch.relu)


def test_a_name_that_modules_use_is_refused():
    with pytest.raises(ValueError, match="'forward' can't name a part of Chain"):
        Chain(forward=torch.relu)


def test_a_replaced_layer_takes_effect(x):
    model = Chain(Dense(2, 2), torch.relu)
    setattr(model, "0", nn.Identity())
    torch.testing.assert_close(model(x), x.relu())
    setattr(model, "1", torch.neg)
    torch.testing.assert_close(model(x), -x)
    assert model[1] is torch.neg


def test_a_module_replaces_a_function(x):
    model = Chain(Dense(2, 2), torch.relu)
    setattr(model, "1", Dense(2, 1))
    assert list(model.state_dict())[-1] == "1.bias"
    assert model(x).shape == (3, 1)


def test_a_chain_of_lambdas_compiles_to_one_graph(x):
    model = Chain(Dense(2, 3, torch.tanh), lambda x: 2 * x, residual(3), Dense(3, 1))
    torch.testing.assert_close(torch.compile(model, backend="aot_eager", fullgraph=True)(x), model(x))


def test_activations_are_the_results_of_all_layers(x):
    model = Chain(Dense(2, 3), torch.relu, Dense(3, 1))
    first, second, third = activations(model, x)
    torch.testing.assert_close(first, model[0](x))
    torch.testing.assert_close(second, first.relu())
    torch.testing.assert_close(third, model(x))
    assert activations(Chain(), x) == ()


# Closures as layers


@pytest.mark.parametrize(("make", "keys"), [(affine, {"0.w", "0.b"}), (residual, {"0.layer.weight", "0.layer.bias"})])
def test_the_parameters_of_a_closure_are_the_chains(make, keys):
    model = Chain(make(), torch.relu)
    assert set(model.state_dict()) == {path for path, _ in trainables(model, path=True)} == keys


def test_a_closure_as_a_layer_trains(x):
    model = Chain(affine())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model(x).sum().backward()
    optimiser.step()
    w, b = 2 - 0.1 * x.sum(0), 1 - 0.1 * torch.full((2,), 3.0)
    torch.testing.assert_close(model(x).detach(), w * x + b)


@pytest.mark.parametrize("make", [affine, residual])
def test_functional_call_sees_values_swapped_into_a_closure(make, x):
    model = Chain(make(), torch.relu)
    new = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    torch.testing.assert_close(functional_call(model, new, (x,)), torch.zeros_like(x) if make is affine else x.relu())


def test_a_loaded_closure_computes_with_the_loaded_values(x):
    model = Chain(affine())
    model.load_state_dict({"0.w": torch.zeros(2), "0.b": torch.full((2,), 5.0)}, strict=True)
    torch.testing.assert_close(model(x), torch.full((3, 2), 5.0))


def test_a_closure_that_stands_twice_trains_once(x):
    f = affine()
    model = Chain(f, f)
    assert len(trainables(model)) == len(list(model.parameters())) == 2
    torch.testing.assert_close(model(x), 2 * (2 * x + 1) + 1)


def renamed(name):
    namespace = {}
    exec(f"def make({name}):\n    return lambda x: {name}(x) + 1", namespace)
    return namespace["make"]


@pytest.mark.parametrize("name", ["layer", "function", "held", "call", "_x"])
def test_the_name_of_a_closures_variable_does_not_matter(name, x):
    layer = nn.Linear(2, 2)
    torch.testing.assert_close(Chain(renamed(name)(layer))(x), layer(x) + 1)


def test_a_closure_moves_to_another_dtype_with_its_chain(x):
    assert Chain(affine()).to(torch.float64)(x.double()).dtype == torch.float64


def test_a_deep_copy_of_a_chain_with_a_closure_trains_apart(x):
    model = Chain(residual())
    y, twin = model(x).detach(), copy.deepcopy(model)
    with torch.no_grad():
        for p in twin.parameters():
            p.zero_()
    torch.testing.assert_close(model(x), y)
    torch.testing.assert_close(twin(x), x)


# Parallel


def test_one_input_goes_to_every_layer(x):
    torch.testing.assert_close(Parallel(torch.sub, torch.sin, torch.cos)(x), x.sin() - x.cos())
    assert Parallel(lambda *ys: len(ys), *[torch.sin] * 5)(x) == 5


def test_several_inputs_go_to_one_layer_each(x):
    torch.testing.assert_close(Parallel(torch.sub, torch.sin, torch.cos)(x, 2 * x), x.sin() - (2 * x).cos())


def test_a_single_layer_takes_every_input_in_turn(x):
    torch.testing.assert_close(Parallel(torch.sub, torch.sin)(x, 2 * x), x.sin() - (2 * x).sin())
    torch.testing.assert_close(Parallel(torch.neg, torch.sin)(x), -x.sin())


def test_the_layers_of_parallel_are_named_and_its_connection_trains(x):
    model = Parallel(nn.Bilinear(2, 2, 1), left=Dense(2, 2), right=nn.Identity())
    assert model.left is model[0] is model["left"]
    assert len(model) == 2
    assert {k.split(".")[0] for k in model.state_dict()} == {"left", "connection"}
    torch.testing.assert_close(model(x, 2 * x), model.connection(model.left(x), 2 * x))


# PairwiseFusion


def test_pairwise_fusion_is_the_recurrence_of_its_definition(x):
    f, g, h = torch.sin, torch.cos, torch.exp
    x1, x2, x3 = x, 2 * x, 3 * x
    y1 = f(x1)
    y2 = g(y1 * x2)
    y3 = h(y2 * x3)
    torch.testing.assert_close(PairwiseFusion(torch.mul, f, g, h)(x1, x2, x3), (y1, y2, y3))


def test_one_input_of_pairwise_fusion_stands_for_all(x):
    model = PairwiseFusion(torch.mul, torch.sin, torch.cos)
    torch.testing.assert_close(model(x), model(x, x))
    torch.testing.assert_close(PairwiseFusion(torch.mul, torch.sin)(x), (x.sin(),))


@pytest.mark.parametrize("container", [Parallel, PairwiseFusion])
@pytest.mark.parametrize(("layers", "inputs"), [(2, 3), (3, 2), (2, 0)])
def test_a_wrong_number_of_inputs_is_refused_with_both_numbers(container, layers, inputs, x):
    model = container(torch.add, *[torch.sin] * layers)
    with pytest.raises(ValueError, match=rf"(?=.*{container.__name__})(?=.*\b{layers}\b)(?=.*\b{inputs}\b)"):
        model(*[x] * inputs)


@pytest.mark.parametrize("container", [Parallel, PairwiseFusion])
def test_a_container_without_layers_is_refused_when_called(container, x):
    with pytest.raises(ValueError, match=container.__name__):
        container(torch.add)(x)


# SkipConnection


def test_a_skip_connection_connects_result_and_input_in_this_order(x):
    torch.testing.assert_close(SkipConnection(torch.sin, torch.sub)(x), x.sin() - x)
    model = SkipConnection(Chain(Dense(2, 2), torch.relu), lambda y, x: torch.cat([y, x], -1))
    torch.testing.assert_close(model(x)[:, 2:], x)
    assert list(model.state_dict()) == ["layer.0.weight", "layer.0.bias"]


# Maxout


def test_maxout_is_the_elementwise_maximum(x):
    torch.testing.assert_close(Maxout(torch.sin, torch.cos, torch.neg)(x), x.sin().maximum(x.cos()).maximum(-x))
    torch.testing.assert_close(Maxout(torch.sin)(x), x.sin())


def test_maxout_makes_its_layers_apart():
    model = Maxout(lambda: Dense(2, 3), 4)
    assert len(model) == 4
    assert len({id(p) for p in model.parameters()}) == 8


def test_the_gradient_of_maxout_goes_to_the_largest(x):
    x = x.clone().requires_grad_()
    Maxout(lambda x: 2 * x, lambda x: -3 * x)(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.where(x.detach() > 0, 2.0, -3.0))


# All


@pytest.mark.parametrize(
    "make",
    [
        lambda f: Chain(f, torch.relu),
        lambda f: Parallel(torch.add, f, torch.relu),
        lambda f: Parallel(lambda a, b: f(a) + b, torch.sin, torch.cos),
        lambda f: PairwiseFusion(torch.add, f, torch.relu),
        lambda f: SkipConnection(f, torch.add),
        lambda f: Maxout(f, torch.relu),
    ],
    ids=["Chain", "Parallel", "connection", "PairwiseFusion", "SkipConnection", "Maxout"],
)
def test_every_container_passes_gradients_to_a_closure_and_its_copy_computes_the_same(make, x):
    model = make(affine())
    y = model(x)
    assert all(g.any() for g in torch.autograd.grad(sum(t.sum() for t in flat(y)), list(model.parameters())))
    assert len(list(model.parameters())) == 2
    torch.testing.assert_close(copy.deepcopy(model)(x), y)
    assert not any(m.training for m in model.eval().modules())


def flat(y):
    return y if isinstance(y, tuple) else (y,)


@pytest.mark.parametrize("container", [Parallel, PairwiseFusion, Maxout])
def test_other_containers_refuse_what_cannot_be_called(container):
    with pytest.raises(TypeError, match=f"{container.__name__} takes callables"):
        container(torch.add, torch.sin, 3.0)
