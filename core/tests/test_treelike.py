"""`@treelike`: a plain class is a module, and everything that works on modules works on it."""

import collections
import copy
import dataclasses
import inspect
import pickle
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap

from torchflux import Chain, Dense, Group, fmap, freeze, thaw, trainables, treelike

Span = collections.namedtuple("Span", "low high")


@treelike
class Affine:
    """Of a class with its own `__init__`."""

    weight: Tensor
    bias: Tensor | None
    count: Tensor

    def __init__(self, n: int, bias: bool = True) -> None:
        self.weight = torch.full((n,), 2.0)
        self.bias = torch.ones(n) if bias else None
        self.count = torch.tensor(0)

    def __call__(self, x):
        return self.weight * x + (0 if self.bias is None else self.bias)


@treelike
class Mix:
    """Of a class with fields of every kind."""

    first: Tensor
    parts: tuple
    table: dict
    scale: float = 2.0
    activation: Any = torch.tanh
    nothing: Any = None

    def __call__(self, x):
        shift, linear, (inner,) = self.parts
        return self.scale * self.activation(linear(self.first * x + shift) + inner * self.table["a"](x))


@treelike
class Holds:
    value: Any

    def __call__(self, x):
        return x


def closure(w):
    return lambda x: w * x


def mix(n=2):
    return Mix(torch.ones(n), (torch.zeros(n), nn.Linear(n, n), [torch.ones(n)]), {"a": Affine(n), "name": "n"})


def independent_mix(p, x):
    """What `mix` computes, from its state_dict."""
    inner = p["table.a.weight"] * x + p["table.a.bias"]
    y = (p["first"] * x + p["parts.0"]) @ p["parts.1.weight"].T + p["parts.1.bias"]
    return 2 * torch.tanh(y + p["parts.2.0"] * inner)


KEYS = [
    "first",
    "parts.0",
    "parts.1.weight",
    "parts.1.bias",
    "parts.2.0",
    "table.a.weight",
    "table.a.bias",
    "table.a.count",
]


@pytest.fixture
def x():
    return torch.randn(3, 2, generator=torch.Generator().manual_seed(0))


def test_the_keys_of_state_dict_are_the_paths_of_the_fields():
    assert list(mix().state_dict()) == KEYS
    assert list(Holds({"conv": [nn.Conv2d(1, 1, 1, bias=False)]}).state_dict()) == ["value.conv.0.weight"]


def test_it_computes_what_its_call_says(x):
    model = mix()
    torch.testing.assert_close(model(x), independent_mix(model.state_dict(), x))


def test_the_comparison_with_the_independent_formula_can_fail(x):
    model = mix()
    wrong = {**model.state_dict(), "parts.2.0": torch.zeros(2)}
    with pytest.raises(AssertionError):
        torch.testing.assert_close(model(x), independent_mix(wrong, x))


@pytest.mark.parametrize("value", [3, 2.5, "s", None, torch.relu, (), [], {}, (1, "s"), {"a": [1]}, torch.float32])
def test_a_field_without_parameters_is_kept_as_it_is(value):
    assert Holds(value).value is value
    assert list(Holds(value).state_dict()) == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.bfloat16, torch.complex64])
def test_a_floating_point_tensor_is_a_parameter_of_its_dtype(dtype):
    (parameter,) = Holds(torch.ones(2, dtype=dtype)).parameters()
    assert parameter.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_any_other_tensor_is_a_buffer(dtype):
    model = Holds((torch.ones(2, dtype=dtype), 1.0))
    assert [name for name, _ in model.named_buffers()] == ["value.0"]
    assert trainables(model) == list(model.parameters()) == []


def test_a_parameter_is_the_very_same_parameter():
    w = nn.Parameter(torch.ones(2), requires_grad=False)
    assert Holds(w).value is Holds([w]).value[0] is w


@pytest.mark.parametrize(
    "make", [closure, lambda w: partial(torch.mul, w), lambda w: partial(closure(w)), lambda w: Holds(w).forward]
)
def test_a_callable_field_that_holds_a_parameter_is_a_part(make):
    w = nn.Parameter(torch.ones(2))
    assert list(Holds(make(w)).parameters()) == [w]


def test_a_swapped_parameter_of_a_closure_is_seen(x):
    model = Chain(closure(nn.Parameter(torch.ones(2))))
    torch.testing.assert_close(functional_call(model, {"0.w": torch.full((2,), 5.0)}, (x,)), 5 * x)


def test_a_swapped_parameter_of_a_recursive_closure_is_seen_at_every_depth():
    def make(w):
        def power(x, n=3):
            return x if n == 0 else power(w * x, n - 1)

        return power

    model = Chain(make(nn.Parameter(torch.ones(1))))
    assert functional_call(model, {"0.w": torch.tensor([2.0])}, (torch.ones(1),)).tolist() == [8.0]


def test_a_closure_keeps_its_own_state_when_its_parameters_are_swapped():
    def make(w):
        calls = 0

        def counting(x):
            nonlocal calls
            calls += 1
            return w * x * calls

        return counting

    model = Chain(make(nn.Parameter(torch.ones(1))))
    results = [functional_call(model, {"0.w": torch.tensor([2.0])}, (torch.ones(1),)).item() for _ in range(3)]
    assert results == [2.0, 4.0, 6.0]


# The class


def test_it_costs_nothing_over_a_module():
    assert Mix.__call__ is nn.Module.__call__
    assert Dense.__call__ is nn.Module.__call__

    def __call__(self, x):
        return x

    assert treelike(type("Plain", (), {"__call__": __call__})).forward is __call__


def test_an_init_is_inherited_from_a_plain_class_and_extended_from_a_dataclass():
    class Base:
        def __init__(self, n):
            self.weight = torch.ones(n)

        def __call__(self, x):
            return x * self.weight

    @dataclasses.dataclass
    class Fields:
        first: torch.Tensor

        def __call__(self, x):
            return x

    @treelike
    class Child(Base):
        pass

    @treelike
    class More(Fields):
        second: float = 2.0

    assert Child(3).weight.shape == (3,)
    more = More(torch.ones(2), 3.0)
    assert (more.first.shape, more.second) == ((2,), 3.0)


def test_it_keeps_the_name_the_docstring_the_module_and_the_signature():
    assert (Mix.__name__, Mix.__qualname__, Mix.__module__) == ("Mix", "Mix", __name__)
    assert Mix.__doc__ == "Of a class with fields of every kind."
    assert list(inspect.signature(Mix).parameters) == ["first", "parts", "table", "scale", "activation", "nothing"]
    assert list(inspect.signature(Affine).parameters) == ["n", "bias"]


def test_methods_properties_and_inherited_calls_are_kept():
    class Base:
        def __call__(self, x):
            return self.double * x

    @treelike
    class Model(Base):
        weight: Any

        @property
        def double(self):
            return 2 * self.weight

        @classmethod
        def unit(cls):
            return cls(torch.ones(1))

    assert Model.unit()(torch.ones(1)).tolist() == [2.0]
    assert isinstance(Model.unit(), Model)
    assert isinstance(Model.unit(), nn.Module)


def test_a_default_does_not_hide_the_parameter_of_the_same_name():
    @treelike
    class Model:
        weight: Any = None
        scale: Any = 1.0

        def __call__(self, x):
            return self.scale * self.weight * x

    assert Model(torch.ones(1), scale=torch.tensor(3.0))(torch.ones(1)).tolist() == [3.0]
    assert [name for name, _ in Model(scale=torch.tensor(3.0)).named_parameters()] == ["scale"]
    assert (Model().weight, Model().scale) == (None, 1.0)


def test_a_default_stays_the_default_in_a_class_with_its_own_init():
    @treelike
    class Model:
        weight: Any
        scale: float = 3.0

        def __init__(self):
            self.weight = torch.ones(1)

        def __call__(self, x):
            return self.scale * self.weight * x

    assert Model()(torch.ones(1)).tolist() == [3.0]


def test_keyword_only_fields_and_default_factories_are_those_of_dataclasses():
    @treelike
    class Model:
        weight: Any = dataclasses.field(default_factory=lambda: torch.ones(2))
        _: dataclasses.KW_ONLY
        scale: float = 2.0

        def __call__(self, x):
            return self.scale * self.weight * x

    assert Model().weight is not Model().weight
    assert Model(scale=5.0)(torch.ones(2)).tolist() == [5.0, 5.0]
    with pytest.raises(TypeError, match="positional"):
        Model(torch.ones(2), 5.0)


def test_post_init_is_run():
    @treelike
    class Model:
        weight: Any

        def __post_init__(self):
            self.weight = 2 * self.weight

        def __call__(self, x):
            return x

    assert Model(torch.ones(1)).weight.tolist() == [2.0]


def test_an_own_init_may_call_super_and_set_what_is_no_field():
    @treelike
    class Model:
        weight: Any

        def __init__(self, n):
            super().__init__()
            self.weight, self.n = torch.ones(n), n
            self.inner = nn.Linear(n, n, bias=False)

        def __call__(self, x):
            return x

    assert Model(3).n == 3
    assert list(Model(3).state_dict()) == ["weight", "inner.weight"]


def test_a_class_that_annotates_no_field_keeps_the_init_that_it_inherits():
    class Base:
        def __init__(self, n):
            self.weight = torch.ones(n)

        def __call__(self, x):
            return self.weight * x

    @treelike
    class Model(Base):
        pass

    assert list(Model(3).state_dict()) == ["weight"]
    assert list(inspect.signature(Model).parameters) == ["n"]


@pytest.mark.parametrize(
    "base", [type("Base", (), {"__init__": lambda self: None}), dataclasses.make_dataclass("B", [])]
)
def test_a_class_that_annotates_fields_takes_them_whatever_it_inherits(base):
    @treelike
    class Model(base):
        weight: Any
        scale: float = 2.0

        def __call__(self, x):
            return self.scale * self.weight * x

    assert Model(torch.ones(1), scale=3.0)(torch.ones(1)).tolist() == [3.0]
    assert list(Model(torch.ones(1)).state_dict()) == ["weight"]


def test_a_field_that_init_does_not_set_is_absent():
    @treelike
    class Model:
        weight: Any
        other: Any

        def __init__(self):
            self.weight = torch.ones(1)

        def __call__(self, x):
            return x

    assert list(Model().state_dict()) == ["weight"]
    assert "weight" in repr(Model())
    with pytest.raises(AttributeError):
        _ = Model().other


def test_it_refuses_a_class_without_a_call():
    with pytest.raises(TypeError, match="Model has no __call__"):

        @treelike
        class Model:
            weight: Any


def test_it_refuses_what_is_a_module_already():
    with pytest.raises(TypeError, match=r"Linear is an nn\.Module already"):
        treelike(nn.Linear)


def test_it_refuses_to_train_what_is_no_field():
    def make():  # refused when it is decorated, or when it is first made: then its fields are known
        @treelike(trainable=("weight", "nope"))
        class Model:
            weight: Any

            def __call__(self, x):
                return x

        return Model(torch.ones(1))

    with pytest.raises(TypeError, match="nope"):
        make()


def test_missing_arguments_are_named():
    with pytest.raises(TypeError, match="'first', 'parts', and 'table'"):
        Mix()


# What trains


@treelike(trainable=("slope",))
class Partly:
    slope: Any
    fixed: Any

    def __call__(self, x):
        return x


def test_the_tensors_of_a_field_that_does_not_train_are_buffers():
    model = Partly(torch.ones(2), (torch.zeros(2), [torch.zeros(1)]))
    assert [name for name, _ in model.named_parameters()] == ["slope"]
    assert [name for name, _ in model.named_buffers()] == ["fixed.0", "fixed.1.0"]
    assert list(model.state_dict()) == ["slope", "fixed.0", "fixed.1.0"]


@pytest.mark.parametrize(
    "fixed",
    [
        lambda: nn.Linear(2, 2),
        lambda: (nn.Linear(2, 2), 3),
        lambda: closure(nn.Parameter(torch.ones(1))),
        lambda: nn.Parameter(torch.ones(1)),
        lambda: Mix(torch.ones(1), (torch.ones(1),), {}),
    ],
)
def test_what_is_below_a_field_that_does_not_train_is_frozen(fixed):
    model = Partly(nn.Linear(2, 2), fixed())
    assert [path for path, _ in trainables(model, path=True)] == ["slope.weight", "slope.bias"]
    model.fixed = fixed()
    assert len(trainables(model)) == 2


def test_thaw_does_not_thaw_what_does_not_train_by_declaration():
    model = Partly(nn.Linear(2, 2), nn.Linear(2, 2))
    freeze(model)
    assert trainables(model) == []
    thaw(model)
    assert [path for path, _ in trainables(model, path=True)] == ["slope.weight", "slope.bias"]


def test_a_copy_of_what_does_not_train_does_not_train():
    model = fmap(lambda x: x.detach().clone(), Partly(torch.ones(1), (torch.ones(1), nn.Linear(1, 1))))
    assert [path for path, _ in trainables(model, path=True)] == ["slope"]


# Setting fields


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        (torch.ones(3), ["value"]),
        (torch.ones(3).long(), ["value"]),
        (nn.Linear(1, 1), ["value.weight", "value.bias"]),
        ((torch.ones(1), 2), ["value.0"]),
        (closure(nn.Parameter(torch.ones(1))), ["value.w"]),
        (3, []),
        (None, []),
    ],
)
@pytest.mark.parametrize("before", [torch.ones(1), torch.ones(1).long(), nn.Linear(2, 2), 1, (torch.ones(1),)])
def test_a_field_is_set_to_any_other_kind_afterwards(before, value, keys):
    model = Holds(before)
    model.value = value
    assert list(model.state_dict()) == keys
    assert list(Holds(value).state_dict()) == keys


def test_setting_what_is_no_field_is_setting_it_on_a_module():
    model = Holds(1)
    model.extra, model.layer = torch.ones(1), nn.Linear(1, 1)
    assert list(model.state_dict()) == ["layer.weight", "layer.bias"]
    assert model.extra.tolist() == [1.0]


# Works as a module


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_a_copy_computes_the_same_and_is_independent(copied, x):
    model = mix()
    twin = copied(model)
    y = model(x).detach()
    torch.testing.assert_close(twin(x), y, rtol=0, atol=0)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    torch.testing.assert_close(model(x), y, rtol=0, atol=0)
    assert not twin(x).any()


def test_a_deep_copy_of_a_closure_holds_its_own_parameters(x):
    model = Chain(closure(nn.Parameter(torch.ones(2))))
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.get_parameter("0.w").zero_()
    torch.testing.assert_close(model(x), x)
    assert not twin(x).any()


def test_state_dict_makes_a_strict_round_trip(x):
    a, b = mix(), mix()
    assert not torch.equal(a(x), b(x))
    b.load_state_dict(a.state_dict(), strict=True)
    torch.testing.assert_close(a(x), b(x), rtol=0, atol=0)
    with pytest.raises(RuntimeError, match=r"Missing key.*parts\.0"):
        b.load_state_dict({k: v for k, v in a.state_dict().items() if k != "parts.0"})


def test_it_moves_to_another_dtype_and_keeps_integers(x):
    model = mix().to(torch.float64)
    assert model(x.double()).dtype == torch.float64
    assert model.table["a"].count.dtype == torch.int64


def test_torch_optim_trains_every_parameter(x):
    model = mix()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model(x).square().sum().backward()
    slopes = {name: p.grad for name, p in model.named_parameters()}
    optimiser.step()
    assert len(before) == len(KEYS) - 1
    for name, p in model.named_parameters():
        assert slopes[name].any()
        torch.testing.assert_close(p.detach(), before[name] - 0.1 * slopes[name])


def test_a_sequential_takes_it_as_a_child(x):
    model = nn.Sequential(mix(), nn.ReLU())
    assert list(model.state_dict()) == [f"0.{key}" for key in KEYS]
    torch.testing.assert_close(model(x), model[0](x).relu())


def test_every_parameter_can_be_got_by_its_name():
    model = mix()
    names = [name for name, _ in model.named_parameters()]
    assert names == KEYS[:-1]
    assert all(model.get_parameter(name) is p for name, p in model.named_parameters())
    assert model.get_submodule("table.a") is model.table["a"]


def test_forward_hooks_are_called(x):
    seen, model = [], mix()
    model.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    handle = model.table["a"].register_forward_hook(lambda m, args, y: torch.zeros_like(y))
    y = model(x)
    assert seen[0] is x
    handle.remove()
    assert not torch.equal(model(x), y)


def test_functional_call_sees_swapped_values_in_every_field(x):
    model = mix()
    new = {name: torch.randn_like(p) for name, p in model.named_parameters()}
    torch.testing.assert_close(functional_call(model, new, (x,)), independent_mix(new, x))


def test_func_grad_is_the_gradient_of_the_independent_formula(x):
    model = mix().double()
    params = {name: p.detach() for name, p in model.named_parameters()}
    ours = grad(lambda p: functional_call(model, p, (x.double(),)).square().sum())(params)
    theirs = grad(lambda p: independent_mix(p, x.double()).square().sum())(params)
    torch.testing.assert_close(ours, theirs)


def test_vmap_is_a_loop(x):
    model = mix()
    torch.testing.assert_close(vmap(model)(x), torch.stack([model(row) for row in x]))
    torch.testing.assert_close(vmap(jacrev(model))(x), torch.stack([jacrev(model)(row) for row in x]))


def test_an_ensemble_is_a_vmap_over_stacked_parameters(x):
    models = [mix() for _ in range(3)]
    params, _ = torch.func.stack_module_state(models)
    ys = vmap(lambda p: functional_call(models[0], p, (x,)))(params)
    torch.testing.assert_close(ys, torch.stack([model(x) for model in models]))


def test_it_compiles_to_one_graph(x):
    model = mix()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x))
    with torch.no_grad():
        model.first.zero_()
    torch.testing.assert_close(compiled(x), model(x))


def test_train_and_eval_reach_every_part():
    model = Holds((nn.Dropout(), {"a": [nn.Dropout()], "f": closure(nn.Parameter(torch.ones(1)))}))
    assert not any(m.training for m in model.eval().modules())
    assert all(m.training for m in model.train().modules())


# Groups

SEQUENCES = [
    (nn.Parameter(torch.ones(1)), 2, "s"),
    [nn.Parameter(torch.ones(1)), nn.Linear(1, 1)],
    (nn.Identity(), torch.relu, None, 1.5),
]


@pytest.mark.parametrize("values", SEQUENCES)
def test_a_group_reads_like_its_sequence(values):
    group = Holds(values).value
    assert isinstance(group, Group)
    assert len(group) == len(values)
    assert all(a is b for a, b in zip(group, values, strict=True))
    assert all(group[i] is values[i] for i in range(-len(values), len(values)))
    assert all(value in group for value in values)
    assert object() not in group
    first, *others = group
    assert first is values[0]
    assert len(others) == len(values) - 1


@pytest.mark.parametrize("values", SEQUENCES)
@pytest.mark.parametrize("key", [slice(None), slice(1, None), slice(None, None, -1), slice(-1, None), slice(5, 7)])
def test_a_slice_of_a_group_is_a_slice_of_its_sequence(values, key):
    sliced = Holds(values).value[key]
    assert type(sliced) is type(values)
    assert len(sliced) == len(values[key])
    assert all(a is b for a, b in zip(sliced, values[key], strict=True))


def test_a_group_reads_like_its_dict():
    values = {"w": nn.Parameter(torch.ones(1)), "b": 2, "layer": nn.Linear(1, 1)}
    group = Holds(values).value
    assert list(group) == list(group.keys()) == list(values)
    assert len(group) == 3
    assert "w" in group
    assert "nope" not in group
    assert all(group[name] is getattr(group, name) is value for name, value in values.items())
    assert all(a is b for a, b in zip(group.values(), values.values(), strict=True))
    assert [name for name, _ in group.items()] == list(values)
    assert {**group} == values


def test_a_group_of_a_dict_with_integer_keys_reads_by_key():
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))
    group = Holds({1: a, 2: b}).value
    assert group[1] is a
    assert group[2] is b


def test_a_group_reads_like_its_named_tuple():
    values = Span(nn.Parameter(torch.ones(1)), 2)
    group = Holds(values).value
    assert group[0] is values.low
    assert tuple(group) == tuple(values)
    assert group.low is values.low
    assert tuple(group[:1]) == values[:1]


@pytest.mark.parametrize(
    ("key", "error", "says"),
    [(2, IndexError, "no 2 in"), (-3, IndexError, "no -3 in"), ("nope", KeyError, "no 'nope' in .*: 0, 1|0, 1")],
)
def test_a_missing_part_of_a_group_is_named(key, error, says):
    with pytest.raises(error, match=says):
        Group(torch.ones(1), 2)[key]


@pytest.mark.parametrize("name", ["forward", "training", "values", "a.b", ""])
def test_a_name_that_would_break_the_module_is_refused(name):
    with pytest.raises(ValueError, match=f"{name!r} can't name a part of Group"):
        Group(**{name: torch.ones(1)})


def test_keys_that_are_equal_as_names_are_refused():
    with pytest.raises(ValueError, match="'1' can't name a part of Group"):
        Holds({1: torch.ones(1), "1": torch.ones(1)})


def test_parts_are_given_by_position_or_by_name():
    with pytest.raises(TypeError, match="not both"):
        Group(torch.ones(1), a=torch.ones(1))


def test_an_empty_group_is_empty():
    group = Group()
    assert len(group) == 0
    assert list(group) == list(group.items()) == list(group.state_dict()) == []
    assert group[:] == ()
    with pytest.raises(IndexError, match="no 0 in Group"):
        group[0]


def test_a_replaced_part_of_a_group_takes_effect():
    model = Holds((nn.Linear(1, 1), 2, torch.relu))
    model.value[0].weight = nn.Parameter(torch.full((1, 1), 7.0))
    assert model.state_dict()["value.0.weight"].item() == 7
    for i, new in enumerate([nn.Identity(), 3, nn.Parameter(torch.ones(1))]):
        setattr(model.value, str(i), new)
        assert model.value[i] is new
        assert list(model.value)[i] is new
    assert list(model.state_dict()) == ["value.2"]
