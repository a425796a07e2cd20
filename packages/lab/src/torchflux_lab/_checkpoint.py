"""Checkpoints: a loop that was cut short goes on where it was, to the same numbers."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from ._error import LabError
from ._folder import CHECKPOINTS, RUN
from ._metrics import cut_metrics, metrics_size
from ._runs import Run

__all__ = ["Checkpoint"]

T = TypeVar("T")

#: Which checkpoints the sessions of runs in this process have: two of the same name would be taken for one another.
taken: set[tuple[Path, str]] = set()


class Checkpoint:
    """Keeps what a loop changes, so that the run goes on from its last step when it was killed.

    The loop stays a loop:

        checkpoint = Checkpoint(out, model=model, opt=opt, rng=rng, looks=looks)
        for step in checkpoint.steps(parameters.steps):
            ...

    After each step everything is written into one file, `checkpoints/NAME.safetensors`, which takes the last one's
    place when it is whole. When the run is resumed, `steps` puts everything back and goes on. Generators that
    nobody names are kept as well: PyTorch's, NumPy's and Python's global ones.

    Outside of a run's folder nothing is written: without the command, the script runs as if it were not there.

    **Arguments:**

    - `out`: the folder that `main` was given.
    - `name`: of this loop, where a script has several.
    - `state`: what the loop changes, each under a name: modules, optimisers (torchflux's and `torch.optim`'s),
      generators (PyTorch's, NumPy's, Python's), anything else with `state_dict` and `load_state_dict`, tensors and
      arrays that are changed in place; and lists, dicts and `SimpleNamespace`s of numbers, strings, tensors, arrays,
      dataclasses, and all these. A number by itself cannot be put back: it goes into a dict.

    **Raises:** `TypeError` for a state that cannot be kept, `ValueError` for a name that is no file's; `LabError` for a
    second checkpoint of the same name, one that cannot be written, and one that does not fit what it is to be put
    back into.
    """

    def __init__(self, out: Path, name: str = "loop", /, **state: Any) -> None:
        if not name or Path(name).name != name or name.startswith("."):
            raise ValueError(f"a checkpoint cannot be called {name!r}: the name is a file's, without folders")
        self.step = 0  #: how many steps are done
        self._out, self._state, self._looping = out, state, False
        self._path = out / CHECKPOINTS / f"{name}.safetensors" if (out / RUN).is_file() else None
        if self._path:
            from ._state import check

            check(state)
            self._take(name, self._path.resolve())

    def _take(self, name: str, path: Path) -> None:
        about = Run.read(self._out).about
        claim = path, f"{about['started']} {len(about['resumed'])}"
        if claim in taken:
            raise LabError(
                f"There are two checkpoints '{name}' in this run, and each would go on from where the other is. Give "
                "each loop its own: Checkpoint(out, 'seed 1', model=model), say."
            )
        taken.add(claim)

    @overload
    def steps(self, over: int, every: int = 1) -> "Steps[int]": ...
    @overload
    def steps(self, over: Sequence[T], every: int = 1) -> "Steps[T]": ...
    def steps(self, over: Any, every: int = 1) -> "Steps[Any]":
        """What is left to be done of a loop, saved on the way.

        **Arguments:**

        - `over`: a number of steps, or a sequence, which has to be the same one each time: a range, a list.
        - `every`: after how many steps it is saved; after the last one it always is. Saving a small state takes
          some milliseconds, of which most are the disk's.
        """
        if every < 1:
            raise ValueError(f"every={every}: a loop is saved after every step, or every 2, 3, … steps")
        if self._looping:
            raise LabError(
                "A checkpoint is of one loop, and this one has had its loop. Make another, with another name."
            )
        self._looping = True
        self.restore()
        return Steps(self, range(over) if isinstance(over, int) else over, every)

    def restore(self) -> int:
        """Put everything back as the last save has it, if there is one.

        **Returns:** the step that was saved, 0 without one.
        """
        if self._path and self._path.is_file():
            from ._state import load, metrics_seen

            self.step = load(self._path, self._state)
            cut_metrics(self._out, max(map(metrics_seen, self._path.parent.glob("[!.]*.safetensors"))))
        return self.step

    def save(self, step: int) -> None:
        """Write everything, with the number of steps that are done."""
        self.step = step
        if self._path:
            from ._state import save

            try:
                self._path.parent.mkdir(exist_ok=True)
                save(self._path, self._state, step, metrics_size(self._out))
            except OSError as error:
                advice = "The last one is as it was: make room, and go on from it with --resume."
                raise LabError(f"{self._path} cannot be written: {error.strerror}. {advice}") from error


class Steps(Generic[T]):
    """The rest of a loop; its length is the number of steps that are left."""

    def __init__(self, checkpoint: Checkpoint, over: Sequence[T], every: int) -> None:
        self._checkpoint, self._over, self._every = checkpoint, over, every

    def __len__(self) -> int:
        return max(0, len(self._over) - self._checkpoint.step)

    def __iter__(self) -> Iterator[T]:
        for done in range(self._checkpoint.step + 1, len(self._over) + 1):
            yield self._over[done - 1]
            if done % self._every == 0 or done == len(self._over):
                self._checkpoint.save(done)
