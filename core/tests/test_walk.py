"""The tree walk: what it finds, what it keeps, and what it makes again."""

import functools
from collections import OrderedDict, UserList, defaultdict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from torchflux import Chain, Dense, PathDict, children, fmap, freeze, leaves, rebuild, trainables, treelike

Pair = namedtuple("Pair", "x y")


@dataclass
class Point:
    x: Any
    label: str = "p"


@dataclass(frozen=True, slots=True)
class Fixed:
    x: Any
    n: int = 2


@dataclass
class NoInit:
    x: Any

    def __init__(self):
        pass


@treelike
class Branch:
    weight: torch.Tensor
    parts: tuple
    scale: float = 3.0

    def __call__(self, x):
        return self.scale * self.weight * x


def ones(n=2):
    return torch.ones(n)


def parameter(*values):
    return nn.Parameter(torch.tensor(values))


def closure(w):
    return lambda x: w * x


def power(w):
    def function(n, x):
        return x if n == 0 else function(n - 1, w * x)

    return function


def module():
    return nn.BatchNorm1d(2)


TREES = {
    "tensor": (ones, lambda t: [t]),
    "tuple": (lambda: (ones(), 3), lambda t: [t[0]]),
    "list": (lambda: [ones(), [ones(1), "s"]], lambda t: [t[0], t[1][0]]),
    "dict": (lambda: {"a": ones(), 5: {"b": ones(3)}}, lambda t: [t["a"], t[5]["b"]]),
    "OrderedDict": (lambda: OrderedDict(b=ones(), a=ones(1)), lambda t: [t["b"], t["a"]]),
    "defaultdict": (lambda: defaultdict(list, a=ones()), lambda t: [t["a"]]),
    "PathDict": (lambda: PathDict({"a.b": ones()}), lambda t: [t.a.b]),
    "namedtuple": (lambda: Pair(ones(), y=[ones(1)]), lambda t: [t.x, t.y[0]]),
    "dataclass": (lambda: Point(ones()), lambda t: [t.x]),
    "frozen dataclass with slots": (lambda: Fixed((ones(), None)), lambda t: [t.x[0]]),
    "module": (module, lambda t: [t.weight, t.bias, t.running_mean, t.running_var]),
    "nested modules": (lambda: nn.Sequential(nn.Linear(2, 1), module()), lambda t: [t[0].bias, t[1].running_var]),
    "treelike": (lambda: Branch(ones(), (ones(3), "s")), lambda t: [t.weight, t.parts[0]]),
    "module in a tree": (lambda: {"net": (nn.Linear(2, 1), 3)}, lambda t: [t["net"][0].weight]),
    "closure": (lambda: closure(parameter(1.0, 2.0)), lambda t: [t(torch.ones(2)).detach()]),
    "bound method": (lambda: nn.Linear(2, 2, bias=False).forward, lambda t: [t(torch.eye(2)).detach()]),
    "partial of a closure": (lambda: functools.partial(closure(parameter(1.0)), ones(1)), lambda t: [t().detach()]),
    "partial of a function": (lambda: functools.partial(torch.mul, parameter(2.0)), lambda t: [t(ones(1)).detach()]),
}
each_tree = pytest.mark.parametrize(("make", "read"), TREES.values(), ids=TREES.keys())


def tripled(x):
    return 3 * x.detach()


@each_tree
def test_fmap_maps_every_tensor_keeps_the_type_and_leaves_the_original(make, read):
    tree = make()
    before = [x.clone() for x in read(tree)]
    new = fmap(tripled, tree)
    assert type(new) is type(tree)
    for x, y, old in zip(read(tree), read(new), before, strict=True):
        torch.testing.assert_close(y, 3 * old)
        torch.testing.assert_close(x, old, rtol=0, atol=0)


@each_tree
def test_fmap_of_the_identity_holds_the_same_tensors(make, read):
    tree = make()
    new = fmap(lambda x: x, tree)
    assert [path for path, _ in leaves(new)] == [path for path, _ in leaves(tree)]
    assert all(x is y for (_, x), (_, y) in zip(leaves(tree), leaves(new), strict=True) if torch.is_tensor(x))


def test_the_check_of_fmap_can_fail():
    tree, read = TREES["list"][0](), TREES["list"][1]
    wrong = [tripled(tree[0]), tree[1]]  # a walk that doesn't go into lists in lists
    with pytest.raises(AssertionError):
        torch.testing.assert_close(read(wrong), [3 * x for x in read(tree)])


def test_dict_subclasses_keep_what_else_they_hold():
    new = fmap(tripled, defaultdict(list, a=ones()))
    assert new["missing"] == []
    assert list(fmap(tripled, OrderedDict(b=ones(), a=ones()))) == ["b", "a"]


def test_what_is_no_leaf_is_kept_as_it_is():
    unlike = object()
    tree = {"a": unlike, "b": None, "c": UserList([ones()]), "d": torch.relu, "e": {1, 2}, "f": Point}
    assert all(new is old for new, old in zip(fmap(tripled, tree).values(), tree.values(), strict=True))


@pytest.mark.parametrize("empty", [(), [], {}, OrderedDict()])
def test_empty_trees_are_trees(empty):
    assert fmap(tripled, empty) == empty
    assert children(empty) == {}
    assert list(leaves(empty)) == trainables(empty) == []


def test_a_dataclass_with_a_field_that_was_never_set_is_a_tree():
    assert children(NoInit()) == {}
    assert isinstance(fmap(tripled, NoInit()), NoInit)


def test_a_node_rebuilt_of_its_own_children_is_equal_to_itself():
    for node in [(1, 2), [1, [2]], {"a": 1}, OrderedDict(b=1, a=2), Pair(1, 2), Point(1), Fixed(3)]:
        new = rebuild(node, children(node))
        assert new == node
        assert type(new) is type(node)


def test_fmap_over_several_trees_takes_the_leaves_that_stand_at_the_same_place():
    tree = fmap(lambda x, y, z: x + 10 * y + 100 * z, (ones(), [ones()]), (ones(), [2 * ones()]), (ones(), [ones()]))
    assert tree[0].tolist() == [111.0, 111.0]
    assert tree[1][0].tolist() == [121.0, 121.0]


def test_fmap_over_several_modules_takes_the_parameters_of_the_same_name():
    a, b = nn.Linear(2, 3), nn.Linear(2, 3)
    mean = fmap(lambda x, y: (x.detach() + y.detach()) / 2, a, b)
    torch.testing.assert_close(mean(torch.eye(2)), (a(torch.eye(2)) + b(torch.eye(2))) / 2)


@pytest.mark.parametrize("other", [{"b": ones()}, {"a": ones(), "b": ones()}, {}], ids=["other", "more", "fewer"])
def test_trees_that_are_not_alike_are_refused(other):
    with pytest.raises((KeyError, ValueError)):
        fmap(torch.add, {"a": ones()}, other)


def test_leaf_says_what_is_mapped():
    assert fmap(lambda n: n + 1, {"a": 1, "b": ("s", 2)}, leaf=lambda x: isinstance(x, int)) == {"a": 2, "b": ("s", 3)}
    layers = fmap(lambda m: type(m).__name__, [nn.ReLU(), ones()], leaf=lambda x: isinstance(x, nn.Module))
    assert layers[0] == "ReLU"


def test_a_tensor_that_occurs_twice_is_mapped_once_and_stays_shared():
    calls, x = [], ones()
    new = fmap(lambda t: calls.append(1) or t + 1, {"a": x, "b": [x]})
    assert new["a"] is new["b"][0]
    assert len(calls) == 1


def test_a_module_that_occurs_twice_stays_shared():
    layer = nn.Linear(2, 2)
    new = fmap(tripled, nn.Sequential(layer, nn.ReLU(), layer))
    assert new[0] is new[2]
    assert new[0] is not layer


def test_a_parameter_tied_between_modules_stays_tied():
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    b.weight = a.weight
    new = fmap(tripled, [a, b])
    assert new[0].weight is new[1].weight
    assert new[0].bias is not new[1].bias


def test_a_parameter_tied_between_closures_stays_tied():
    w = parameter(2.0)
    new = fmap(tripled, (closure(w), closure(w)))
    assert trainables(new)[0] is children(new[1])["w"]


def test_ties_false_maps_every_occurrence_by_itself():
    x, layer = ones(), nn.Linear(2, 2)
    new = fmap(lambda t: t.clone(), (x, x, layer, layer), ties=False)
    assert new[0] is not new[1]
    assert new[2] is not new[3]
    assert new[2].weight is not new[3].weight


def test_a_mapped_parameter_is_a_parameter_that_trains_if_it_did():
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    new = fmap(tripled, layer)
    assert [(type(p), p.requires_grad) for p in new.parameters()] == [(nn.Parameter, True), (nn.Parameter, False)]
    assert isinstance(new.get_parameter("weight"), nn.Parameter)


def test_a_parameter_mapped_to_integers_does_not_train():
    assert not fmap(lambda x: x.detach().long(), nn.Linear(2, 2)).weight.requires_grad


def test_a_copy_made_by_a_differentiable_function_passes_gradients_on():
    layer, s = nn.Linear(2, 2), torch.tensor(1.0, requires_grad=True)
    scaled = fmap(lambda x: s * x, layer)
    scaled(torch.ones(1, 2)).sum().backward()
    torch.testing.assert_close(s.grad, (layer.weight.sum() + layer.bias.sum()).detach())
    torch.testing.assert_close(layer.weight.grad, torch.ones(2, 2))


def test_an_absent_parameter_stays_absent():
    new = fmap(tripled, nn.Linear(2, 2, bias=False))
    assert new.bias is None
    assert list(new.state_dict()) == ["weight"]


def test_a_copied_module_is_independent_of_the_original():
    layer = nn.BatchNorm1d(2)
    new = fmap(torch.clone, layer)
    new.eval()
    new.extra = 1
    new.register_buffer("more", ones())
    new(torch.zeros(1, 2))
    assert layer.training
    assert not hasattr(layer, "extra")
    assert "more" not in layer.state_dict()


def test_a_hook_on_a_copied_module_is_not_on_the_original():
    calls, layer = [], nn.Linear(1, 1)
    fmap(torch.clone, layer).register_forward_hook(lambda *_: calls.append(1))
    layer(ones(1))
    assert calls == []


def test_a_copied_parameter_dict_grows_by_itself():
    original = nn.ParameterDict({"a": ones()})
    fmap(torch.clone, original)["b"] = ones()
    assert list(original.keys()) == ["a"]


@pytest.mark.parametrize("make", [nn.LSTM, nn.GRU])
def test_a_copied_recurrent_layer_computes_with_its_own_parameters(make):
    new = fmap(lambda x: torch.zeros_like(x), make(2, 3))
    assert not new(torch.ones(4, 1, 2))[0].any()


# Callables


def test_a_closure_over_a_parameter_is_a_model():
    w = parameter(2.0)
    model = closure(w)
    assert trainables(model)[0] is w
    assert fmap(tripled, model)(ones(1)).tolist() == [6.0]
    assert model(ones(1)).tolist() == [2.0]


def test_a_closure_over_a_closure_over_a_module_is_a_model():
    def outer(layer):
        inner = lambda x: layer(x) + 1
        return lambda x: 2 * inner(x)

    model = outer(nn.Linear(1, 1, bias=False))
    assert [path for path, _ in trainables(model, path=True)] == ["inner.layer.weight"]
    assert fmap(torch.zeros_like, model)(ones(1)).tolist() == [2.0]


def test_a_function_that_closes_over_data_only_is_a_leaf():
    assert children(closure(ones())) == {}
    f = closure(ones())
    assert fmap(tripled, f) is f


def test_a_rebuilt_closure_keeps_its_defaults_and_its_name():
    def make(w):
        def named(x, a=2, *, b=3):
            return w * x + a + b

        return named

    new = fmap(tripled, make(parameter(1.0)))
    assert new(ones(1)).tolist() == [8.0]
    assert new.__name__ == "named"


def test_a_self_recursive_closure_is_walked_without_looping():
    assert [path for path, _ in trainables(power(parameter(2.0)), path=True)] == ["w"]


def test_a_rebuilt_self_recursive_closure_uses_its_new_parameters_at_every_depth():
    assert fmap(tripled, power(parameter(1.0)))(3, ones(1)).tolist() == [27.0]


def test_a_rebuilt_closure_shares_the_variables_that_do_not_change():
    def make(w, v):
        def replace():
            nonlocal v
            v = parameter(5.0)

        return (lambda x: w * v * x), replace

    model, replace = make(parameter(1.0), parameter(2.0))
    new = fmap(lambda p: tripled(p) if p == 1 else p, model)
    assert new(ones(1)).tolist() == [6.0]
    replace()
    assert new(ones(1)).tolist() == [15.0]


def test_a_closure_variable_that_is_not_bound_yet_is_no_part():
    def make():
        f = lambda: later
        found = children(f)
        later = 1
        return found, f()

    assert make() == ({}, 1)


def test_a_bound_method_is_rebuilt_over_a_copy_of_its_module():
    layer = nn.Linear(2, 2, bias=False)
    new = fmap(torch.zeros_like, layer.forward)
    assert new(torch.ones(1, 2)).tolist() == [[0.0, 0.0]]
    assert new.__self__ is not layer


def test_what_a_partial_holds_trains_by_function_argument_or_keyword():
    w, b = parameter(2.0), parameter(1.0)
    model = functools.partial(lambda w, x, bias: w * x + bias, w, bias=b)
    assert {id(x) for x in trainables(model)} == {id(w), id(b)}
    assert fmap(tripled, model)(ones(1)).tolist() == [9.0]
    assert trainables(functools.partial(closure(w), x=1))[0] is w


# What trains


def test_trainables_are_the_parameters_that_require_a_gradient():
    model = Chain(Dense(2, 3), nn.BatchNorm1d(3), lambda x: x, Dense(3, 1, bias=False))
    assert [p for p, _ in trainables(model, path=True)] == ["0.weight", "0.bias", "1.weight", "1.bias", "3.weight"]
    freeze(model[0])
    assert [p for p, _ in trainables(model, path=True)] == ["1.weight", "1.bias", "3.weight"]


@pytest.mark.parametrize(
    "model",
    [
        Branch(ones(), (ones(), {"a": [ones()]})),
        Chain(a=Dense(2, 3), b=closure(parameter(1.0))),
        nn.Sequential(nn.Linear(2, 2)),
    ],
)
def test_the_paths_of_trainables_are_the_keys_of_state_dict(model):
    assert [path for path, _ in trainables(model, path=True)] == list(model.state_dict())
    assert all(x is model.get_parameter(path) for path, x in trainables(model, path=True))


def test_a_tied_parameter_trains_once_under_its_first_path():
    layer = Dense(2, 2)
    model = {"a": layer, "b": [layer, layer.weight]}
    assert [path for path, _ in trainables(model, path=True)] == ["a.weight", "a.bias"]


def test_outside_of_modules_every_floating_point_tensor_trains_and_nothing_else():
    tree = [ones(), torch.tensor([1]), torch.tensor([True]), 1.5, None, "s", torch.tensor([1j])]
    assert [path for path, _ in trainables(tree, path=True)] == ["0", "6"]
    assert trainables(ones().half())[0].dtype == torch.float16


def test_a_tree_of_frozen_parameters_has_nothing_to_train():
    assert trainables([nn.Parameter(ones(), requires_grad=False)]) == []


def test_trainables_of_one_tensor_has_an_empty_path():
    assert trainables(x := ones(), path=True) == [("", x)]


def test_leaves_are_every_leaf_with_its_path():
    tree = {"a": (1, None), "b": Point("x"), "c": nn.Linear(1, 1)}
    assert [path for path, _ in leaves(tree)] == ["a.0", "a.1", "b.x", "b.label", "c.weight", "c.bias"]


# PathDict

GRADS = {"0.weight": 1, "0.bias": 2, "10.weight": 3, "encoder.cell.w": 4}


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda g: g["0.weight"], 1),
        (lambda g: g[0].bias, 2),
        (lambda g: g[10], {"weight": 3}),
        (lambda g: g["encoder"]["cell"]["w"], 4),
        (lambda g: g.encoder.cell.w, 4),
        (lambda g: g["encoder.cell"], {"w": 4}),
        (lambda g: g[0], {"weight": 1, "bias": 2}),
    ],
)
def test_a_path_dict_reads_by_path_by_attribute_and_by_index(read, value):
    assert read(PathDict(GRADS)) == value


def test_a_path_dict_says_what_there_is_instead_of_a_missing_key():
    with pytest.raises(KeyError, match=r"no 2 here; there are: 0\.weight, 0\.bias, 10\.weight, encoder\.cell\.w"):
        PathDict(GRADS)[2]
    with pytest.raises(AttributeError, match="no 'decoder' here"):
        _ = PathDict(GRADS).decoder
    with pytest.raises(KeyError, match="no entries"):
        PathDict()["a"]
    with pytest.raises(KeyError) as error:
        PathDict(GRADS)["decoder"]
    assert str(error.value).startswith("no 'decoder' here; ")


def test_a_path_dict_is_a_dict_for_all_else():
    grads = PathDict(GRADS)
    assert dict(grads) == GRADS
    assert grads.get("nothing") is None
    assert not hasattr(grads, "nothing")
    assert "encoder" not in grads
