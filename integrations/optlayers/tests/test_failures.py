"""Programs without a solution: named, and no harm to the others."""

import pytest
import torch
from random_programs import batch

from torchflux_optlayers import QPLayer, Status, solve_osqp, solve_qp

BAD = {1: Status.INFEASIBLE, 3: Status.UNBOUNDED, 4: Status.NOT_CONVEX, 6: Status.NOT_FINITE}


@pytest.fixture(params=["native", "torch"])
def route(request):
    if request.param == "native":
        pytest.importorskip("torchflux_zygote")
    return request.param


def spoilt():
    """Eight programs, and those with four of them made unsolvable."""
    good = batch("strictly convex", 8)
    bad = [v.clone() for v in good]
    for into, infeasible, unbounded in zip(bad, batch("infeasible", 1), batch("unbounded", 1), strict=True):
        into[1], into[3] = infeasible[0], unbounded[0]
    bad[0][4] -= 5 * torch.eye(6)
    bad[1][6, 2] = torch.nan
    return good, bad


def test_the_error_names_them(route):
    with pytest.raises(RuntimeError, match="4 of 8 programs") as error:
        solve_qp(*spoilt()[1], route=route)
    for i, status in BAD.items():
        assert f"{status.name} at {i} (" in str(error.value)
    with pytest.raises(RuntimeError, match=r"INFEASIBLE at \(0, 1\)"):
        solve_qp(*(v.view(2, 4, *v.shape[1:]) for v in spoilt()[1]), route=route)
    with pytest.raises(RuntimeError, match="INFEASIBLE as a whole"):
        solve_qp(*(v[1] for v in spoilt()[1]), route=route)


@pytest.mark.parametrize("on_failure", ["nan", "best"])
def test_the_others_are_untouched(on_failure, route):
    good, bad = ([v.requires_grad_() for v in programs] for programs in spoilt())
    expected, found = solve_qp(*good, route=route), solve_qp(*bad, on_failure=on_failure, route=route)
    assert {i: Status(s) for i, s in enumerate(found.status.tolist()) if s} == BAD
    kept = found.solved
    assert kept.tolist() == [i not in BAD for i in range(8)]
    grads = []
    for programs, solution in ((good, expected), (bad, found)):
        for a, b in zip(solution[:4], expected[:4], strict=True):
            assert torch.equal(a[kept], b[kept])
        grads.append(torch.autograd.grad((solution.x[kept] ** 2).sum() + solution.z[kept].sum(), programs))
    for a, b in zip(*grads, strict=True):
        assert torch.equal(a, b)  # zero for those that failed
    assert found.x[~kept].isnan().all() == (on_failure == "nan")


def test_gradients_of_what_failed_are_nan(route):
    _, bad = spoilt()
    p = bad[1].clone().requires_grad_()
    x = solve_qp(bad[0], p, *bad[2:], on_failure="best", route=route).x
    (grad,) = torch.autograd.grad(x.sum(), p)
    assert grad.isnan().all(1).tolist() == [i in BAD for i in range(8)]


def test_a_limit_that_is_reached(route):
    Q, p, G, h, A, b = batch("badly scaled", 40)
    hasty = solve_qp(Q, p, G, h, A, b, on_failure="best", max_iterations=1, route=route)
    assert set(hasty.status.tolist()) == {Status.SOLVED, Status.MAX_ITERATIONS}


def test_what_was_filled_with_nan_has_no_gradient(route):
    Q, p, *rest = (v.requires_grad_() for v in batch("badly scaled", 40))
    hasty = solve_qp(Q, p, *rest, on_failure="nan", max_iterations=1, route=route)
    for grad in torch.autograd.grad(hasty.x.sum(), (Q, p)):
        assert torch.equal(grad.flatten(1).isnan().any(1), hasty.status == Status.MAX_ITERATIONS)


def test_equations_that_contradict_each_other(route):
    Q, p, A = torch.eye(2), torch.ones(2), torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    assert solve_qp(Q, p, None, None, A, torch.tensor([1.0, 2.0]), route=route).solved
    other = solve_qp(Q, p, None, None, A, torch.tensor([1.0, 2.1]), on_failure="nan", route=route)
    assert other.status == Status.INFEASIBLE


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"Q": torch.eye(3)}, ValueError, r"Q has shape \(3, 3\): it is \(\*, n, n\) with n = 2"),
        ({"p": torch.tensor(1.0)}, ValueError, r"p has shape \(\)|Q has shape"),
        ({"Q": torch.ones(0, 0), "p": torch.ones(0)}, ValueError, "n is at least 1"),
        ({"G": torch.eye(2), "h": torch.tensor(1.0)}, ValueError, r"G has shape \(2, 2\): it is .* with m = 1, n = 2"),
        ({"G": torch.eye(2), "h": torch.ones(1)}, ValueError, r"G has shape \(2, 2\): it is .* with m = 1, n = 2"),
        ({"G": torch.ones(1, 2)}, ValueError, "G and h belong together"),
        ({"G": torch.ones(1, 3), "h": torch.ones(1)}, ValueError, r"G has shape \(1, 3\)"),
        ({"G": torch.ones(3, 1, 2), "h": torch.ones(2, 1)}, ValueError, "can't be broadcast: Q"),
        ({"Q": torch.eye(2, dtype=torch.float64)}, TypeError, "p is torch.float32 on cpu, Q torch.float64"),
        ({"p": torch.ones(2, device="meta")}, TypeError, "p is torch.float32 on meta, Q torch.float32 on cpu"),
        ({"Q": torch.eye(2, dtype=torch.int64)}, TypeError, "Q is torch.int64.*: pass a dense tensor of float32"),
        ({"Q": torch.eye(2).to_sparse()}, TypeError, "Q is torch.float32, torch.sparse_coo: pass a dense"),
        ({"p": None}, TypeError, "p is NoneType"),
        ({"Q": [[1.0]]}, TypeError, "Q is list"),
        ({"on_failure": "ignore"}, ValueError, "on_failure='ignore'"),
        ({"route": "fast"}, ValueError, "route='fast'"),
        ({"tol": 0.0}, ValueError, "tol=0.0"),
        ({"tol": float("nan")}, ValueError, "tol=nan"),
        ({"max_iterations": 2.5}, ValueError, "max_iterations=2.5"),
        ({"max_iterations": 0}, ValueError, "max_iterations=0"),
        ({"warm_start": solve_qp(torch.eye(3), torch.ones(3))}, ValueError, r"warm_start has \(3, 0, 0\) variables"),
        ({"warm_start": solve_qp(torch.eye(2), torch.ones(5, 2))}, ValueError, r"warm_start is of a batch \(5,\)"),
        ({"warm_start": (torch.ones(2),)}, TypeError, "warm_start is tuple: pass a QPSolution"),
    ],
)
def test_what_is_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        solve_qp(**{"Q": torch.eye(2), "p": torch.ones(2)} | arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"P": torch.eye(2, dtype=torch.int64)}, TypeError, "P is torch.int64"),
        ({"l": [0.0, 0.0]}, TypeError, "l is list"),
        ({"l": torch.zeros(3)}, ValueError, r"l has shape \(3,\): it is \(\*, m\) with m = 2"),
    ],
)
def test_what_is_refused_in_osqps_form(arguments, error, text):
    fine = {"P": torch.eye(2), "q": torch.ones(2), "A": torch.eye(2), "l": torch.zeros(2), "u": torch.ones(2)}
    with pytest.raises(error, match=text):
        solve_osqp(**fine | arguments)


@pytest.mark.parametrize("kind", ["infeasible", "unbounded"])
@pytest.mark.parametrize("cost_unit", [1e-140, 1.0, 1e140])
def test_other_units_change_no_reason(kind, cost_unit, route):
    rng, size = torch.Generator().manual_seed(0), 20
    column, row = (10 ** (12 * torch.rand(size, n, generator=rng, dtype=torch.float64) - 6) for n in (6, 10))
    Q, p, G, h, A, b = batch(kind, size)
    Q, p = cost_unit * column[:, :, None] * Q * column[:, None], cost_unit * column * p
    found = solve_qp(
        Q, p, row[..., None] * G * column[:, None], row * h, A * column[:, None], b, on_failure="nan", route=route
    )
    assert found.status.tolist() == [getattr(Status, kind.upper())] * size


def test_the_layer_is_a_module():
    with pytest.raises(ValueError, match="on_failure='none'"):
        QPLayer(on_failure="none")
    with pytest.raises(TypeError, match="on_failur"):
        QPLayer(on_failur="nan")
    layer = QPLayer(on_failure="nan")
    Q, p, G, h, A, b = batch("strictly convex", 3)
    assert torch.equal(layer(Q, p, G, h, A, b), solve_qp(Q, p, G, h, A, b).x)
    assert layer.solve(Q, p).solved.all()
    assert repr(layer) == "QPLayer(on_failure='nan')"
    assert not list(layer.parameters())


def test_what_a_linear_program_knows(route):
    """One iteration proves nothing: HiGHS says which have no solution, beside bounds that are infinite too."""
    for kind, status in (("infeasible", Status.INFEASIBLE), ("unbounded", Status.UNBOUNDED)):
        Q, p, G, h, A, b = batch(kind, 10)
        G, h = torch.cat((G, G[:, :1]), 1), torch.cat((h, torch.full_like(b, torch.inf)), 1)
        found = solve_qp(Q, p, G, h, A, b, on_failure="nan", max_iterations=1, route=route)
        assert found.status.tolist() == [status] * 10
