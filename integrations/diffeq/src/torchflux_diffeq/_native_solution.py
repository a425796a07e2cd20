"""What came of a native program, in the user's terms."""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ._march import Method, Status
from ._native_march import REFUSED
from ._native_operation import Job
from ._solution import MESSAGES, Solution, Stats, message

__all__ = ["native_solution"]


class NativeSolution(Solution):
    """A solution whose `stats` and `t` are made when they are asked for: that takes as long as a dozen steps."""

    numbers: tuple[Any, Any, int, int]
    """The steps and those rejected, and the last time, for each sample or of the one; the slopes before the first step,
    and in each."""

    @cached_property
    def stats(self) -> Stats:
        """What it cost."""
        (steps, rejected), _, started, each = self.numbers
        counts = (steps, steps - rejected, rejected, started + each * steps, each * rejected, 0 * steps)
        return Stats(*(torch.from_numpy(x) if x.ndim else int(x) for x in counts))

    @cached_property
    def t(self) -> Tensor:
        """The last time of each sample."""
        return torch.as_tensor(self.numbers[1], dtype=self.ts.dtype)


def native_solution(job: Job, times: Tensor, ys: Tensor, end: Tensor, method: Method, batched: bool) -> Solution | None:
    """The solution; `None` if there are samples that were refused."""
    counts = job.counts if batched else job.counts[0]
    status: Any = counts[:, 0].copy() if batched else int(counts[0])
    said = _SOLVED
    if status.any() if batched else status:
        if (job.status == REFUSED).any():
            return None
        said = message(job, job.sign, batched)
    last, program = job.sign * (job.last if batched else job.last[0]), job.program
    started = 2 if method.dt0 is None and program.adaptive else 1
    found = NativeSolution.__new__(NativeSolution)
    vars(found).update(  # at once, as `Solution` is frozen
        ts=times,
        ys=ys,
        status=torch.from_numpy(status) if batched else Status(status),
        message=said,
        y=end,
        route="native",
        numbers=(counts.T[1:3].copy(), last, started, program.tableau.stages - 1),
    )
    return found


_SOLVED = MESSAGES[Status.SUCCESS]
