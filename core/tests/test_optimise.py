"""Optimiser state and updates: which parameters change, which don't, and what is refused."""

from collections import namedtuple
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from torchflux import (
    AccumGrad,
    Adam,
    AdamW,
    Chain,
    ClipGrad,
    ClipNorm,
    Dense,
    Descent,
    Momentum,
    OptimiserChain,
    Rule,
    WeightDecay,
    adjust,
    back,
    freeze,
    gradient,
    setup,
    thaw,
    trainables,
    treelike,
    update,
)

X, Y = torch.linspace(-1, 1, 12).view(4, 3), torch.linspace(0, 1, 8).view(4, 2)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def mlp():
    torch.manual_seed(1)
    return Chain(Dense(3, 4, torch.tanh), Dense(4, 2))


def loss(model):
    return ((model(X) - Y) ** 2).mean()


def slopes(model):
    return gradient(loss, model)[0]


def values(model):
    return {path: x.detach().clone() for path, x in model.named_parameters()}


def moved(model, before):
    """The paths of the parameters that have changed since `before`."""
    return [path for path, x in model.named_parameters() if not torch.equal(x, before[path])]


def trained(model, state, steps=10):
    for _ in range(steps):
        update(state, model, slopes(model))
    return list(model.parameters())


def same(xs, ys):
    torch.testing.assert_close(list(xs), list(ys), rtol=1e-6, atol=1e-7)


def by_torch(optimiser, model, steps=10):
    for _ in range(steps):
        optimiser.zero_grad()
        loss(model).backward()
        optimiser.step()
    return list(model.parameters())


EVERYTHING = ["0.weight", "0.bias", "1.weight", "1.bias"]


# setup and update.


def test_the_state_is_laid_out_like_the_model():
    state = setup(Adam(), Chain(encoder=mlp(), decoder=Dense(2, 3)))
    assert list(state)[:2] == ["encoder.0.weight", "encoder.0.bias"]
    assert list(state.encoder[1]) == ["weight", "bias"]
    assert state.decoder.bias is state["decoder.bias"]


def test_training_equals_torch():
    one, two = mlp(), mlp()
    same(trained(one, setup(AdamW(0.01), one)), by_torch(torch.optim.AdamW(two.parameters(), 0.01), two))


def test_a_wrong_learning_rate_is_seen():
    one, two = mlp(), mlp()
    with pytest.raises(AssertionError, match="not close"):
        same(trained(one, setup(AdamW(0.011), one)), by_torch(torch.optim.AdamW(two.parameters(), 0.01), two))


def test_update_works_in_place_and_off_the_tape():
    model = mlp()
    state, parameters, grads = setup(Adam(0.1), model), list(model.parameters()), slopes(model)
    before = values(model)
    assert update(state, model, grads) == (state, model)
    assert all(x is y for x, y in zip(parameters, model.parameters(), strict=True))
    assert all(x.requires_grad and x.is_leaf and x.grad is None for x in parameters)
    assert moved(model, before) == EVERYTHING


def test_gradients_may_be_a_plain_tree():
    one, two = mlp(), mlp()
    update(setup(Descent(), one), one, slopes(one))
    update(setup(Descent(), two), two, dict(slopes(two)))
    same(one.parameters(), two.parameters())


Pair = namedtuple("Pair", "left right")


@dataclass
class Spring:
    stiffness: torch.Tensor
    name: str = "spring"


@pytest.mark.parametrize(
    "tree",
    [
        lambda w: w,
        lambda w: [w],
        lambda w: {"a": {"b": [w, "text", 3, None]}},
        lambda w: (w, (1.5,)),
        lambda w: Pair(w, 2.0),
        lambda w: Spring(w),
    ],
)
def test_any_tree_of_tensors_is_trained(tree):
    w = torch.tensor([1.0, -2.0])
    model = tree(w)

    def square(model):
        found = trainables(model)
        return sum((x**2).sum() for x in found)

    update(setup(Descent(0.25), model), model, gradient(square, model)[0])
    assert w.tolist() == [0.5, -1.0]


def test_a_tree_of_modules_and_tensors_is_trained():
    model = {"net": mlp(), "scale": torch.ones(2)}
    (grads,) = gradient(lambda m: ((m["net"](X) * m["scale"] - Y) ** 2).mean(), model)
    before = values(model["net"])
    update(setup(Adam(0.1), model), model, grads)
    assert moved(model["net"], before) == EVERYTHING
    assert not torch.equal(model["scale"], torch.ones(2))


def test_a_tied_parameter_has_one_state_and_is_updated_once():
    model = Chain(Dense(3, 3), Dense(3, 3))
    model[1].weight = model[0].weight
    state, before = setup(Descent(0.5), model), values(model)
    grads = gradient(lambda m: m(X).sum(), model)[0]
    assert "1.weight" not in state
    update(state, model, grads)
    same([model[0].weight], [before["0.weight"] - 0.5 * grads["0.weight"]])
    assert model[1].weight is model[0].weight


def test_none_leaves_a_parameter_and_its_state_alone():
    model = mlp()
    state, before = setup(Momentum(0.1), model), values(model)
    (grads,) = gradient(lambda m: (m[0](X) ** 2).sum(), model)
    assert grads["1.weight"] is None
    update(state, model, grads)
    assert moved(model, before) == ["0.weight", "0.bias"]
    update(state, model, {"1.bias": torch.ones(2)})
    assert moved(model, before) == ["0.weight", "0.bias", "1.bias"]


def test_parameters_of_different_dtypes_train_together():
    model = {"a": torch.ones(2), "b": torch.ones(2, dtype=torch.float64), "c": torch.ones(2, dtype=torch.bfloat16)}
    state = setup(AdamW(0.1), model)
    for _ in range(3):
        update(state, model, gradient(lambda m: sum((x**2).sum() for x in m.values()), model)[0])
    assert [x.dtype for x in model.values()] == [torch.float32, torch.float64, torch.bfloat16]
    same([model["a"].double()], [model["b"]])


# Rules.


@dataclass
class Own(Rule):
    """Momentum, as a user would write it."""

    eta: float = 0.1
    rho: float = 0.9

    def init(self, x):
        return torch.zeros_like(x)

    def apply(self, v, x, dx):
        v = self.rho * v + self.eta * dx
        return v, v


def test_a_rule_is_two_methods():
    one, two, three = mlp(), mlp(), mlp()
    expected = trained(one, setup(Momentum(0.1, 0.9), one))
    same(trained(two, setup(Own(0.1), two)), expected)
    same(trained(three, setup(OptimiserChain(ClipGrad(1e9), Own(0.1)), three)), expected)


@dataclass
class EverySecond(Rule):
    n: int = field(default=2)

    def init(self, x):
        return 0

    def apply(self, count, x, dx):
        return count + 1, dx if count % self.n else None


def test_a_rule_may_leave_a_parameter_alone_this_time():
    model = {"w": torch.zeros(1)}
    state = setup(EverySecond(), model)
    seen = []
    for _ in range(4):
        update(state, model, {"w": torch.ones(1)})
        seen.append(model["w"].item())
    assert seen == [0.0, -1.0, -1.0, -2.0]


def test_a_rule_without_apply_is_refused():
    @dataclass
    class Unfinished(Rule):
        pass

    model = {"w": torch.zeros(1)}
    with pytest.raises(NotImplementedError, match="Unfinished needs a method apply"):
        update(setup(Unfinished(), model), model, {"w": torch.ones(1)})


def test_chains_compose():
    model = {"w": torch.tensor([3.0, 4.0])}
    rule = OptimiserChain(OptimiserChain(ClipNorm(1.0), WeightDecay(1.0)), Descent(0.5))
    update(setup(rule, model), model, {"w": torch.tensor([30.0, 40.0])})
    same([model["w"]], [torch.tensor([3 - 0.5 * 3.6, 4 - 0.5 * 4.8])])


def test_a_chain_of_one_is_the_rule_itself():
    one, two = mlp(), mlp()
    same(trained(one, setup(OptimiserChain(Adam(0.1)), one)), trained(two, setup(Adam(0.1), two)))


def test_models_do_not_share_a_rules_state():
    rule, one, two = OptimiserChain(AccumGrad(2), Adam(0.1)), mlp(), mlp()
    first, second = setup(rule, one), setup(rule, two)
    trained(one, first, 4)
    same(trained(two, second, 4), one.parameters())


# Freezing.


@pytest.mark.parametrize("whole", [True, False], ids=["the model", "the state"])
def test_what_is_frozen_stays_as_it_is_until_it_is_thawed(whole):
    model = mlp()
    state, before = setup(Adam(0.1), model), values(model)
    part = model[0] if whole else state[0]
    freeze(part)
    trained(model, state, 2)
    assert moved(model, before) == ["1.weight", "1.bias"]
    thaw(part)
    trained(model, state, 1)
    assert moved(model, before) == EVERYTHING


def test_freezing_one_parameter_or_everything():
    model = mlp()
    state, before = setup(Adam(0.1), model), values(model)
    freeze(state["0.bias"])
    trained(model, state, 1)
    assert moved(model, before) == ["0.weight", "1.weight", "1.bias"]
    freeze(state)
    before = values(model)
    trained(model, state, 1)
    assert moved(model, before) == []


def test_a_frozen_model_has_nothing_to_train():
    model = mlp()
    freeze(model)
    assert trainables(model) == []
    with pytest.raises(ValueError, match="nothing to train in Chain"):
        setup(Adam(), model)
    thaw(model)
    assert list(setup(Adam(), model)) == EVERYTHING


@treelike(trainable=("head",))
class Probe:
    body: Any
    head: Any
    offset: Any

    def __call__(self, x):
        return self.head(self.body(x)) + self.offset


def test_fields_that_do_not_train_stay_frozen_on_thaw():
    model = Chain(Probe(Dense(3, 4), Dense(4, 2), torch.zeros(2)), Dense(2, 2))
    trained_paths = ["0.head.weight", "0.head.bias", "1.weight", "1.bias"]
    for change in (lambda m: None, thaw, freeze, thaw):
        change(model)
        if change is not freeze:
            assert [path for path, _ in trainables(model, path=True)] == trained_paths
    thaw(model[0])
    assert [path for path, _ in trainables(model, path=True)] == trained_paths
    state = setup(Adam(0.1), model)
    thaw(state)
    assert list(state) == trained_paths


def test_no_trainable_fields_at_all():
    @treelike(trainable=())
    class Constant:
        weight: Any
        layer: Any

        def __call__(self, x):
            return self.layer(x * self.weight)

    model = Chain(Constant(torch.ones(3), Dense(3, 3)), Dense(3, 2))
    thaw(model)
    assert [path for path, _ in trainables(model, path=True)] == ["1.weight", "1.bias"]
    before = {path: x.clone() for path, x in model.state_dict().items()}
    trained(model, setup(Adam(0.1), model), 3)
    assert [path for path, x in model.state_dict().items() if not torch.equal(x, before[path])] == [
        "1.weight",
        "1.bias",
    ]


# adjust.


def test_hyper_parameters_are_adjusted_for_all_or_a_part():
    model, state = mlp(), None
    state = setup(Adam(0.1), model)
    adjust(state, 0.0)
    before = values(model)
    trained(model, state, 1)
    assert moved(model, before) == []
    adjust(state[1], 0.1, beta=(0.5, 0.5))
    trained(model, state, 1)
    assert moved(model, before) == ["1.weight", "1.bias"]
    assert (state["1.bias"].rule.eta, state["1.bias"].rule.beta, state["0.bias"].rule.beta) == (
        0.1,
        (0.5, 0.5),
        (0.9, 0.999),
    )
    adjust(state["0.bias"], epsilon=1e-3)
    assert (state["0.bias"].rule.epsilon, state["0.weight"].rule.epsilon) == (1e-3, 1e-8)


def test_adjusting_equals_having_started_with_it():
    one, two = mlp(), mlp()
    state = setup(Adam(0.1), one)
    adjust(state, 0.01)
    same(trained(one, state), trained(two, setup(Adam(0.01), two)))


def test_adjusting_keeps_the_moments():
    model, optimised = mlp(), mlp()
    state = setup(Adam(0.1), model)
    trained(model, state, 3)
    adjust(state, 0.01)
    optimiser = torch.optim.Adam(optimised.parameters(), 0.1)
    by_torch(optimiser, optimised, 3)
    optimiser.param_groups[0]["lr"] = 0.01
    same(trained(model, state, 3), by_torch(optimiser, optimised, 3))


def test_adjusting_one_model_leaves_another_alone():
    rule, one, two = Adam(0.1), mlp(), mlp()
    first, second = setup(rule, one), setup(rule, two)
    adjust(first, 0.5)
    assert rule.eta == 0.1
    assert {leaf.rule.eta for leaf in second.values()} == {0.1}


def test_a_chain_is_adjusted_where_the_name_belongs():
    state = setup(OptimiserChain(ClipNorm(1.0), WeightDecay(0.1), Adam(0.1)), mlp())
    adjust(state, 0.01, limit=2.0)
    adjust(state[0], decay=0.5)
    clip, decay, adam = state["0.weight"].rule.rules
    assert (clip.limit, decay.decay, adam.eta) == (2.0, 0.5, 0.01)
    assert state["1.weight"].rule.rules[1].decay == 0.1


def test_an_unknown_hyper_parameter_is_refused_and_nothing_is_changed():
    for rule in (Adam(0.1), OptimiserChain(ClipNorm(), Adam(0.1))):
        state = setup(rule, mlp())
        with pytest.raises(ValueError, match="no hyper-parameter momentum"):
            adjust(state, 0.5, momentum=0.9)
        assert state["0.weight"].rule == rule


# torch.optim as the state.


def test_a_torch_optimiser_is_a_state():
    one, two = mlp(), mlp()
    optimiser = torch.optim.AdamW(one.parameters(), 0.01)
    same(trained(one, optimiser), by_torch(torch.optim.AdamW(two.parameters(), 0.01), two))
    assert all(x.grad is None for x in one.parameters())


def test_a_torch_optimiser_leaves_parameters_without_a_gradient_alone():
    model = mlp()
    optimiser, before = torch.optim.AdamW(model.parameters(), 0.1), values(model)
    (grads,) = gradient(lambda m: (m[0](X) ** 2).sum(), model)
    update(optimiser, model, grads)
    assert moved(model, before) == ["0.weight", "0.bias"]


def test_a_gradient_left_over_in_grad_is_not_used():
    model = mlp()
    optimiser, before = torch.optim.SGD(model.parameters(), 0.1), values(model)
    back(loss(model))
    update(optimiser, model, {"1.bias": torch.ones(2)})
    assert moved(model, before) == ["1.bias"]


# The paper's form.


@pytest.mark.parametrize("parameters", [trainables, nn.Module.parameters, lambda m: tuple(m.parameters())])
def test_the_papers_form_equals_torch(parameters):
    one, two = mlp(), mlp()
    opt = Adam(parameters(one), 0.01)
    for _ in range(10):
        back(loss(one))
        opt()
    same(one.parameters(), by_torch(torch.optim.Adam(two.parameters(), 0.01), two))
    assert all(x.grad is None for x in one.parameters())


def test_the_papers_form_accumulates_and_clears():
    w = torch.tensor([1.0], requires_grad=True)
    opt = Descent(w, 0.1)
    back((2 * w).sum())
    back((3 * w).sum())
    opt()
    opt()
    assert w.item() == pytest.approx(0.5)


def test_the_papers_form_with_a_chain_adjusted_and_frozen():
    w, v = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    opt = OptimiserChain([w, v], ClipGrad(1.0), Descent(0.1))
    adjust(opt, 0.5)
    freeze(opt.state["1"])
    back((10 * w + 10 * v).sum())
    opt()
    assert (w.item(), v.item()) == (0.5, 1.0)


def test_a_part_of_the_papers_form_is_adjusted_and_frozen_alone():
    w, v = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    opt = Descent([w, v], 0.1)
    assert opt.state is opt
    adjust(opt["0"], 0.5)
    freeze(opt["1"])
    back((w + v).sum())
    opt()
    assert (w.item(), v.item()) == (0.5, 1.0)
    thaw(opt)
    adjust(opt, 0.25)
    back((w + v).sum())
    opt()
    assert (w.item(), v.item()) == (0.25, 0.75)


def test_the_papers_form_skips_what_got_no_gradient():
    w, v = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    opt = Adam([w, v], 0.1)
    back((w**2).sum())
    opt()
    assert w.item() != 1.0
    assert v.item() == 1.0


@pytest.mark.parametrize("parameters", [[], [torch.ones(2)], [1.0], "parameters"])
def test_the_papers_form_refuses_what_cannot_train(parameters):
    with pytest.raises(ValueError, match="requires_grad"):
        Adam(parameters, 0.01)


# What is refused.


def test_the_tuple_of_all_gradients_is_refused():
    model = mlp()
    with pytest.raises(TypeError, match="not the tuple"):
        update(setup(Adam(), model), model, gradient(loss, model))


@pytest.mark.parametrize("grads", [{"2.weight": torch.ones(2)}, {"0.wieght": torch.ones(4, 3)}])
def test_a_gradient_for_an_unknown_path_is_refused(grads):
    model = mlp()
    before = values(model)
    with pytest.raises(ValueError, match=next(iter(grads))):
        update(setup(Adam(), model), model, {**slopes(model), **grads})
    assert moved(model, before) == []


def test_a_model_that_has_grown_since_setup_is_refused():
    small = Chain(Dense(3, 4, torch.tanh))
    state, large = setup(Adam(), small), mlp()
    with pytest.raises(ValueError, match=r"1\.weight"):
        update(state, large, slopes(large))


@pytest.mark.parametrize("model", [Chain(torch.tanh), {"n": 3, "i": torch.tensor([1, 2])}, (), lambda x: x, nn.ReLU()])
def test_a_model_with_nothing_to_train_is_refused(model):
    with pytest.raises(ValueError, match="nothing to train"):
        setup(Adam(), model)


@pytest.mark.parametrize("shape", [(3, 2), (3,), (1,), (6,), (), (2, 3, 1)])
@pytest.mark.parametrize("rule", [Descent(), Adam(), Own(), OptimiserChain(ClipNorm(), Adam())])
def test_a_gradient_of_another_shape_is_refused(rule, shape):
    model = {"w": torch.ones(2, 3)}
    with pytest.raises((RuntimeError, ValueError)):
        update(setup(rule, model), model, {"w": torch.ones(shape)})
    assert torch.equal(model["w"], torch.ones(2, 3))


def test_a_schedule_does_not_compile_a_step_again_and_again():
    compilations = []

    def backend(graph, example):
        compilations.append(graph)
        return graph

    def step(model, state, x):
        (grads,) = gradient(lambda m: (m(x) ** 2).mean(), model)
        update(state, model, grads)

    model, twin = (nn.Linear(2, 1, bias=False) for _ in range(2))
    twin.load_state_dict(model.state_dict())
    state, twin_state, x = setup(Adam(0.1), model), setup(Adam(0.1), twin), torch.ones(3, 2)
    compiled = torch.compile(step, backend=backend, fullgraph=True)
    for t in range(1, 13):
        for s in (state, twin_state):
            adjust(s, 0.1 / t)
        compiled(model, state, x)
        step(twin, twin_state, x)
    assert len(compilations) <= 2  # for the first number, then for any
    torch.testing.assert_close(model.weight, twin.weight)


def test_two_states_of_one_rule_are_adjusted_apart():
    rule, models = Adam(0.1), (nn.Linear(1, 1), nn.Linear(1, 1))
    first, second = (setup(rule, model) for model in models)
    adjust(first, 0.5)
    assert (first.weight.rule.eta, second.weight.rule.eta, rule.eta) == (0.5, 0.1, 0.1)
