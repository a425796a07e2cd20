"""Called with tensors, a native function is a torch operation: one table of transforms for every kind of function."""

import math

import numpy as np
import pytest
import torch
from native_check import interpreted, native, twin
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

from torchflux_zygote._native import _operation


@pytest.fixture(autouse=True)
def interpreter(monkeypatch):
    """Most of these run the generated text as Python: torch's side is the same, and compiling it takes minutes."""
    monkeypatch.setattr(_operation, "compiled", interpreted)


@pytest.fixture(autouse=True, scope="module")
def doubles():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def scalar(x, y):
    z = x
    for i in range(3):
        if z > 0.3:
            z = z * math.sin(y) + x
        else:
            z = z - y * y * (i + 1)
    return z * z * y


def of_array(a, x):
    a = a.copy()
    s = x
    for i in range(1, len(a)):
        a[i] = a[i] + 0.3 * a[i - 1] * a[i - 1]
        s = s + math.sin(a[i]) * x
    return s


def to_array(a, x):
    b = a * x + np.sin(a)
    b[0] = b[1] * x
    return b


def several(a, x):
    return (a * a).sum() * x, a * x, x * x


FUNCTIONS = {f.__name__: native(f) for f in (scalar, of_array, to_array, several)}
TWINS = {f.__name__: twin(f) for f in (scalar, of_array, to_array, several)}
A = torch.tensor([0.7, -1.2, 2.3, 0.4], dtype=torch.float64)
X, Y = torch.tensor(0.6, dtype=torch.float64), torch.tensor(1.3, dtype=torch.float64)
ARGS = {"scalar": (X, Y), "of_array": (A, X), "to_array": (A, X), "several": (A, X)}


def reference(name):
    """The function by torch itself (which may not change its argument)."""
    f = TWINS[name]

    def run(*args):
        torch.Tensor.copy = torch.Tensor.clone
        try:
            return f(*(x.clone() if isinstance(x, torch.Tensor) else x for x in args))
        finally:
            del torch.Tensor.copy

    return run


def fresh(name):
    """The native function, called with copies (two of the functions change their argument)."""
    f = FUNCTIONS[name]
    return lambda *args: f(*(x.clone() if isinstance(x, torch.Tensor) else x for x in args))


def total(f):
    """One number of all the results."""

    def run(*args):
        found = f(*args)
        return sum((y * y).sum() for y in (found if isinstance(found, tuple) else (found,)))

    return run


def batch(x, n=5):
    scale = torch.linspace(0.5, 1.5, n).reshape(n, *(1,) * x.ndim)
    return x * scale


def same(found, expected, tolerance=1e-10):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


each = pytest.mark.parametrize("name", list(FUNCTIONS))
scalars = pytest.mark.parametrize("name", ["scalar", "of_array"])


@each
def test_value(name):
    same(fresh(name)(*ARGS[name]), reference(name)(*ARGS[name]))


@each
def test_backward(name):
    grads = []
    for f in (fresh(name), reference(name)):
        args = [x.clone().requires_grad_() for x in ARGS[name]]
        total(f)(*args).backward()
        grads.append([x.grad for x in args])
    same(*grads)


@each
@pytest.mark.parametrize("which", [0, 1])
def test_backward_of_some_arguments(name, which):
    grads = []
    for f in (fresh(name), reference(name)):
        args = [x.clone().requires_grad_(k == which) for k, x in enumerate(ARGS[name])]
        total(f)(*args).backward()
        grads.append(args[which].grad)
        assert args[1 - which].grad is None
    same(*grads)


@each
def test_func_grad(name):
    for k in (0, 1):
        same(grad(total(fresh(name)), k)(*ARGS[name]), grad(total(reference(name)), k)(*ARGS[name]))
    same(grad(total(fresh(name)), (0, 1))(*ARGS[name]), grad(total(reference(name)), (0, 1))(*ARGS[name]))


@each
def test_vjp(name):
    for f in (fresh, reference):
        y, back = vjp(f(name), *ARGS[name])
        seeds = tuple(torch.ones_like(part) for part in y) if isinstance(y, tuple) else torch.ones_like(y)
        if f is fresh:
            found = back(seeds)
        else:
            same(found, back(seeds))


@each
def test_jvp(name):
    tangents = tuple(torch.sin(3.0 * x) for x in ARGS[name])
    same(jvp(fresh(name), ARGS[name], tangents), jvp(reference(name), ARGS[name], tangents))


@each
def test_jacrev_and_jacfwd(name):
    for k in (0, 1):
        expected = jacrev(reference(name), k)(*ARGS[name])
        same(jacrev(fresh(name), k)(*ARGS[name]), expected)
        same(jacfwd(fresh(name), k)(*ARGS[name]), expected)


@each
def test_second_derivatives(name):
    f, expected = total(fresh(name)), total(reference(name))
    wanted = jacrev(jacrev(expected))(*ARGS[name])
    same(jacrev(grad(f))(*ARGS[name]), wanted)
    same(jacfwd(grad(f))(*ARGS[name]), wanted)
    same(hessian(f)(*ARGS[name]), wanted)


def test_grad_of_grad_of_a_number():
    f = lambda x: FUNCTIONS["scalar"](x, Y)
    g = lambda x: reference("scalar")(x, Y)
    same(grad(grad(f))(X), grad(grad(g))(X))
    same(grad(grad(grad(f)))(X), grad(grad(grad(g)))(X))


@each
@pytest.mark.parametrize("dims", [(0, None), (None, 0), (0, 0)])
def test_vmap(name, dims):
    args = tuple(batch(x) if d == 0 else x for x, d in zip(ARGS[name], dims, strict=True))
    rows = [tuple(x[i] if d == 0 else x for x, d in zip(args, dims, strict=True)) for i in range(5)]
    one_by_one = [fresh(name)(*row) for row in rows]
    expected = (
        tuple(map(torch.stack, zip(*one_by_one, strict=True)))
        if isinstance(one_by_one[0], tuple)
        else torch.stack(one_by_one)
    )
    same(vmap(FUNCTIONS[name], dims)(*(x.clone() for x in args)), expected)


def test_vmap_over_the_second_axis():
    a = batch(A).T.contiguous()
    found = vmap(FUNCTIONS["to_array"], (1, None), 1)(a.clone(), X)
    expected = torch.stack([fresh("to_array")(a[:, i].clone(), X) for i in range(5)], 1)
    same(found, expected)


def test_vmap_of_vmap():
    x, y = torch.linspace(0.2, 1.0, 3), torch.linspace(0.5, 2.0, 4)
    f = FUNCTIONS["scalar"]
    found = vmap(vmap(f, (None, 0)), (0, None))(x, y)
    expected = torch.stack([torch.stack([f(a, b) for b in y]) for a in x])
    same(found, expected)


@scalars
def test_vmap_of_grad(name):
    args = tuple(batch(x) for x in ARGS[name])
    found = vmap(grad(fresh(name), (0, 1)))(*args)
    rows = [grad(reference(name), (0, 1))(*(x[i] for x in args)) for i in range(5)]
    same(found, tuple(map(torch.stack, zip(*rows, strict=True))))


@scalars
def test_grad_of_vmap(name):
    args = (batch(ARGS[name][0]), ARGS[name][1])  # the second is shared: its gradient is a sum
    f = lambda *xs: vmap(fresh(name), (0, None))(*xs).square().sum()
    g = lambda *xs: sum(reference(name)(xs[0][i], xs[1]).square() for i in range(5))
    same(grad(f, (0, 1))(*args), grad(g, (0, 1))(*args))


@scalars
def test_jvp_of_vmap(name):
    args = (batch(ARGS[name][0]), ARGS[name][1])
    tangents = tuple(torch.cos(x) for x in args)
    f = lambda *xs: vmap(fresh(name), (0, None))(*xs)
    g = lambda *xs: torch.stack([reference(name)(xs[0][i], xs[1]) for i in range(5)])
    same(jvp(f, args, tangents), jvp(g, args, tangents))


@scalars
def test_vmap_of_hessian(name):
    args = tuple(batch(x, 3) for x in ARGS[name])
    found = vmap(hessian(fresh(name)))(*args)
    same(found, torch.stack([hessian(reference(name))(*(x[i] for x in args)) for i in range(3)]))


def test_per_sample_gradients_backward():
    a = batch(A).requires_grad_()
    vmap(fresh("of_array"), (0, None))(a, X).sum().backward()
    b = batch(A).requires_grad_()
    sum(reference("of_array")(b[i], X) for i in range(5)).backward()
    same(a.grad, b.grad)


@each
def test_gradcheck(name):
    args = tuple(x.clone().requires_grad_() for x in ARGS[name])
    assert torch.autograd.gradcheck(fresh(name), args)
    assert torch.autograd.gradgradcheck(fresh(name), args)


def test_gradcheck_in_forward_mode():
    args = tuple(x.clone().requires_grad_() for x in ARGS["of_array"])
    assert torch.autograd.gradcheck(fresh("of_array"), args, check_forward_ad=True, check_batched_grad=True)


def test_create_graph():
    x = X.clone().requires_grad_()
    (first,) = torch.autograd.grad(FUNCTIONS["scalar"](x, Y), x, create_graph=True)
    (second,) = torch.autograd.grad(first, x, create_graph=True)
    z = X.clone().requires_grad_()
    (expected,) = torch.autograd.grad(reference("scalar")(z, Y), z, create_graph=True)
    same(first, expected)
    same(second, torch.autograd.grad(expected, z, create_graph=True)[0])


def test_numbers_and_tensors_together():
    x = X.clone().requires_grad_()
    f = FUNCTIONS["scalar"]
    y = f(x, 1.3)
    y.backward()
    assert x.grad.item() == pytest.approx(f.gradient(0.6, 1.3)[0], rel=1e-12)
    assert f(0.6, torch.tensor(1.3)).item() == pytest.approx(f(0.6, 1.3), rel=1e-12)
    same(grad(lambda t: f(0.6, t))(Y), torch.tensor(f.gradient(0.6, 1.3)[1]))
    same(vmap(lambda t: f(t, 1.3))(batch(X)), torch.stack([f(t, 1.3) for t in batch(X)]))


def test_integers_and_flags_beside_tensors():
    @native
    def power(x, n, flip):
        y = 1.0
        for _ in range(n):
            y = y * x
        return -y if flip else y

    x = X.clone().requires_grad_()
    power(x, 3, True).backward()
    assert x.grad.item() == pytest.approx(-3 * 0.36)
    same(vmap(grad(power), (0, None, None))(batch(X), 3, False), 3 * batch(X) ** 2)


def test_integer_results_have_no_gradient():
    f = native(lambda x: (x * x, int(x * 10.0), x > 0.5))
    x = X.clone().requires_grad_()
    y, k, flag = f(x)
    assert (k.item(), flag.item(), k.requires_grad, flag.requires_grad) == (6, True, False, False)
    assert k.dtype == torch.int64
    assert flag.dtype == torch.bool
    y.backward()
    assert x.grad.item() == pytest.approx(1.2)


def test_integer_tensors():
    @native
    def gather(a, k):
        s = 0.0
        for i in range(len(k)):
            s += a[k[i]] * (i + 1)
        return s

    a = A.clone().requires_grad_()
    gather(a, torch.tensor([2, 0, 2])).backward()
    same(a.grad, torch.tensor([2.0, 0.0, 4.0, 0.0]))


def test_float32():
    a, x = A.float().requires_grad_(), X.float().requires_grad_()
    y = fresh("of_array")(a, x)
    assert y.dtype == torch.float32
    y.backward()
    assert (a.grad.dtype, x.grad.dtype) == (torch.float32, torch.float32)
    same(a.grad.double(), grad(reference("of_array"))(A, X), 1e-5)
    assert fresh("to_array")(a, x).dtype == torch.float32
    y, dy = jvp(fresh("of_array"), (A.float(), X.float()), (A.float(), X.float()))
    assert (y.dtype, dy.dtype) == (torch.float32, torch.float32)
    assert hessian(fresh("of_array"))(A.float(), X.float()).dtype == torch.float32


def test_tensors_that_are_not_contiguous():
    m = torch.stack([A, 2.0 * A], 1)
    strided, reverse = m[:, 1], torch.stack([A, A])[:, ::2]
    assert not strided.is_contiguous()
    same(fresh("of_array")(strided, X), reference("of_array")(strided, X))
    f = native(lambda v, x: (v * v).sum() * v[0] * x)
    for v in (strided, A.expand(2, 4)[1], reverse[0], m.T[0]):
        z = v.detach().clone().requires_grad_()
        (z.square().sum() * z[0] * X).backward()
        leaf = m.clone().requires_grad_()
        same(f(v, X), (v.square().sum() * v[0] * X))
        _ = leaf
    leaf = m.clone().requires_grad_()
    f(leaf[:, 1], X).backward()
    other = m.clone().requires_grad_()
    (other[:, 1].square().sum() * other[0, 1] * X).backward()
    same(leaf.grad, other.grad)


def test_gradients_that_come_in_not_contiguous():
    a = A.clone().requires_grad_()
    (fresh("to_array")(a, X).expand(3, 4).T.sum()).backward()
    b = A.clone().requires_grad_()
    (reference("to_array")(b, X).expand(3, 4).T.sum()).backward()
    same(a.grad, b.grad)


def test_parameters_and_modules():
    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(A.clone())

        def forward(self, x):
            return FUNCTIONS["several"](self.w, x)[0]

    layer = Layer()
    layer(X).backward()
    same(layer.w.grad, 2.0 * A * X)
    found = torch.func.functional_call(layer, {"w": 2.0 * A}, (X,))
    same(found, (4.0 * A * A).sum() * X)


@pytest.mark.parametrize("captured", [True, False])
@pytest.mark.parametrize("pair", [True, False])
def test_a_numpy_array_that_is_changed_does_not_reach_the_gradient(captured, pair):
    """Captured or an argument; of one number, whose gradient is taken at once, and of two; once and recorded."""
    a = np.array([1.0, 2.0])
    if captured:
        f = native((lambda x: ((a * x * x).sum(), 1.0 * x[0])) if pair else (lambda x: (a * x * x).sum()))
    else:
        f = native((lambda x, b: ((b * x * x).sum(), 1.0 * x[0])) if pair else (lambda x, b: (b * x * x).sum()))
    for recorded in (False, True):
        a[:] = 1.0, 2.0
        x = torch.ones(2, requires_grad=True)
        y = f(x) if captured else f(x, a)
        y = y[0] if pair else y
        (slope,) = torch.autograd.grad(y, x, create_graph=True) if recorded else (y,)
        a[:] = 100.0
        (found,) = torch.autograd.grad(slope.sum(), x)
        assert found.tolist() == [2.0, 4.0]


def test_an_argument_that_is_changed_is_refused():
    """Backward would see other contents than those of the call."""

    @native
    def change(a, x):
        a[0] = x
        return a.sum()

    with pytest.raises(TypeError, match=r"stores into an argument.*copy"):
        change(A.clone(), X)
    with pytest.raises(TypeError, match=r"stores into an argument.*copy"):
        change(A.clone().requires_grad_(), X)


def test_memory_is_shared_with_torch():
    big = torch.zeros(1000)
    seen = []
    f = native(lambda a: a[0] + a[-1])
    special, flat = f.specialised((big,))
    special.operation.__dict__["function"] = lambda a: seen.append(a.__array_interface__["data"][0]) or 0.0
    f(big)
    assert seen == [big.data_ptr()]
    assert flat


def test_no_grad_and_inference_mode():
    x = X.clone().requires_grad_()
    with torch.no_grad():
        assert not FUNCTIONS["scalar"](x, Y).requires_grad
    with torch.inference_mode():
        same(FUNCTIONS["scalar"](x, Y).clone(), reference("scalar")(X, Y))


def test_large_batches_in_threads():
    x = torch.linspace(0.1, 2.0, 20000)
    f = FUNCTIONS["scalar"]
    found = vmap(f, (0, None))(x, Y)
    picked = torch.tensor([0, 1, 777, 9999, 19999])
    same(found[picked], torch.stack([f(t, Y) for t in x[picked]]))
    same(vmap(grad(f), (0, None))(x, Y)[picked], torch.stack([grad(f)(t, Y) for t in x[picked]]))


def test_a_batch_of_none():
    with pytest.raises(ValueError, match="empty batch"):
        vmap(FUNCTIONS["scalar"], (0, None))(torch.zeros(0), Y)


def test_other_dtypes_are_refused():
    f = FUNCTIONS["scalar"]
    for dtype in (torch.float16, torch.bfloat16, torch.complex128, torch.int32):
        with pytest.raises(TypeError, match=str(dtype).removeprefix("torch.")):
            f(X.to(dtype), Y)


def test_other_devices_are_refused():
    with pytest.raises(ValueError, match=r"run on the CPU.*\.cpu\(\)"):
        FUNCTIONS["scalar"](torch.tensor(0.5, device="meta"), Y)


def test_errors_of_the_program_come_through():
    @native
    def pick(a, k):
        return a[k] * 2.0

    with pytest.raises(IndexError, match="index out of bounds"):
        pick(A, 9)
    a = A.clone().requires_grad_()
    with pytest.raises(IndexError, match="index out of bounds"):
        pick(a, 9)
    with pytest.raises(IndexError, match="index out of bounds"):
        vmap(pick, (0, None))(batch(A), 9)


@pytest.mark.parametrize("name", ["scalar", "to_array"])
def test_compile(name):
    f = fresh(name)
    compiled = torch.compile(lambda *args: torch.tanh(total(f)(*args)) * 2.0, fullgraph=True, backend="aot_eager")
    args = [x.clone().requires_grad_() for x in ARGS[name]]
    others = [x.clone().requires_grad_() for x in ARGS[name]]
    found, expected = compiled(*args), torch.tanh(total(reference(name))(*others)) * 2.0
    same(found, expected)
    found.backward()
    expected.backward()
    same([x.grad for x in args], [x.grad for x in others])
