"""torchdiffeq's solvers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._adjoint import Task
from ._controller import Fixed
from ._foreign import Foreign, ended, tolerances
from ._march import March, Status

__all__ = ["TorchDiffEq"]

ADAPTIVE = ("dopri8", "dopri5", "bosh3", "fehlberg2", "adaptive_heun")
FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4", "explicit_adams", "implicit_adams", "fixed_adams")
FAILURES = {
    "underflow in dt": Status.STALLED,
    "max_num_steps exceeded": Status.MAX_STEPS,
    "non-finite values": Status.NOT_FINITE,
}


@dataclass(frozen=True, repr=False)
class TorchDiffEq(Foreign):
    """One of torchdiffeq's solvers, under its own tape, so that gradients are those of the numbers it computed.

    The gradient can be differentiated again, and flows to everything. With `batched=True` it solves sample by sample;
    otherwise the whole state shares its steps. Its "rk4" is Kutta's 3/8 rule. Of a solution that fails it tells where,
    but no state; of its steps it tells nothing, so `stats` have only the evaluations. `max_steps` counts between two of
    the times.

    Arguments:
        method: its name in torchdiffeq: "dopri8", "dopri5", "bosh3", "fehlberg2", "adaptive_heun"; and with
            `controller=Fixed(dt)` "euler", "midpoint", "heun2", "heun3", "rk4", "explicit_adams", "implicit_adams".
        options: torchdiffeq's options.

    Source: Chen (2018), https://github.com/rtqichen/torchdiffeq (`pip install "torchdiffeq>=0.2.5"`).
    """

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.method not in ADAPTIVE + FIXED:
            raise ValueError(f"TorchDiffEq({self.method!r}): it is one of {', '.join(ADAPTIVE + FIXED)}")

    def __repr__(self) -> str:
        return f"TorchDiffEq({self.method!r}{f', {dict(self.options)}' if self.options else ''})"

    @property
    def estimates(self) -> bool:  # type: ignore[override]
        """Whether its steps adapt, or are chosen by its options."""
        return self.method in ADAPTIVE or not {"step_size", "grid_constructor"}.isdisjoint(self.options)

    def solve(self, task: Task) -> March:
        """torchdiffeq's solution, of each sample or of all together."""
        found = ended(task)
        states = [self._row(task, row, found) for row in range(len(task.y0))]
        return task.having(torch.stack(states, 1), found)

    def _row(self, task: Task, row: int, found: March) -> Tensor:
        """The states of a sample after the first, shape (S - 1, n)."""
        odeint = _odeint()
        slope, y0, times = task.problem.on(np.array([row])), task.y0[row], task.times

        def func(t: Tensor, y: Tensor) -> Tensor:
            found.evaluations[row] += 1
            found.t[row] = float(t.detach())
            return slope(t.reshape(1), y[None])[0]

        try:
            states: Tensor = odeint(func, y0, times, method=self.method, **self._arguments(task))[1:]
        except AssertionError as error:
            status = next((status for words, status in FAILURES.items() if words in str(error)), None)
            if status is None:
                raise
            found.status[row] = status
            return y0.new_full((len(times) - 1, len(y0)), float("nan"))
        found.t[row] = float(times.detach()[-1])
        return states

    def _arguments(self, task: Task) -> dict[str, Any]:
        """The tolerances and options."""
        controller, options = task.method.controller, dict(self.options)
        if self.method in FIXED:
            if isinstance(controller, Fixed):
                options["step_size"] = controller.dt
            return {"options": options}
        rtol, atol, longest = tolerances(self, controller, task.y0.dtype)
        options = {"max_num_steps": task.method.max_steps, "max_step": longest, **options}
        if task.method.dt0 is not None:
            options["first_step"] = task.method.dt0
        return {"rtol": rtol, "atol": atol, "options": options}


def _odeint() -> Any:
    """torchdiffeq's function, or how to get it."""
    try:
        from torchdiffeq import odeint
    except ImportError:
        raise ImportError('TorchDiffEq takes torchdiffeq: pip install "torchdiffeq>=0.2.5"') from None
    return odeint
