"""The metrics of a run for TensorBoard, which is an extra: `pip install torchflux-lab[tensorboard]`."""

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ._curves import STEP, plots
from ._error import LabError
from ._metrics import followers
from ._runs import Run

FOLDER = "tensorboard"


def refuse_missing() -> None:
    """Raise `LabError` if TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise LabError("--tensorboard: it is not installed here. pip install 'torchflux-lab[tensorboard]' does that.")


@contextmanager
def followed(run: Run) -> Iterator[None]:
    """Inside, what the run measures goes to TensorBoard too, if it was begun so."""
    if not run.about["tensorboard"]:
        yield
        return
    board = Board(run)
    followers[run.folder] = board.follow
    try:
        yield
    finally:
        del followers[run.folder]
        board.close()


class Board:
    """An event file with the curves of a run.

    It is made anew when the first line comes, from all lines that there are: those that a resumed run has measured
    once more are in it once.
    """

    def __init__(self, run: Run) -> None:
        self._run, self._counts = run, dict[str, int]()
        self._writer: Any = None

    def follow(self, line: dict[str, Any]) -> None:
        """Add a line."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            shutil.rmtree(self._run.folder / FOLDER, ignore_errors=True)
            self._writer = SummaryWriter(self._run.folder / FOLDER)
            for before in self._run.metrics():
                self._add(before)
        else:
            self._add(line)
        self._writer.flush()

    def _add(self, line: dict[str, Any]) -> None:
        for plot in plots([line]):
            for curve in plot.curves:
                name = f"{plot.name}/{curve.name}" if curve.name else plot.name
                self._counts[name] = self._counts.get(name, 0) + 1
                self._writer.add_scalar(name, curve.y[0], int(line.get(STEP, self._counts[name])))

    def close(self) -> None:
        """Close the file."""
        if self._writer:
            self._writer.close()
