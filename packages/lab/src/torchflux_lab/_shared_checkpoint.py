"""Checkpoints of several processes, by `torch.distributed.checkpoint`: all of them are at one step, or none.

Each process's state is an entry of its own, as the bytes of the safetensors file that `Checkpoint` would write, so that
what it holds needs no pickle. PyTorch writes the list of entries last, when all are on the disk; a folder without it is
one that was cut short, and the one before it is still there.
"""

import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor

from ._error import LabError
from ._folder import CHECKPOINTS, RUN
from ._metrics import cut_metrics, metrics_size
from ._processes import FOLDER
from ._spread import part_here, put_back
from ._state import check, load, metrics_seen, save

__all__ = ["SharedCheckpoint"]


class SharedCheckpoint:
    """What each of the processes keeps of a loop. Outside of a run's folder nothing is written.

    **Arguments:**

    - `out`: the folder that this process was given.
    - `rank`, `world`: which process this is, of how many.
    - `state`: what the loop changes here.

    **Raises:** `TypeError` for a state that cannot be kept.
    """

    def __init__(self, out: Path, rank: int, world: int, state: dict[str, Any]) -> None:
        self._out, self._rank, self._world = out, rank, world
        self._state = state
        check(self._parts())
        self._folder = Path(os.environ[FOLDER]) / CHECKPOINTS if FOLDER in os.environ else None

    def _parts(self) -> dict[str, Any]:
        return {name: part_here(x) for name, x in self._state.items()}

    def restore(self) -> int:
        """Put everything back as the last whole save has it; returns its step, 0 without one."""
        step = torch.tensor([self._last() if self._rank == 0 else 0])
        dist.broadcast(step, 0)
        if self._folder and step.item():
            self._load(self._folder / f"workers-{step.item()}")
        elif self._rank == 0 and (self._out / RUN).is_file():
            cut_metrics(self._out, 0)
        return int(step.item())

    def _last(self) -> int:
        whole = self._folder.glob("workers-*/.metadata") if self._folder else ()
        return max((int(path.parent.name.removeprefix("workers-")) for path in whole), default=0)

    def _load(self, path: Path) -> None:
        key = f"process {self._rank} of {self._world}"
        known = dcp.FileSystemReader(path).read_metadata().state_dict_metadata
        if key not in known:
            raise LabError(f"{path} holds no state of {key}; it holds {', '.join(known)}. Begin a new run.")
        content = torch.empty(known[key].size, dtype=torch.uint8)  # type: ignore[union-attr]
        with Calm():
            dcp.load({key: content}, checkpoint_id=path)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "state.safetensors")
            file.write_bytes(content.numpy().tobytes())
            parts = self._parts()
            load(file, parts)
            for name, x in self._state.items():
                put_back(x, parts[name])
            if self._rank == 0:
                cut_metrics(self._out, metrics_seen(file))

    def save(self, step: int) -> None:
        """Write everything, with the number of steps that are done; what was written before goes when it is there."""
        if not self._folder:
            return
        path = self._folder / f"workers-{step}"
        with Calm():
            dcp.save({f"process {self._rank} of {self._world}": self._content(step)}, checkpoint_id=path)
        if self._rank == 0:
            for old in self._folder.glob("workers-*"):
                if old != path:
                    shutil.rmtree(old)

    def _content(self, step: int) -> Tensor:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "state.safetensors")
            save(file, self._parts(), step, metrics_size(self._out) if self._rank == 0 else 0)
            return torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8)


class Calm(warnings.catch_warnings):
    """PyTorch's own calls to what it has deprecated are not the script's affair."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        return entered
