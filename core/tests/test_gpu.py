"""The same on an accelerator as on the CPU; skipped where there is none."""

import copy

import pytest
import torch

from torchflux import (
    GRU,
    Adam,
    AMSGrad,
    BatchNorm,
    Chain,
    ClipNorm,
    Conv,
    Dense,
    Momentum,
    OptimiserChain,
    adjoint,
    cpu,
    flatten,
    gpu,
    gradient,
    load,
    logitcrossentropy,
    relu,
    save,
    setup,
    state,
    update,
    withgradient,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.fixture(autouse=True)
def exact():
    torch.manual_seed(0)
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def convnet():
    return Chain(Conv((3, 3), 1, 4), BatchNorm(4, relu), flatten, Dense(144, 10))


def batch():
    return torch.randn(16, 1, 8, 8), torch.randint(0, 10, (16,))


def trained(model, rule, steps=3):
    (x, y), st = batch(), setup(rule, model)
    x, y = gpu((x, y)) if next(model.parameters()).is_cuda else (x, y)
    for _ in range(steps):
        (grads,) = gradient(lambda m: logitcrossentropy(m(x), y), model)
        update(st, model, grads)
    return model, st


@pytest.mark.parametrize("rule", [Adam(0.01), AMSGrad(0.01), Momentum(0.01), OptimiserChain(ClipNorm(0.1), Adam(0.01))])
def test_training_equals_the_cpu(rule):
    here = convnet()
    there = copy.deepcopy(here) | gpu
    torch.manual_seed(1)
    trained(here, rule)
    torch.manual_seed(1)
    trained(there, rule)
    for path, x in state(here).items():
        torch.testing.assert_close(state(there)[path].cpu(), x, rtol=1e-3, atol=1e-4, msg=path)


def test_trees_move_there_and_back():
    tree = {"a": torch.ones(2), "b": [torch.zeros(1, dtype=torch.long), "text"]}
    moved = gpu(tree)
    assert moved["a"].is_cuda
    assert moved["b"][0].is_cuda
    assert not cpu(moved)["a"].is_cuda


def test_a_checkpoint_goes_on_there(tmp_path):
    model, st = trained(convnet() | gpu, Adam(0.01))
    save(tmp_path / "c.safetensors", model=model, opt=st)
    fresh = convnet() | gpu
    fresh_st = setup(Adam(0.1), fresh)
    load(tmp_path / "c.safetensors", model=fresh, opt=fresh_st)
    assert fresh_st["0.weight"].state["m"].is_cuda
    torch.testing.assert_close(fresh_st["0.weight"].state["m"], st["0.weight"].state["m"])
    torch.testing.assert_close(dict(state(fresh)), dict(state(model)))


def test_batchnorm_inside_func_grad_moves_its_statistics():
    x = gpu(torch.randn(8, 3))
    norm = BatchNorm(3) | gpu
    twin = torch.nn.BatchNorm1d(3).cuda()
    twin(x)
    torch.func.grad(lambda x: norm(x).sin().sum())(x)
    torch.testing.assert_close(norm.running_mean, twin.running_mean)
    torch.testing.assert_close(norm.running_var, twin.running_var)


def test_a_recurrent_layer_equals_the_cpu():
    layer, x = GRU(3, 5), torch.randn(2, 7, 3)
    y = layer(x)
    torch.testing.assert_close((copy.deepcopy(layer) | gpu)(gpu(x)).cpu(), y, rtol=1e-3, atol=1e-4)


def test_a_custom_gradient_and_a_compiled_step():
    @adjoint
    def seven(x):
        return torch.sin(x), lambda slope: 7 * slope

    x = gpu(torch.ones(3))
    torch.testing.assert_close(gradient(lambda x: seven(x).sum(), x)[0], 7 * torch.ones_like(x))
    model, (x, y) = convnet() | gpu, gpu(batch())
    st, twin = setup(Adam(0.01), model), copy.deepcopy(model)
    twin_st = setup(Adam(0.01), twin)

    def step(model, st, x, y):
        loss, (grads,) = withgradient(lambda m: logitcrossentropy(m(x), y), model)
        update(st, model, grads)
        return loss

    compiled = torch.compile(step, fullgraph=True)
    for _ in range(2):
        torch.testing.assert_close(compiled(model, st, x, y), step(twin, twin_st, x, y), rtol=1e-3, atol=1e-4)
