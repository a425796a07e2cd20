"""Custom gradients: the same answer in every way that PyTorch differentiates, and what is refused.

The rules here are wrong on purpose: they say that the derivative of sin is x². Where a transform differentiated
the value rather than asking the rule, it would find cos(x).
"""

import gc
import sys
import types
import weakref

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap

from torchflux import Dense, adjoint, back, checkpointed, gradient, hook, ignore

X = torch.tensor([0.3, -1.2, 2.5], dtype=torch.float64)
V = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def close(given, expected):
    torch.testing.assert_close(given, expected, rtol=1e-12, atol=1e-12)


def compiled(f, backend="aot_eager"):
    torch._dynamo.reset()
    return torch.compile(f, fullgraph=True, backend=backend)


# Functions of one tensor with value sin(x) and, so their rules say, derivative x², however the rule is written.


@adjoint
def plain(x):
    return x.sin(), lambda ȳ: ȳ * x**2


@adjoint
def several_arguments(x, y):
    return (x.sin() + y.sin()) / 2, lambda ȳ: (ȳ * x**2 / 2, ȳ * y**2 / 2)


@adjoint
def several_results(x):
    def pullback(ȳ):
        return (ȳ[0] + ȳ[1]) * x**2 / 2

    return (x.sin() - 1, x.sin() + 1), pullback


@adjoint
def of_a_tree(tree):
    (a,), b = tree["a"], tree["b"]
    return a.sin() + 0 * b, lambda ȳ: ({"a": (ȳ * a**2,), "b": None, "name": None},)


@adjoint
def to_a_tree(x):
    return {"y": [x.sin()], "name": "n"}, lambda ȳ: ȳ["y"][0] * x**2


@adjoint
def with_options(x, power=1, scale=1.0):
    return scale * x.sin(), lambda ȳ: (scale * ȳ * x**power, None, None)


@adjoint
def with_keywords(x, *, power=1):
    return x.sin(), lambda ȳ: ȳ * x**power


@adjoint
def with_an_index(x, i):
    return x[..., i].sin(), lambda ȳ: (torch.zeros_like(x).index_add(-1, i, ȳ * x[..., i] ** 2), None)


@adjoint(jvp=lambda primals, tangents: tangents[0] * primals[0] ** 2)
def with_jvp(x):
    return x.sin(), lambda ȳ: ȳ * x**2


@adjoint
def of_another_rule(x):
    return plain(x), lambda ȳ: ȳ * x**2


@adjoint
def holding_its_result(x):
    y = x.sin()
    return y, lambda ȳ: ȳ * x**2 + 0 * y


class AutogradFunction(torch.autograd.Function):
    """The same in PyTorch's own words."""

    @staticmethod
    def forward(x):
        return x.sin()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, ȳ):
        (x,) = ctx.saved_tensors
        return ȳ * x**2

    @staticmethod
    def jvp(ctx, v):
        (x,) = ctx.saved_tensors
        return v * x**2


RULES = {
    "plain": plain,
    "several arguments": lambda x: several_arguments(x, x),
    "several results": lambda x: sum(several_results(x)) / 1 - x.sin().detach(),
    "tree": lambda x: of_a_tree({"a": (x,), "b": x, "name": "n"}),
    "tree of results": lambda x: to_a_tree(x)["y"][0],
    "options": lambda x: with_options(x, scale=1.0, power=2),
    "keywords": lambda x: with_keywords(x, power=2),
    "index": lambda x: with_an_index(x, torch.arange(x.shape[-1])),
    "jvp": with_jvp,
    "another rule": of_another_rule,
    "result held": holding_its_result,
}


def total(f):
    return lambda x: f(x).sum()


def taped(f, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(f(x).sum(), x)[0]


def taped_twice(f, x):
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(f(x).sum(), x, create_graph=True)
    return torch.autograd.grad(slope.sum(), x)[0]


def dual(f, x):
    with torch.autograd.forward_ad.dual_level():
        y = f(torch.autograd.forward_ad.make_dual(x, V))
        return torch.autograd.forward_ad.unpack_dual(y).tangent


def once(f, x):
    return gradient(total(f), x)[0]


def twice(f, x):
    return once(lambda x: once(f, x), x)


SIN, FIRST, SECOND = X.sin(), X**2, 2 * X
EAGER = {
    "value": (lambda f, x: f(x), SIN),
    "value of vmap": (lambda f, x: vmap(f)(x.expand(4, 3)), SIN.expand(4, 3)),
    "backward": (taped, FIRST),
    "func.grad": (lambda f, x: grad(total(f))(x), FIRST),
    "vmap(grad)": (lambda f, x: vmap(grad(total(f)))(x.expand(4, 3)), FIRST.expand(4, 3)),
    "grad(vmap)": (lambda f, x: grad(lambda x: vmap(f)(x.expand(4, 3)).sum())(x), 4 * FIRST),
    "vmap over the last dimension": (lambda f, x: vmap(f, 1, 1)(x[:, None].expand(3, 4)), SIN[:, None].expand(3, 4)),
    "jacrev": (lambda f, x: jacrev(f)(x), FIRST.diag()),
    "jvp": (lambda f, x: jvp(f, (x,), (V,)), (SIN, FIRST * V)),
    "dual numbers": (dual, FIRST * V),
    "vmap(jvp)": (lambda f, x: vmap(lambda v: jvp(f, (x,), (v,))[1])(torch.eye(3).double()), FIRST.diag()),
    "jacfwd": (lambda f, x: jacfwd(f)(x), FIRST.diag()),
    "gradient": (once, FIRST),
    "vmap(gradient)": (lambda f, x: vmap(lambda x: once(f, x))(x.expand(4, 3)), FIRST.expand(4, 3)),
    "backward twice": (taped_twice, SECOND),
    "grad(grad)": (lambda f, x: grad(total(grad(total(f))))(x), SECOND),
    "gradient twice": (twice, SECOND),
    "hessian": (lambda f, x: hessian(total(f))(x), SECOND.diag()),
    "jacrev(jacfwd)": (lambda f, x: jacrev(jacfwd(total(f)))(x), SECOND.diag()),
    "vmap(hessian)": (lambda f, x: vmap(hessian(total(f)))(x.expand(2, 3)), SECOND.diag().expand(2, 3, 3)),
    "grad of a backward": (lambda f, x: grad(lambda x: vmap(grad(total(f)))(x[None]).sum())(x), SECOND),
    "third": (lambda f, x: grad(lambda x: grad(total(grad(total(f))))(x).sum())(x), torch.full_like(X, 2)),
}
NOT_COMPILED = {"backward", "backward twice", "dual numbers", "vmap(hessian)"}  # by PyTorch, whatever the function
COMPILED = [
    *[("plain", way) for way in EAGER if way not in NOT_COMPILED],
    *[(rule, "vmap(grad)") for rule in RULES if rule != "tree of results"],
    *[(rule, way) for rule in ("several results", "tree", "options", "jvp") for way in ("jvp", "gradient twice")],
]


@pytest.mark.parametrize("way", EAGER)
@pytest.mark.parametrize("rule", RULES)
def test_the_rule_holds_in_every_transform(rule, way):
    transform, expected = EAGER[way]
    close(transform(RULES[rule], X), expected)


@pytest.mark.parametrize(("rule", "way"), dict.fromkeys(COMPILED))
def test_the_rule_holds_compiled(rule, way):
    transform, expected = EAGER[way]
    close(compiled(lambda x: transform(RULES[rule], x))(X), expected)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "tree of results"])  # Dynamo takes no dict
def test_the_rule_holds_in_backward_through_a_compiled_function(rule):
    x = X.clone().requires_grad_()
    compiled(total(RULES[rule]))(x).backward()
    close(x.grad, FIRST)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_the_rule_holds_with_inductor():
    x = X.clone().requires_grad_()
    compiled(lambda x: (plain(2 * x) * x).sum(), "inductor")(x).backward()
    close(x.grad, ((2 * X).sin() + 2 * (2 * X) ** 2 * X))
    close(compiled(grad(total(plain)), "inductor")(X), FIRST)


def nested_forward(f, x):
    return jvp(lambda x: jvp(f, (x,), (V,))[1], (x,), (V,))[1]


@pytest.mark.parametrize("rule", ["plain", "jvp"])
def test_nested_forward_mode_is_right_or_refused(rule):
    try:
        given = nested_forward(RULES[rule], X)
    except (RuntimeError, NotImplementedError):
        return
    close(given, SECOND * V**2)


def test_a_plain_autograd_function_is_wrong_in_nested_forward_mode():
    """pytorch#197867, a silent zero. When this fails it is mended: then nest ours, too."""
    close(nested_forward(AutogradFunction.apply, X), torch.zeros(3).double())


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_a_plain_autograd_function_is_wrong_in_compiled_grad():
    """pytorch#193279, which `adjoint` works around. When this fails it is mended: try without the work-around."""
    f = AutogradFunction.apply
    close(taped(f, X), FIRST)
    close(grad(total(f))(X), FIRST)
    close(compiled(grad(total(f)))(X), X.cos())


def test_dtype_and_shape_are_kept():
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        for shape in ((), (1,), (0,), (2, 3)):
            x = torch.ones(shape, dtype=dtype)
            y, g = plain(x), once(plain, x)
            assert (y.dtype, y.shape, g.dtype, g.shape) == (dtype, shape, dtype, shape)


# Arguments.


def test_defaults_and_keywords_are_as_in_python():
    for given in (with_options(X, 2, 3.0), with_options(X, scale=3.0), with_options(power=5, scale=3.0, x=X)):
        close(given, 3 * SIN)
    close(once(lambda x: with_options(x), X), X)
    close(once(lambda x: with_options(x, 3), X), X**3)
    close(once(lambda x: with_options(scale=2.0, x=x, power=3), X), 2 * X**3)
    with pytest.raises(TypeError, match="power"):
        with_options(X, 2, power=2)
    for given in ((X,), (X, 2, 3.0)):
        with pytest.raises(TypeError, match="other"):
            with_options(*given, other=2)


def test_keyword_only_arguments_reach_the_rule():
    close(once(lambda x: with_keywords(x), X), X)
    close(once(lambda x: with_keywords(x, power=3), X), X**3)


def test_variadic_arguments_get_one_gradient_each():
    @adjoint
    def product(*xs):
        return torch.stack(xs).prod(0), lambda ȳ: tuple(7.0 * i * ȳ for i in range(len(xs)))

    for n in (1, 2, 3):
        given = gradient(lambda *xs: product(*xs).sum(), *[X] * n)
        close(given, tuple(7.0 * i * torch.ones_like(X) for i in range(n)))


def test_none_is_no_gradient():
    first_only = adjoint(lambda x, y: (x * y, lambda ȳ: (ȳ * y, None)))
    x, y = X.clone().requires_grad_(), X.clone().requires_grad_()
    first_only(x, y).sum().backward()
    close(x.grad, X)
    assert y.grad is None
    close(jvp(first_only, (X, X), (V, V))[1], V * X)
    constant = adjoint(lambda x: (x.sin(), lambda ȳ: None))
    assert gradient(lambda x: constant(x).sum(), X) == (None,)
    close(grad(total(constant))(X), torch.zeros(3).double())


def test_without_a_tensor_there_is_nothing_to_do():
    assert adjoint(lambda a, b=2: (a * b, lambda ȳ: (ȳ, None)))(3) == 6


def test_results_that_are_no_tensors_pass():
    noted = adjoint(lambda x: ((x.sin(), "note", 3), lambda ȳ: ȳ[0] * x**2))
    y, note, n = noted(X)
    assert (note, n) == ("note", 3)
    close(y, SIN)
    close(once(lambda x: noted(x)[0], X), FIRST)


def test_a_result_that_is_the_argument_itself():
    clip = adjoint(lambda x: (x, lambda ȳ: ȳ.clamp(-1, 1)))
    close(once(lambda x: 5 * clip(x), X), torch.ones_like(X))
    close(once(lambda x: 5 * clip(x) + x, X), 2 * torch.ones_like(X))
    close(compiled(grad(lambda x: (5 * clip(x)).sum()))(X), torch.ones_like(X))


def test_an_explicit_jvp_is_used_forwards_and_only_there():
    seven = adjoint(lambda x, y: (x * y, lambda ȳ: (ȳ * x**2, ȳ)), jvp=lambda primals, tangents: 7 * tangents[0])
    close(jvp(lambda x: seven(x, X), (X,), (V,))[1], 7 * V)
    close(jvp(lambda y: seven(X, y), (X,), (V,))[1], 0 * V)
    close(once(lambda x: seven(x, X), X), FIRST)


def test_the_tangent_of_integers_is_none():
    tangents = []

    def push(primals, given):
        tangents.append(given)
        return given[0]

    f = adjoint(lambda x, y, i: (x * y, lambda ȳ: (ȳ * y, ȳ * x, None)), jvp=push)
    jvp(lambda x: f(x, X, torch.arange(3)), (X,), (V,))
    assert len(tangents) == 1
    close(torch.func.jvp(lambda x: f(x, X, torch.arange(3)), (X,), (V,))[1], V)
    assert tangents[0][2] is None
    assert not tangents[0][1].any()


def test_what_the_rule_closes_over_gets_no_gradient():
    w = torch.ones(3, requires_grad=True, dtype=torch.float64)
    close(once(adjoint(lambda x: (x * w.detach(), lambda ȳ: ȳ * 3)), X), torch.full_like(X, 3))
    back(adjoint(lambda x: (x * w, lambda ȳ: ȳ * 3))(X.clone().requires_grad_()).sum())
    assert w.grad is None


def test_a_rule_in_a_model_reaches_its_parameters():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(X.clone())

        def forward(self, x):
            return plain(self.w * x)

    model, ones = Model(), torch.ones(3).double()
    close(gradient(lambda m: m(ones).sum(), model)[0]["w"], FIRST)
    close(grad(lambda p: functional_call(model, p, (ones,)).sum())({"w": X})["w"], FIRST)
    back(compiled(lambda: model(ones).sum())())
    close(model.w.grad, FIRST)


def test_no_grad_gives_the_value_alone():
    x = X.clone().requires_grad_()
    with torch.no_grad():
        y = plain(x)
    assert not y.requires_grad
    close(y, SIN)
    assert not plain(X).requires_grad


def test_the_forward_pass_runs_once():
    calls = []

    @adjoint
    def counted(x):
        calls.append(1)
        return x.sin(), lambda ȳ: ȳ * x**2

    close(once(counted, X), FIRST)
    assert len(calls) == 1


# What is refused.


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        (lambda x: x, TypeError, "must return"),
        (lambda x: (x, x), TypeError, "must return"),
        (lambda x: (x, x, lambda ȳ: ȳ), TypeError, "must return"),
        (lambda x: None, TypeError, "must return"),
        (lambda x: (x, lambda ȳ: (ȳ, ȳ)), (TypeError, ValueError), "gradient"),
        (lambda x: (x, lambda ȳ: ȳ.sum()), ValueError, "shape"),
        (lambda x: (x, lambda ȳ: ȳ[None]), ValueError, "shape"),
        (lambda x: (x, lambda ȳ: 1.0), ValueError, "shape"),
    ],
)
def test_a_wrong_rule_is_refused(rule, error, message):
    for transform in (taped, lambda f, x: jvp(f, (x,), (V,)), lambda f, x: grad(total(f))(x)):
        with pytest.raises(error, match=message):
            transform(adjoint(rule), X)


@pytest.mark.parametrize("grads", [lambda ȳ: ȳ, lambda ȳ: (ȳ,), lambda ȳ: [ȳ, ȳ], lambda ȳ: (ȳ, ȳ, ȳ)])
def test_the_wrong_number_of_gradients_is_refused(grads):
    with pytest.raises(TypeError, match="2 arguments"):
        taped(lambda x: adjoint(lambda x, y: (x * y, grads))(x, x), X)


@pytest.mark.parametrize("grads", [{"a": X}, {"a": X, "b": X, "c": X}, [X, X], X])
def test_a_gradient_of_another_layout_than_its_argument_is_refused(grads):
    rule = adjoint(lambda t: (t["a"] * t["b"], lambda ȳ: (grads,)))
    with pytest.raises((TypeError, ValueError), match="gradient"):
        taped(lambda x: rule({"a": x, "b": x}), X)


def test_modules_are_refused_wherever_they_are():
    rule = adjoint(lambda m, x: (x, lambda ȳ: (None, ȳ)))
    with pytest.raises(TypeError, match="module"):
        rule(Dense(2, 2), X)
    with pytest.raises(TypeError, match="module"):
        rule({"encoder": [Dense(2, 2)]}, X)


def test_adjoint_takes_functions_only():
    with pytest.raises(TypeError, match="3"):
        adjoint(3)


def test_changing_a_saved_input_in_place_is_detected():
    x = X.clone().requires_grad_()
    h = 2 * x
    y = plain(h)
    h.mul_(3)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_an_exception_in_the_rule_passes_through():
    def fails(x):
        raise ZeroDivisionError

    for transform in (taped, lambda f, x: vmap(f)(x), lambda f, x: grad(total(f))(x)):
        with pytest.raises(ZeroDivisionError):
            transform(adjoint(fails), X)


# Memory. With the collector off, whatever goes away goes because nothing refers to it.


@pytest.fixture
def _no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def watched():
    """A rule whose pullback holds an intermediate result and its result, and the list of watches on the former."""
    watches = []

    @adjoint
    def rule(x):
        middle = x * 2
        watches.append(weakref.ref(middle))
        y = middle.sin()
        return y, lambda ȳ: ȳ * middle * y

    return rule, watches


def alive(watches):
    return sum(watch() is not None for watch in watches)


@pytest.mark.usefixtures("_no_collector")
def test_the_pullback_goes_with_the_tape():
    rule, watches = watched()
    x = X.clone().requires_grad_()
    y = rule(x).sum()
    assert alive(watches) > 0  # the pullback of the forward pass is kept
    y.backward()
    del y
    assert alive(watches) == 0
    y = rule(x).sum()
    del y  # never differentiated
    assert alive(watches) == 0


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("way", ["func.grad", "vmap(grad)", "jvp", "gradient", "gradient twice", "backward twice"])
def test_transforms_keep_nothing(way):
    rule, watches = watched()
    EAGER[way][0](rule, X)
    assert len(watches) > 0
    assert alive(watches) == 0


@pytest.mark.usefixtures("_no_collector")
def test_nothing_is_kept_where_nothing_is_recorded():
    rule, watches = watched()
    y = rule(X)
    with torch.no_grad():
        z = rule(X.clone().requires_grad_())
    assert y.shape == z.shape
    assert alive(watches) == 0


# Rules for the functions of others.


def fake_module(monkeypatch, name, **content):
    module = types.ModuleType(name)
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def test_a_rule_for_a_function_takes_its_place_wherever_it_was_imported(monkeypatch):
    def theirs(x):
        """Their words."""
        return x.sin()

    home = fake_module(monkeypatch, "home", theirs=theirs, unrelated=torch.cos)
    user = fake_module(monkeypatch, "user", renamed=theirs)

    @adjoint(of=theirs)
    def rule(x):
        return theirs(x), lambda ȳ: ȳ * x**2

    assert home.theirs is user.renamed is rule
    assert home.unrelated is torch.cos
    assert (rule.__name__, rule.__doc__) == ("theirs", "Their words.")
    close(once(user.renamed, X), FIRST)
    close(home.theirs(X), SIN)


def test_a_rule_for_a_function_that_no_module_names_is_refused():
    with pytest.raises(ValueError, match="no module has a name"):
        adjoint(lambda x: (x, lambda ȳ: ȳ), of=lambda x: x)


def test_the_rule_can_be_found():
    rule = lambda x: (x, lambda ȳ: ȳ)
    assert adjoint(rule).__adjoint__ is rule


# hook.


def test_a_hook_changes_the_gradient():
    reverse = hook(lambda ȳ: -ȳ)
    close(reverse(X), X)
    close(once(lambda x: reverse(x).sin(), X), -X.cos())
    close(once(lambda x: hook(lambda ȳ: 3 * ȳ, x).sin(), X), 3 * X.cos())
    close(grad(total(lambda x: reverse(x).sin()))(X), -X.cos())
    close(vmap(grad(lambda x: reverse(x).sin()))(X), -X.cos())


def test_a_hook_that_returns_none_only_looks():
    seen = []
    close(once(lambda x: hook(seen.append, x).sin(), X), X.cos())
    close(seen, [torch.ones(3).double() * X.cos()])


def test_a_hook_made_outside_is_compiled():
    reverse = hook(lambda ȳ: -ȳ)
    close(compiled(grad(total(lambda x: reverse(x).sin())))(X), -X.cos())


def test_a_hook_made_inside_a_compiled_function_is_refused():
    with pytest.raises(Exception, match="make the hook outside"):
        compiled(lambda x: hook(lambda ȳ: -ȳ, x).sin())(X)


# ignore.


def test_ignored_is_constant():
    close(once(lambda x: x * ignore(x), X), X)
    close(once(lambda x: x * ignore(torch.sin, x), X), SIN)
    close(twice(lambda x: x**2 * ignore(x), X), 2 * X)


def test_ignore_takes_trees_and_leaves_other_things_alone():
    tree = ignore({"a": [X.clone().requires_grad_(), 3], "name": "n"})
    assert not tree["a"][0].requires_grad
    assert (tree["a"][1], tree["name"]) == (3, "n")
    assert gradient(lambda x: x * float(ignore(x)), 3.0) == (3.0,)


@pytest.mark.parametrize("way", ["backward", "func.grad", "vmap(grad)", "gradient"])
def test_ignored_is_constant_in_transforms(way):
    transform, expected = EAGER[way]
    close(transform(lambda x: x * ignore(x**2), X), expected)


def test_ignored_is_constant_in_forward_mode():
    close(jvp(lambda x: x * ignore(x), (X,), (V,))[1], X * V)
    close(jvp(lambda x: x * ignore(torch.sin, x), (X,), (V,))[1], SIN * V)


def test_ignored_is_constant_compiled():
    close(compiled(grad(total(lambda x: x * ignore(x) * ignore(torch.sin, x))))(X), X * SIN)


# checkpointed.


def counting(f):
    calls = []

    def counted(*xs):
        calls.append(1)
        return f(*xs)

    return counted, calls


def test_checkpointed_is_computed_twice_and_has_the_same_gradient():
    f, calls = counting(lambda x, y: (x * y).sin())
    given = gradient(lambda x, y: checkpointed(f, x, y).sum(), X, V)
    assert len(calls) == 2
    close(given, ((X * V).cos() * V, (X * V).cos() * X))
    checkpointed(f, X, V)
    assert len(calls) == 3


def test_checkpointed_frees_what_it_computes():
    watches = []

    def f(x):
        middle = x.exp()
        watches.append(weakref.ref(middle))
        return (middle * middle).sum()

    x = X.clone().requires_grad_()
    y = checkpointed(f, x)
    assert alive(watches) == 0
    y.backward()
    close(x.grad, 2 * (2 * X).exp())
    y = f(x)
    assert alive(watches) == 1  # as it is without


def test_checkpointed_reaches_parameters():
    layer = Dense(3, 2, torch.tanh).double()
    (expected,) = gradient(lambda m: m(X).sum(), layer)
    close(gradient(lambda m: checkpointed(m, X).sum(), layer)[0], expected)
    back(checkpointed(layer, X).sum())
    close(layer.bias.grad, expected["bias"])


def test_checkpointed_draws_the_same_random_numbers_again():
    torch.manual_seed(0)
    x = torch.ones(1000)
    seen = []

    def noisy(x):
        seen.append(torch.randn(1000))
        return x * seen[-1]

    (dx,) = gradient(lambda x: checkpointed(noisy, x).sum(), x)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(dx, seen[0])


@pytest.mark.parametrize("way", ["func.grad", "vmap(grad)", "jvp", "grad(grad)", "gradient twice", "hessian"])
def test_checkpointed_in_transforms(way):
    transform = EAGER[way][0]
    close(transform(lambda x: checkpointed(lambda x: x**3, x), X), transform(lambda x: x**3, X))


def test_checkpointed_compiled():
    x = X.clone().requires_grad_()
    compiled(lambda x: checkpointed(lambda x: x.sin().exp(), x).sum())(x).backward()
    close(x.grad, X.cos() * X.sin().exp())
    close(compiled(lambda x: once(lambda x: checkpointed(torch.sin, x), x))(X), X.cos())


def test_checkpointed_keeps_a_custom_gradient():
    close(once(lambda x: checkpointed(plain, x), X), FIRST)
