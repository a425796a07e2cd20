"""Commands carried out on Ray's cluster: each on a processor of some machine, again elsewhere when one goes down.

Every machine has the same file system, with the experiments and the sweep's folder under the same names, and
torchflux in the Python that Ray runs there.
"""

import importlib
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any

from ._error import LabError
from ._jobs import PATIENCE, Here, Job, Outcome, last_line
from ._take_up import is_done

__all__ = ["Cluster", "carried_out"]

RETRIES = 5  # how many machines may go down under one run


class Cluster:
    """Ray's cluster.

    **Arguments:**

    - `address`: `host:port` of its head, or `auto` for the one that `ray start` began on this machine.
    - `threads`: how many processors each run has.

    **Raises:** `LabError` when Ray is not installed, or there is no cluster.
    """

    def __init__(self, address: str, threads: int) -> None:
        self.threads, self._ray = threads, _imported()
        try:
            self._ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise LabError(
                f"There is no Ray at '{address}': {last_line(str(error))} Begin one: ray start --head."
            ) from error

    def ended(self, jobs: Sequence[Job]) -> Generator[tuple[Job, Outcome], None, None]:
        """Carry all of them out; each as it ends. What still runs when the iterator is closed is ended."""
        ray = self._ray
        task = ray.remote(num_cpus=self.threads, max_retries=RETRIES)(carried_out)
        left = {task.remote(job, self.threads): job for job in jobs}
        try:
            while left:
                (first, *_), _ = ray.wait(list(left))
                yield left.pop(first), self._outcome(first)
        finally:
            for reference in left:
                ray.cancel(reference)
            ray.wait(list(left), num_returns=len(left), timeout=PATIENCE) if left else None
            ray.shutdown()

    def _outcome(self, reference: Any) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(reference)
            return outcome
        except self._ray.exceptions.RayError as error:
            return Outcome(1, last_line(str(error)))


def carried_out(job: Job, threads: int) -> Outcome:
    """Carry a run out on this machine. It may have been begun on one that went down, or still be running."""
    if is_done(job.folder, wait=True):
        return Outcome(0, "")
    with closing(Here(1, threads).ended([job])) as ended:
        return next(ended)[1]


def _imported() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise LabError("Ray is not installed. Install it: pip install torchflux-lab[ray]") from error
