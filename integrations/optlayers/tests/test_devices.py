"""Every tensor is made where the arguments are, and on a GPU the answers are those of the CPU."""

import pytest
import torch
from random_programs import batch
from torch.func import grad, jvp, vmap

from torchflux_optlayers import solve_osqp, solve_qp

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def everything(*args, **options):
    """All of a solution that has derivatives."""
    return torch.cat(solve_qp(*args, **options)[:4], -1)


def loss(*args, **options):
    return (everything(*args, route="torch", **options) ** 3).sum()


def in_many_ways(*args):
    """Results of all that can be done with programs: each a tensor."""
    leaves = [v.detach().clone().requires_grad_() for v in args]
    first = torch.autograd.grad(loss(*leaves), leaves, create_graph=True)
    second = torch.autograd.grad(sum(v.sum() for v in first), leaves)
    before = solve_qp(*args, route="torch")
    warm = solve_qp(*(1.001 * v for v in args), warm_start=before, route="torch")
    Q, p, G, h, A, b = args
    tangent = jvp(loss, args, args)[1]
    mapped = vmap(grad(loss))(*args)
    bounds = solve_osqp(Q, p, G, h - 3, h, route="torch")
    spoilt = solve_qp(Q, p.index_fill(0, torch.zeros_like(before.status[:1]), torch.nan), G, h, A, b, on_failure="nan")
    limited = solve_qp(*args, max_iterations=1, on_failure="best", route="torch")
    return [*before, *warm, *bounds, *spoilt, *limited, *first, *second, tangent, mapped]


def test_tensors_are_made_where_the_arguments_are():
    """On the CPU, while the default device is one whose tensors can't be mixed with the CPU's."""
    args = tuple(batch("strictly convex", 4))
    expected = in_many_ways(*args)
    with torch.device("meta"):
        found = in_many_ways(*args)
        with pytest.raises(RuntimeError, match="INFEASIBLE at 0, 1, 2"):
            solve_qp(*batch_on_cpu("infeasible", 3), route="torch")
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, equal_nan=True)


def batch_on_cpu(kind, size):
    with torch.device("cpu"):
        return batch(kind, size)


def test_a_start_of_another_dtype():
    args = batch("strictly convex", 3)
    before = solve_qp(*(v.float() for v in args))
    assert solve_qp(*args, warm_start=before).iterations.tolist() == [1] * 3


@needs_cuda
@pytest.mark.parametrize("kind", ["strictly convex", "degenerate", "badly scaled"])
def test_a_gpu_has_the_same_answers(kind):
    args = tuple(batch(kind, 8))
    for a, b in zip(solve_qp(*(v.cuda() for v in args)), solve_qp(*args, route="torch"), strict=True):
        assert a.is_cuda
        torch.testing.assert_close(a.cpu(), b, rtol=1e-8, atol=1e-8)


@needs_cuda
def test_everything_on_a_gpu():
    args = tuple(batch("strictly convex", 4))
    for a, b in zip(in_many_ways(*(v.cuda() for v in args)), in_many_ways(*args), strict=True):
        assert a.is_cuda
        torch.testing.assert_close(a.cpu(), b, rtol=1e-6, atol=1e-6, equal_nan=True)


@needs_cuda
def test_failures_and_warm_starts_across_devices():
    with pytest.raises(RuntimeError, match="INFEASIBLE at 0, 1, 2"):
        solve_qp(*(v.cuda() for v in batch("infeasible", 3)))
    args = batch("strictly convex", 4)
    warm = solve_qp(*(v.cuda() for v in args), warm_start=solve_qp(*args))
    assert warm.iterations.tolist() == [1] * 4
    with pytest.raises(RuntimeError, match="tensors on the CPU"):
        solve_qp(*(v.cuda() for v in args), route="native")
