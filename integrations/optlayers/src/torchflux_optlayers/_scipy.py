"""SciPy's solvers, with gradients."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.optimize
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._active_set import UNCLEAR, Restricted
from ._derivatives import jacobian
from ._iterate import Found, Solver, Tolerance
from ._lanes import numbers
from ._outcome import which
from ._problem import LeastSquares, Minima, Problem, Roots
from ._solution import Status

__all__ = ["Scipy"]

Tree = Any
Numbers = NDArray[np.float64]

ROOT = (
    "hybr", "lm", "broyden1", "broyden2", "anderson", "linearmixing", "diagbroyden", "excitingmixing", "krylov",
    "df-sane",
)  # fmt: skip
MINIMISE = (
    "Nelder-Mead", "Powell", "CG", "BFGS", "Newton-CG", "L-BFGS-B", "TNC", "COBYLA", "COBYQA", "SLSQP", "trust-constr",
    "dogleg", "trust-ncg", "trust-exact", "trust-krylov",
)  # fmt: skip
LEAST_SQUARES = ("trf", "dogbox", "lm")
BOUNDED = ("Nelder-Mead", "L-BFGS-B", "TNC", "SLSQP", "Powell", "trust-constr", "COBYLA", "COBYQA", "trf", "dogbox")
CONSTRAINED = ("COBYLA", "COBYQA", "SLSQP", "trust-constr")
CURVED = ("Newton-CG", "dogleg", "trust-ncg", "trust-exact", "trust-krylov", "trust-constr")
SLOPELESS = ("Nelder-Mead", "Powell", "COBYLA", "COBYQA")
LIMITS = {"hybr": "maxfev", "df-sane": "maxfev", "TNC": "maxfun"}


@dataclass(frozen=True)
class Scipy(Solver):
    """A solver of `scipy.optimize`, in NumPy and float64, element by element; the dtype of `y0` is kept.

    Its Jacobians and Hessians come from automatic differentiation. The gradient is that of the conditions of Karush,
    Kuhn and Tucker: variables at a bound with a force move with it, and active constraints hold. What holds without a
    force counts as inactive (the solution has a kink there). The derivatives are taken at the exact solution next to
    SciPy's point; where that can't be found, they are refused. Bounds may have gradients, as what constraints use.

    Arguments:
        method: for `root` and `fixed_point` one of `scipy.optimize.root`; for `least_squares` "trf", "dogbox" or "lm";
            for `minimise` one of `scipy.optimize.minimize`.
        bounds: the lower and the upper ones, each `None`, a number, or a tree like `y0` of numbers, tensors and `None`.
        constraints: dicts like SciPy's, `{"type": "eq", "fun": f}` for `f(y, args) = 0` and "ineq" for
            `f(y, args) ≥ 0`; `f` returns tensors.
        options: the method's own; `rtol` is SciPy's `tol`, and `max_steps` its limit.

    >>> from torchflux_optlayers import minimise
    >>> top = torch.tensor(1.5, requires_grad=True)
    >>> loss = lambda y, args: (y - 2).square().sum()
    >>> y = minimise(loss, torch.zeros(2), solver=Scipy("L-BFGS-B", bounds=(None, top.expand(2)))).value
    >>> y, torch.autograd.grad(y.sum(), top)[0]
    (tensor([1.5000, 1.5000], grad_fn=<...>), tensor(2.))

    Source: Virtanen et al. (2020), doi:10.1038/s41592-019-0686-2.
    """

    method: str
    bounds: tuple[Tree, Tree] | None = None
    constraints: Sequence[Mapping[str, Any]] = ()
    options: Mapping[str, Any] | None = None
    takes: ClassVar[tuple[type, ...]] = (Problem,)

    def __post_init__(self) -> None:
        if self.method not in (*ROOT, *MINIMISE, *LEAST_SQUARES):
            raise ValueError(f"Scipy({self.method!r}): it is one of {', '.join((*ROOT, *LEAST_SQUARES, *MINIMISE))}")
        if self.bounds is not None and (self.method not in BOUNDED or len(self.bounds) != 2):
            raise ValueError(f"Scipy({self.method!r}): bounds are (lower, upper), for {', '.join(BOUNDED)}")
        for part in self.constraints:
            if not isinstance(part, Mapping) or {*part} != {"type", "fun"} or part["type"] not in ("eq", "ineq"):
                raise ValueError(
                    'Scipy: a constraint is {"type": "eq", "fun": f} or {"type": "ineq", "fun": f}, with f(y, args) of '
                    f"torch's functions, not {part!r}"
                )
        if self.constraints and self.method not in CONSTRAINED:
            raise ValueError(f"Scipy({self.method!r}) takes no constraints: {', '.join(CONSTRAINED)} do")

    def solve(self, problem: Any, y: Tensor, tolerance: Tolerance, max_steps: int) -> Found:
        """SciPy's solution of each row."""
        self._fits(problem)
        with torch.no_grad():
            ends = [self._row(problem, y.detach(), i, tolerance, max_steps) for i in range(len(y))]
            point = torch.stack([torch.as_tensor(x, dtype=y.dtype, device=y.device) for x, *_ in ends])
            numbers = [torch.tensor(x, device=y.device) for x in zip(*(end[1:3] for end in ends), strict=True)]
        unknown = torch.full_like(point[:, 0], torch.nan)
        return Found(point, numbers[0], numbers[1], unknown, next((said for *_, said in ends if said), ""))

    def depends(self, problem: Any, y: Tensor) -> bool:
        """Whether the problem, a bound or a constraint may depend on anything that has a gradient."""
        return self._conditions(problem).depends(y) if isinstance(problem, Minima) else super().depends(problem, y)

    def _conditions(self, problem: Minima) -> Restricted:
        kinds = {kind: [x["fun"] for x in self.constraints if x["type"] == kind] for kind in ("eq", "ineq")}
        return Restricted(problem, *self._bounds(problem), kinds["eq"], kinds["ineq"])

    def equations(self, problem: Any, found: Found, throw: bool) -> tuple[Any, Tensor, Tensor]:
        """With bounds and constraints, the conditions of Karush, Kuhn and Tucker."""
        if not isinstance(problem, Minima):
            return super().equations(problem, found, throw)
        equations, z, failed = self._conditions(problem).equations(found.y, found.status != Status.SOLVED)
        if throw and failed.any():
            raise ValueError(f"{self}{which(failed)}: {UNCLEAR}")
        return equations, z, failed

    def _fits(self, problem: Any) -> None:
        """Refuses what SciPy or the method can't do."""
        least = isinstance(problem, LeastSquares)
        methods = ROOT if isinstance(problem, Roots) else LEAST_SQUARES + MINIMISE if least else MINIMISE
        if self.method not in methods:
            raise TypeError(f"{problem.name} can't take Scipy({self.method!r}); it takes {', '.join(methods)}")
        if problem.tape:
            raise TypeError("Unrolled: SciPy's steps have no tape; use Implicit()")
        if isinstance(problem, Roots) and self.bounds is not None:
            raise TypeError(f"{problem.name} takes no bounds; least_squares does")

    def _bounds(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """The lower and the upper ones as rows."""
        lower, upper = self.bounds or (None, None)
        return problem.rows.spread(lower, -torch.inf), problem.rows.spread(upper, torch.inf)

    def _row(self, problem: Any, y: Tensor, row: int, tolerance: Tolerance, most: int) -> tuple[Any, int, int, str]:
        """The point, status and number of steps of one row, and SciPy's words if it failed."""
        here, bounds = _Row(problem, y, row), [numbers(x, "Scipy")[row] for x in self._bounds(problem)]
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", "Unknown solver options", scipy.optimize.OptimizeWarning)
            try:
                found = self._called(here, bounds, tolerance, most)
            except (np.linalg.LinAlgError, FloatingPointError, ValueError) as error:
                if np.isfinite(here.numbers(here.problem.optimality, here.start)).all():
                    raise
                return here.start, Status.NOT_FINITE, 0, str(error)
        steps = int(found.get("nit", found.get("nfev", 0)))
        if not (np.isfinite(found.x).all() and np.isfinite(here.numbers(here.problem.optimality, found.x)).all()):
            return np.where(np.isfinite(found.x), found.x, here.start), Status.NOT_FINITE, steps, found.message
        if found.success:
            return found.x, Status.SOLVED, steps, ""
        status = Status.MAX_ITERATIONS if steps >= most else Status.REFUSED
        return found.x, Status.INFEASIBLE if "incompatible" in found.message else status, steps, found.message

    def _called(self, here: "_Row", bounds: list[Numbers], tolerance: Tolerance, most: int) -> Any:
        """SciPy's result."""
        problem, common = here.problem, {"x0": here.start, "method": self.method}
        options = {LIMITS.get(self.method, "maxiter"): most, **(self.options or {})}
        if isinstance(problem, Roots):
            both = lambda x: here.numbers(problem.linearised, x)
            fun = {"fun": both, "jac": True} if self.method in ("hybr", "lm") else {"fun": lambda x: both(x)[0]}
            return scipy.optimize.root(tol=tolerance.rtol, options=options, **common, **fun)
        if self.method in LEAST_SQUARES:
            residuals, matrix = (lambda x, i=i: here.numbers(problem.linearised, x)[i] for i in range(2))
            limits: dict[str, Any] = {
                "max_nfev": most,
                **dict.fromkeys(("xtol", "ftol", "gtol"), max(tolerance.rtol, 1e-15)),
            }
            limits |= {} if self.bounds is None else {"bounds": tuple(bounds)}
            return scipy.optimize.least_squares(residuals, jac=matrix, **common, **{**limits, **(self.options or {})})
        more = {"fun": lambda x: here.numbers(problem.losses, x)} if self.method in SLOPELESS else here.sloped()
        more |= {"hess": here.curved} if self.method in CURVED else {}
        more |= {} if self.bounds is None else {"bounds": scipy.optimize.Bounds(*bounds)}
        more |= {"constraints": [here.constraint(x) for x in self.constraints]} if self.constraints else {}
        return scipy.optimize.minimize(tol=tolerance.rtol, options=options, **common, **more)


class _Row:
    """One row of a problem, as SciPy calls it: the others are held, or left out where the arguments are marked."""

    def __init__(self, problem: Any, y: Tensor, row: int) -> None:
        index = torch.tensor([row], device=y.device)
        self.problem = problem.on(index) if problem.marked else problem
        self.y, self.row = (y[index], 0) if problem.marked else (y, row)
        self.start = numbers(y, "Scipy")[row]

    def numbers(self, function: Callable[[Tensor], Any], x: Numbers) -> Any:
        """What a function of rows makes of this one; a pair for a pair."""
        mine = torch.as_tensor(x, dtype=self.y.dtype, device=self.y.device)[None]
        found = function(self.y.index_copy(0, torch.tensor([self.row], device=self.y.device), mine))
        return tuple(map(self.mine, found)) if isinstance(found, tuple) else self.mine(found)

    def mine(self, x: Tensor) -> Any:
        """The numbers of this row."""
        found = numbers(x, "Scipy")[self.row]
        return found if found.ndim else float(found)

    def sloped(self) -> dict[str, Any]:
        """The loss and its gradient."""
        return {"fun": lambda x: self.numbers(self.problem.sloped, x), "jac": True}

    def curved(self, x: Numbers) -> Any:
        """The Hessian."""
        return self.numbers(lambda y: jacobian(self.problem.optimality, y)[1], x)

    def constraint(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A constraint as SciPy takes it."""
        of = self.problem.other(LeastSquares, given["fun"])
        return {
            "type": given["type"],
            "fun": lambda x: self.numbers(of.numbers, x),
            "jac": lambda x: self.numbers(lambda y: jacobian(of.numbers, y)[1], x),
        }
