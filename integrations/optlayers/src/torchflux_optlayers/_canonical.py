"""A problem of CVXPY's in the standard form, once and for all values of its parameters.

    minimise ½ x·Px + q·x + d  subject to  Ax + s = b, s in K

DPP means that all numbers in it are affine in the parameters: the whole of CVXPY's work becomes one sparse matrix.

Source: Agrawal, Amos, Barratt, Boyd, Diamond & Kolter (2019), arXiv 1910.12430.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from scipy import sparse

from ._cones import Cones
from ._disciplined import cvxpy

__all__ = ["Canonical", "Recovery", "canonical"]


class Recovery(NamedTuple):
    """Each entry of a variable as a multiple of an entry of (x, y), shapes that of the variable."""

    where: np.ndarray
    scale: np.ndarray


class Canonical(NamedTuple):
    """The standard form of a problem, with n variables and m rows."""

    n: int
    m: int
    cones: Cones
    P: tuple[np.ndarray, np.ndarray]
    """Rows and columns of the entries that may be other than 0, column by column; both triangles."""
    A: tuple[np.ndarray, np.ndarray]
    numbers: sparse.csr_array
    """From the parameters, each flattened, with a 1 at the end, to (P's entries, q, A's entries, b, d)."""
    fixed_curvature: bool
    """Whether P doesn't depend on the parameters."""
    recoveries: tuple[Recovery, ...]
    sign: int
    """-1 where the problem asks for the largest value."""


def canonical(problem: Any, parameters: Sequence[Any], variables: Sequence[Any]) -> Canonical:
    """Compiles a problem; nothing that it consists of is changed."""
    cp = cvxpy()
    copy = cp.Problem(problem.objective, problem.constraints)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of CVXPY's reading its own sparse values
        data, chain, inverse = copy.get_problem_data(_target(), solver_opts={})
    program, (m, n) = data["param_prob"], data["A"].shape
    nothing = sparse.coo_array((n * n, program.A.shape[1]))
    P, P_numbers = _entries(nothing if program.P is None else program.P, n)
    A, A_numbers = _entries(-sparse.csr_array(program.A)[: m * n], m)
    q, b = sparse.csr_array(program.q), sparse.csr_array(program.A)[m * n :]
    numbers = sparse.vstack([P_numbers, q[:n], A_numbers, b, q[n:]], format="csr")
    parameter_map = _parameter_map(program, chain, parameters)
    curvature = P_numbers @ parameter_map
    return Canonical(
        n,
        m,
        _cones(data["dims"]),
        P,
        A,
        sparse.csr_array(numbers @ parameter_map),
        not abs(curvature[:, :-1]).sum(),
        _recoveries(problem, variables, program, chain, inverse, (n, m)),
        -1 if isinstance(problem.objective, cp.Maximize) else 1,
    )


def _target() -> Any:
    """The solver that CVXPY is to write the problem for: Clarabel, with power cones of three dimensions only."""
    from cvxpy.constraints import PowConeND
    from cvxpy.reductions.solvers.conic_solvers.clarabel_conif import CLARABEL

    base: Any = CLARABEL

    class Target(base):
        """Knows no cones of which a layer doesn't know the derivative."""

        SUPPORTED_CONSTRAINTS: ClassVar[list[Any]] = [c for c in base.SUPPORTED_CONSTRAINTS if c is not PowConeND]

        def name(self) -> str:
            """Another than that of a solver that CVXPY has."""
            return "torchflux"

    return Target()


def _cones(sizes: Any) -> Cones:
    return Cones(
        sizes.zero, sizes.nonneg, tuple(sizes.soc), tuple(sizes.psd), sizes.exp, tuple(float(a) for a in sizes.p3d)
    )


def _entries(tensor: Any, height: int) -> tuple[tuple[np.ndarray, np.ndarray], sparse.csr_array]:
    """The rows of a map to a matrix, column by column, that aren't empty: their places in the matrix, and they."""
    rows = sparse.csr_array(tensor)
    rows.eliminate_zeros()
    kept = np.diff(rows.indptr).nonzero()[0]
    return (kept % height, kept // height), rows[kept]


def _parameter_map(program: Any, chain: Any, parameters: Sequence[Any]) -> sparse.csr_array:
    """From the layer's parameters, each flattened as in PyTorch, to CVXPY's; of symmetric ones the symmetric part."""
    names = chain.compose_param_id_map()
    rows, columns, shares = [program.param_id_to_col[-1]], [sum(p.size for p in parameters)], [1.0]
    start = 0
    for parameter in parameters:
        numbers = start + np.arange(parameter.size).reshape(parameter.shape)
        attributes = parameter.attributes
        symmetric = any(attributes[name] for name in ("symmetric", "PSD", "NSD"))
        for view in (numbers, numbers.swapaxes(-1, -2)) if symmetric else (numbers,):
            (name,) = names.get(parameter.id, [parameter.id])
            taken = np.asarray(_forward(chain.reductions, "param_forward", {parameter.id: view})[name])
            if name not in program.param_id_to_col:
                raise ValueError(f"{parameter.name()} {parameter.shape} has dropped out of the problem: leave it out")
            rows.extend(program.param_id_to_col[name] + np.arange(taken.size))
            columns.extend(taken.ravel(order="F").astype(int))
            shares.extend([0.5 if symmetric else 1.0] * taken.size)
        start += parameter.size
    return sparse.csr_array((shares, (rows, columns)), shape=(program.A.shape[1], start + 1))


def _forward(reductions: Iterable[Any], method: str, values: dict[int, Any]) -> dict[int, Any]:
    """Values carried along some reductions."""
    for reduction in reductions:
        values = getattr(reduction, method)(values)
    return values


def _recoveries(
    problem: Any, variables: Sequence[Any], program: Any, chain: Any, inverse: Any, size: tuple[int, int]
) -> tuple[Recovery, ...]:
    """Where each variable is to be found, by looking at where CVXPY puts numbers that are known."""
    owners = {v.id: c for c in problem.constraints for v in c.dual_variables}
    n, m = size

    def value(v: Any, solution: np.ndarray) -> np.ndarray:
        if v.id in owners:
            return _dual(owners[v.id], v, chain, inverse, solution[:n], solution[n:])
        backwards = reversed(chain.reductions)
        found = _forward(backwards, "var_forward", program.split_solution(solution[:n]))[v.id]
        return _array(found, v.shape)

    return tuple(_recovery(v, lambda solution, v=v: value(v, solution), n + m) for v in variables)  # type: ignore[misc]


def _array(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(value.toarray() if sparse.issparse(value) else value, dtype=np.float64).reshape(shape, order="F")


def _dual(constraint: Any, v: Any, chain: Any, inverse: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The value that CVXPY gives to a dual variable; the constraint is left as it was."""
    raw = SimpleNamespace(x=x, z=y, status="Solved", obj_val=0.0, solve_time=0.0, iterations=0)
    before = [d.value for d in constraint.dual_variables]
    try:
        constraint.save_dual_value(chain.invert(raw, inverse).dual_vars[constraint.id])
        return _array(v.value, v.shape)
    finally:
        for d, value in zip(constraint.dual_variables, before, strict=True):
            d.save_value(value)


def _recovery(v: Any, value: Callable[[np.ndarray], np.ndarray], size: int) -> Recovery:
    """Reads the multiples off three solutions, of which the last is the test."""
    scale, numbered = value(np.ones(size)), value(np.arange(size, dtype=np.float64))
    there = scale != 0
    where = np.where(there, numbered / np.where(there, scale, 1.0), 0).round().astype(np.int64)
    test = np.random.default_rng(0).uniform(1, 2, size)
    if not np.allclose(value(test), scale * test[where], rtol=1e-12, atol=0):
        raise ValueError(f"{v.name()} {v.shape} isn't a part of the solution that CVXPY can give back: leave it out")
    return Recovery(where, scale)
