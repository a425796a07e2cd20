"""SciPy's solvers, with gradients."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import scipy.integrate
import torch
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray
from torch import Tensor

from ._adjoint import Task
from ._backsolve import Back, Backsolved, Sums
from ._captures import Noted, independent
from ._controller import Numbers
from ._foreign import Foreign, ended, tolerances
from ._lanes import differentiable, greatest
from ._march import March, Status, tensor
from ._methods import Bosh3, Dopri5
from ._replay import replay
from ._save import Indices, Saved, Saver
from ._solver import Solver

__all__ = ["SciPy"]

METHODS = ("RK23", "RK45", "DOP853", "Radau", "BDF", "LSODA")
IMPLICIT = ("Radau", "BDF", "LSODA")
TWINS: dict[str, Solver] = {"RK23": Bosh3(), "RK45": Dopri5()}
NODES = 5
"""The points of a step at which what its slopes use is differentiated."""


@dataclass(frozen=True, repr=False)
class SciPy(Foreign):
    """One of SciPy's solvers, in NumPy and float64, sample by sample; the dtype of the state is kept.

    Of "RK23" and "RK45" the accepted steps are made again in PyTorch: the gradient is that of the numbers that were
    computed (discrete), and can be differentiated again. Of "DOP853" and the methods for stiff problems, "Radau", "BDF"
    and "LSODA", it is the adjoint equation's, solved backward by the same method along SciPy's dense output: right to
    the tolerances (continuous), stable for stiff problems too, as no state is solved backward; second derivatives are
    refused. Jacobians come from automatic differentiation. It flows to `y0`, `ts`, `args` and everything that `f` uses.

    `stats` count the evaluations; the steps that "Radau", "BDF" and "LSODA" reject aren't told, and count for nothing.

    Arguments:
        method: "RK23", "RK45", "DOP853", "Radau", "BDF" or "LSODA", as for `scipy.integrate.solve_ivp`.

    >>> from torchflux_diffeq import PID, solve
    >>> rate = torch.tensor(1000.0, requires_grad=True)
    >>> f = lambda t, y, args: -rate * (y - t.cos())
    >>> solution = solve(f, torch.zeros(1), (0.0, 1.0), solver=SciPy("Radau"), controller=PID(1e-6, 1e-8))
    >>> solution.ys[-1], torch.autograd.grad(solution.ys[-1].sum(), rate)[0] < 0
    (tensor([0.5411], grad_fn=<SelectBackward0>), tensor(True))

    Source: Virtanen et al. (2020), doi:10.1038/s41592-019-0686-2. The quadrature: Kim, Ji, Deng, Ma &
    Rackauckas (2021), arXiv:2103.15341.
    """

    method: str

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"SciPy({self.method!r}): it is one of {', '.join(METHODS)}")

    def __repr__(self) -> str:
        return f"SciPy({self.method!r})"

    def solve(self, task: Task) -> March:
        """SciPy's solution of each sample, and the way back."""
        if task.y0.is_complex():
            raise TypeError(f"{self}: y0 is complex; pass its real and imaginary parts as two tensors")
        twin = TWINS.get(self.method)
        watch = torch.is_grad_enabled()
        noted = Noted(task.problem, (), "use one of this package's solvers")
        watched = _Watched(task.problem) if twin or not watch else noted
        found, paths = ended(task), []
        for row in range(len(task.y0)):
            paths.append(self._row(task, watched, row, found))
        if not watch:
            return found
        if twin is not None:
            if watched.needs or task.y0.requires_grad or task.times.requires_grad:  # type: ignore[union-attr]
                saver = None if task.saver is None else Saver(task.times, twin)
                y, saved = replay(task.problem, task.y0, task.times, twin, found, saver, True)
                return replace(found, y=y, saved=saved)
            return found
        used = independent(noted.used)
        if not any(x.requires_grad for x in (task.y0, task.times, *used)):
            return found
        back = _Along(task, replace(task.method, solver=self), found.t, used, paths)
        return task.having(Backsolved.apply(task.states(found), back, task.y0, task.times, *used), found)

    def started(self, fun: Any, jacobian: Any, t: float, y: Numbers, end: float, **options: Any) -> Any:
        """SciPy's object, before its first step."""
        if self.method in IMPLICIT:
            options["jac"] = jacobian
        return getattr(scipy.integrate, self.method)(fun, t, y, end, **options)

    def _row(self, task: Task, problem: Any, row: int, found: March) -> "_Path":
        """Solves one sample, and writes down what came of it."""
        slope, y0 = problem.on(np.array([row])), task.y0[row].detach()
        times = greatest(task.times).astype(np.float64)
        rtol, atol, longest = tolerances(self, task.method.controller, y0.dtype)

        def fun(t: float, y: Numbers) -> Numbers:
            found.evaluations[row] += 1
            return _numbers(slope(*_at(t, y, y0))[0])

        def jacobian(t: float, y: Numbers) -> Numbers:
            found.jacobians[row] += 1
            return _jacobian(task.problem.on(np.array([row])), t, y, y0)

        options = {"rtol": rtol, "atol": atol, "max_step": longest, "first_step": task.method.dt0}
        path = _Path([times[0]], [])
        with torch.no_grad():
            scipys = self.started(fun, jacobian, times[0], _numbers(y0), times[-1], **options)
            status = _stepped(scipys, path, task.method.max_steps)
        found.status[row], found.t[row], found.steps[row] = status, scipys.t, len(path.parts) + path.rejected
        found.rejected[row], found.wasted[row] = path.rejected, path.rejected * getattr(scipys, "n_stages", 0)
        found.rows += [np.array([row])] * len(path.parts)
        found.ends += [np.array([end]) for end in path.ends[1:]]
        found.y[row] = torch.as_tensor(scipys.y, dtype=y0.dtype)
        inner = np.flatnonzero(times[1:-1] <= scipys.t)
        if len(inner):
            states = torch.as_tensor(path(times[1:-1][inner]).T, dtype=y0.dtype, device=y0.device)
            found.saved.append(Saved(torch.as_tensor(inner + row * (len(times) - 2), device=y0.device), states))
        return path


@dataclass
class _Path:
    """A solution as SciPy's dense output: between `ends` (steps + 1,), `parts`."""

    ends: list[float]
    parts: list[Any]
    rejected: int = 0

    def __call__(self, t: Numbers) -> Numbers:
        """The states at some times, shape (n, times)."""
        found: Numbers = scipy.integrate.OdeSolution(self.ends, self.parts)(t)
        return found


def _stepped(scipys: Any, path: _Path, most: int) -> Status:
    """Makes SciPy's steps to the end, and says how it ended."""
    stages = getattr(scipys, "n_stages", None)
    while scipys.status == "running":
        if len(path.parts) + path.rejected >= most:
            return Status.MAX_STEPS
        calls = scipys.nfev
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # LSODA says in words what becomes a status
                scipys.step()
        except ValueError:  # of a linear system with NaN in it
            return Status.NOT_FINITE
        if stages is not None:
            path.rejected += (scipys.nfev - calls) // stages - (scipys.status != "failed")
        if scipys.status == "failed" or scipys.t == path.ends[-1]:
            return Status.STALLED if np.isfinite(scipys.fun(scipys.t, scipys.y)).all() else Status.UNDEFINED
        path.ends.append(scipys.t)
        path.parts.append(scipys.dense_output())
    return Status.SUCCESS


class _Watched:
    """Slopes without a tape, that notice whether there would have been one."""

    def __init__(self, problem: Any) -> None:
        self.problem, self.needs = problem, False

    def on(self, rows: Indices) -> Callable[[Tensor, Tensor], Tensor]:
        """The slopes of some samples."""

        def slope(t: Tensor, y: Tensor) -> Tensor:
            with torch.set_grad_enabled(not self.needs):
                k: Tensor = self.problem.on(rows)(t, y)
            self.needs = self.needs or k.requires_grad
            return k.detach()

        return slope


@dataclass(frozen=True)
class _Along(Back):
    """The adjoint equation along the solution that SciPy has found, by the same method."""

    paths: list[_Path]
    name: ClassVar[str] = "SciPy"
    instead: ClassVar[str] = "use one of this package's solvers"

    def segment(self, rows: Indices, start: float, end: float, y: Tensor, λ: Tensor, sums: Sums) -> Tensor:
        """The cotangents of some samples' states at `start`, from those at `end`."""
        return torch.stack([self._row(row, start, end, λ[i], sums) for i, row in enumerate(rows.tolist())])

    def _row(self, row: int, start: float, end: float, λ: Tensor, sums: Sums) -> Tensor:
        scale, rows, path = float(λ.abs().max()), np.array([row]), self.paths[row]
        if scale == 0.0:
            return λ

        def fun(t: float, λs: Numbers) -> Numbers:
            at, y = _at(t, path(np.array([t]))[:, 0], λ)
            with torch.enable_grad():
                y.requires_grad_()
                k = self.taped(rows, at, y)
                g = torch.as_tensor(λs, dtype=λ.dtype, device=λ.device)[None]
                pulled = torch.autograd.grad(k, y, g, allow_unused=True)[0] if k.requires_grad else None
            return np.zeros(len(λs)) if pulled is None else -_numbers(pulled[0])

        def jacobian(t: float, λs: Numbers) -> Numbers:
            return -_jacobian(self.task.problem.on(rows), t, path(np.array([t]))[:, 0], λ).T

        solver: Any = self.method.solver
        rtol, _, longest = tolerances(solver, self.method.controller, λ.dtype)
        options = {"rtol": rtol, "atol": 0.1 * rtol * scale, "max_step": longest}
        back = _Path([end], [])
        scipys = solver.started(fun, jacobian, end, _numbers(λ), start, **options)
        status = _stepped(scipys, back, 10 * self.method.max_steps)
        if status != Status.SUCCESS:
            raise RuntimeError(f"{solver}: the adjoint equation stopped at t = {scipys.t * self.task.problem.sign:g}")
        if sums.used:
            self._add(rows, path, back, λ, sums)
        return torch.as_tensor(scipys.y, dtype=λ.dtype, device=λ.device)

    def _add(self, rows: Indices, path: _Path, back: _Path, like: Tensor, sums: Sums) -> None:
        """Gauss's formula, on the intervals between the ends of both solutions' steps."""
        lower, upper = back.ends[-1], back.ends[0]
        ends = np.unique([lower, upper, *back.ends, *(t for t in path.ends if lower < t < upper)])
        nodes, weights = leggauss(NODES)
        half = np.diff(ends)[:, None] / 2
        t, w = ((ends[:-1] + ends[1:])[:, None] / 2 + half * nodes).ravel(), (half * weights).ravel()
        pairs = tensor(np.concatenate([path(t), back(t)]).T, like)
        for i in range(len(t)):
            sums.add(rows, tensor(t[i : i + 1], like), pairs[i : i + 1], tensor(w[i : i + 1], like))


def _at(t: float, y: Numbers, like: Tensor) -> tuple[Tensor, Tensor]:
    """A time and a state as one row."""
    return tensor(np.array([t]), like), torch.as_tensor(y, dtype=like.dtype, device=like.device)[None]


def _numbers(x: Tensor) -> Numbers:
    """A tensor as NumPy's float64."""
    return np.asarray(x.detach().cpu().numpy(), np.float64)


def _jacobian(slope: Any, t: float, y: Numbers, like: Tensor) -> NDArray[np.float64]:
    """The derivatives of a slope by the state, shape (n, n)."""
    with differentiable():
        at, state = _at(t, y, like)
        k = slope(at, state.requires_grad_())
        if not k.requires_grad:
            return np.zeros((len(y), len(y)))
        rows = [torch.autograd.grad(k[0, i], state, retain_graph=True, allow_unused=True)[0] for i in range(len(y))]
    return np.stack([np.zeros(len(y)) if row is None else _numbers(row[0]) for row in rows])
