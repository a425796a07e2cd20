"""Linear systems: every kind of matrix, differences, and what is refused."""

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch.autograd import gradcheck, gradgradcheck

from torchflux_optlayers import CG, GMRES, Dense, NormalCG, Operator, Sparse, linear_solve

WIDE = torch.float64
GENERATOR = torch.Generator().manual_seed(0)
A = torch.randn(4, 4, generator=GENERATOR, dtype=WIDE) + 3 * torch.eye(4, dtype=WIDE)
B = torch.randn(3, 4, generator=GENERATOR, dtype=WIDE)
PATTERN = scipy.sparse.coo_array(np.triu(A.numpy()) + np.diag(np.full(3, 0.3), -1))
VALUES = torch.tensor(PATTERN.data)
BATCH = torch.stack((VALUES, 1.3 * VALUES, VALUES + 0.2))


def spread(values):
    """Entries as dense matrices."""
    places = torch.as_tensor(4 * PATTERN.row.astype(np.int64) + PATTERN.col)
    flat = torch.zeros(*values.shape[:-1], 16, dtype=values.dtype)
    return flat.index_add(-1, places, values).reshape(*values.shape[:-1], 4, 4)


def operator(A, b, solver, batched=True):
    return linear_solve(Operator(lambda x, A: x @ A.mT, A, batched), b, solver=solver)


KINDS = {
    "tensor": (lambda A, b: linear_solve(A, b), A, lambda A: A),
    "batch": (lambda A, b: linear_solve(A, b), torch.stack((A, A.mT, 2 * A)), lambda A: A),
    "sparse": (lambda v, b: linear_solve(Sparse(PATTERN, v), b), VALUES, spread),
    "sparse batch": (lambda v, b: linear_solve(Sparse(PATTERN, v), b), BATCH, spread),
    "gmres": (lambda A, b: linear_solve(A, b, solver=GMRES()), A, lambda A: A),
    "normal cg": (lambda A, b: linear_solve(A, b, solver=NormalCG()), A, lambda A: A),
    "cg": (lambda A, b: linear_solve(A @ A.mT, b, solver=CG()), A, lambda A: A @ A.mT),
    "operator": (lambda A, b: operator(A, b, GMRES()), A, lambda A: A),
    "operator, dense": (lambda A, b: operator(A, b, Dense()), A, lambda A: A),
    "closed over": (lambda A, b: linear_solve(Operator(lambda x, _: x @ A.mT, batched=True), b), A, lambda A: A),
}


@pytest.mark.parametrize("kind", KINDS)
def test_solutions_and_derivatives_are_those_of_a_dense_system(kind):
    solve, entries, full = KINDS[kind]
    found = []
    for f in (solve, lambda v, b: torch.linalg.solve(full(v).expand(3, 4, 4), b[..., None])[..., 0]):
        v, b = entries.clone().requires_grad_(), B.clone().requires_grad_()
        x = f(v, b)
        slopes = torch.autograd.grad(x.pow(3).sum(), (v, b), create_graph=True)
        second = torch.autograd.grad(sum(s.square().sum() for s in slopes), (v, b))
        found.append((x, *slopes, *second))
    for ours, due in zip(*found, strict=True):
        torch.testing.assert_close(ours, due, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", ["tensor", "sparse batch", "operator"])
def test_differences_confirm_derivatives(kind):
    solve, entries, _ = KINDS[kind]
    arguments = entries.clone().requires_grad_(), B.clone().requires_grad_()
    assert gradcheck(solve, arguments, atol=1e-6)
    assert gradgradcheck(solve, arguments, atol=1e-5)


@pytest.mark.parametrize("kind", ["tensor", "sparse", "sparse batch", "operator", "gmres"])
def test_every_transform_agrees(kind):
    solve, entries, _ = KINDS[kind]
    loss = lambda v, b: solve(v, b).pow(3).sum()
    v, b = entries.clone().requires_grad_(), B.clone().requires_grad_()
    slopes = torch.autograd.grad(loss(v, b), (v, b))
    close = lambda x, due: torch.testing.assert_close(x, due, rtol=1e-7, atol=1e-8)
    close(torch.func.grad(loss, (0, 1))(entries, B), slopes)
    moved = torch.func.jvp(loss, (entries, B), (torch.ones_like(entries), torch.ones_like(B)))[1]
    close(moved, slopes[0].sum() + slopes[1].sum())
    close(torch.func.jacrev(solve, 1)(entries, B), torch.func.jacfwd(solve, 1)(entries, B))
    rights = torch.stack((B, 2 * B, B + 1))
    close(torch.func.vmap(solve, (None, 0))(entries, rights), torch.stack([solve(entries, x) for x in rights]))


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_sparse_tensors_of_pytorch():
    for layout in (lambda x: x.to_sparse_coo(), lambda x: x.to_sparse_csr()):
        full = torch.tensor([[2.0, 1.0], [0.0, 3.0]], dtype=WIDE)
        matrix = layout(full).requires_grad_()
        linear_solve(matrix, torch.ones(2, dtype=WIDE)).sum().backward()
        due = full.clone().requires_grad_()
        torch.linalg.solve(due, torch.ones(2, dtype=WIDE)).sum().backward()
        torch.testing.assert_close(matrix.grad.to_dense(), due.grad.triu())


@pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.csc_matrix, scipy.sparse.lil_array])
def test_sparse_matrices_of_scipy(kind):
    n = 400
    matrix = scipy.sparse.diags_array([np.full(n - 1, -1.0), np.full(n, 2.5), np.full(n - 1, -1.0)], offsets=[-1, 0, 1])
    b = torch.linspace(0, 1, n, dtype=WIDE).requires_grad_()
    x = linear_solve(kind(matrix), b)
    due = scipy.sparse.linalg.spsolve(matrix.tocsc(), b.detach().numpy())
    np.testing.assert_allclose(x.detach().numpy(), due, rtol=1e-12)
    slope = torch.autograd.grad(x.square().sum(), b)[0]
    np.testing.assert_allclose(slope.numpy(), scipy.sparse.linalg.spsolve(matrix.T.tocsc(), 2 * due), rtol=1e-10)


def test_entries_in_the_same_place_add_up():
    pattern = scipy.sparse.coo_array((np.ones(3), ([0, 0, 1], [0, 0, 1])))
    values = torch.tensor([1.0, 3.0, 2.0], dtype=WIDE, requires_grad=True)
    x = linear_solve(Sparse(pattern, values), torch.ones(2, dtype=WIDE))
    torch.testing.assert_close(x, torch.tensor([0.25, 0.5], dtype=WIDE))
    torch.testing.assert_close(torch.autograd.grad(x.sum(), values)[0], torch.tensor([-1, -1, -4], dtype=WIDE) / 16)


def test_an_operator_on_a_tree():
    """A blur and its inverse: what is left of both parts is looked for together."""
    width = torch.tensor(0.3, dtype=WIDE, requires_grad=True)

    def blur(x, width):
        mixed = x["a"].sum() + x["b"].sum()
        return {"a": x["a"] + width * mixed, "b": 2 * x["b"] - width * mixed}

    b = {"a": torch.ones(2, dtype=WIDE), "b": torch.ones(1, 2, dtype=WIDE)}
    for solver in (GMRES(), NormalCG(), Dense()):
        x = linear_solve(Operator(blur, width), b, solver=solver)
        torch.testing.assert_close(blur(x, width), b)
        ours = torch.autograd.grad(x["b"].sum(), width)[0]
        flat = lambda x, w: torch.cat([p.flatten() for p in blur({"a": x[:2], "b": x[2:][None]}, w).values()])
        matrix = torch.func.jacrev(flat)(torch.zeros(4, dtype=WIDE), width)
        due = torch.linalg.solve(matrix, torch.ones(4, dtype=WIDE))[2:].sum()
        torch.testing.assert_close(ours, torch.autograd.grad(due, width)[0], rtol=1e-8, atol=1e-10)


def test_float32_stays():
    x = linear_solve(Sparse(PATTERN, VALUES.float()), B.float())
    y = linear_solve(A.float(), B.float(), solver=GMRES())
    assert x.dtype == y.dtype == torch.float32
    torch.testing.assert_close(y.double(), linear_solve(A, B), rtol=1e-4, atol=1e-5)


def test_size_one_and_none():
    assert linear_solve(torch.tensor([[4.0]]), torch.tensor([2.0])).tolist() == [0.5]
    assert linear_solve(torch.ones(0, 2, 2), torch.ones(0, 2)).shape == (0, 2)


SINGULAR = torch.stack((torch.eye(2), torch.ones(2, 2), torch.full((2, 2), torch.nan)))
SHEAR = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
REFUSED = [
    (ValueError, "no inverse at 1, 2", lambda: linear_solve(SINGULAR, torch.ones(3, 2))),
    (ValueError, "no inverse", lambda: linear_solve(scipy.sparse.eye_array(2) * 0, torch.ones(2, dtype=WIDE))),
    (ValueError, "no inverse", lambda: linear_solve(Operator(lambda x, _: 0 * x), torch.ones(2), solver=Dense())),
    (ValueError, r"\(\*, n, n\) and \(\*, n\)", lambda: linear_solve(torch.eye(3), torch.ones(2))),
    (ValueError, r"\(\*, n, n\) and \(\*, n\)", lambda: linear_solve(torch.ones(2, 3), torch.ones(3))),
    (ValueError, "isn't linear", lambda: linear_solve(Operator(lambda x, _: x + 1), torch.ones(2))),
    (ValueError, "laid out like y0", lambda: linear_solve(Operator(lambda x, _: x[:1]), torch.ones(2))),
    (ValueError, "pass 13 of", lambda: Sparse(PATTERN, torch.ones(2))),
    (TypeError, "convert one of them", lambda: linear_solve(torch.eye(2), torch.ones(2, dtype=WIDE))),
    (TypeError, "an Operator", lambda: linear_solve([[1.0]], torch.ones(1))),
    (TypeError, "square", lambda: Sparse(np.eye(2))),
    (RuntimeError, "CG.*the elements 0: .*GMRES", lambda: linear_solve(SHEAR, torch.ones(2), solver=CG())),
    (RuntimeError, "raise max_steps", lambda: linear_solve(A, B, solver=GMRES(max_steps=1, restart=1))),
]


@pytest.mark.parametrize(("kind", "words", "call"), REFUSED, ids=lambda x: str(x)[:24])
def test_misuse_is_explained(kind, words, call):
    with pytest.raises(kind, match=words):
        call()


def test_entries_under_vmap_are_a_batch():
    with pytest.raises(NotImplementedError, match="pass a batch"):
        torch.func.vmap(KINDS["sparse"][0])(BATCH, B)
