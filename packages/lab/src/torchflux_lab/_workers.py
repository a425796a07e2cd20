"""Several processes that train together: who one is among them, what one's share is, and a loop they resume."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

__all__ = ["Workers"]


class Workers:
    """The processes of `torchflux run NAME --nproc N`, or of torchrun; one alone without.

    Everything else is PyTorch's own: `torch.distributed` is initialised (gloo on CPU, NCCL on GPUs), and whatever it
    has can be called. A loop in two processes that comes to what one comes to:

        workers = Workers(out)
        torch.manual_seed(parameters.seed)               # the same weights everywhere
        model = workers.ddp(Chain(Dense(64, 32, relu), Dense(32, 10)))
        opt = Adam(trainables(model), 0.01)
        for step in workers.steps(parameters.steps, model=model, opt=opt, rng=rng):
            batch = torch.randint(len(x), (100,), generator=rng)  # the same everywhere
            mine = workers.share(batch)                           # a part of it here
            loss = crossentropy(model(x[mine]), y[mine])
            back(loss)                                            # averages the gradients over the processes
            opt()
            metrics(step=step, loss=workers.mean(loss))

    The first process writes the run's folder. The others have an `out` of their own that is thrown away; what they
    print is in `worker-1.txt`, ….

    **Arguments:**

    - `out`: the folder that `main` was given.

    **Raises:** `RuntimeError` when there is a GPU for some of the processes only.
    """

    def __init__(self, out: Path) -> None:
        import torch
        import torch.distributed as dist

        self._out = out
        self.rank = int(os.environ.get("RANK", "0"))  #: which of them this is, from 0
        self.world = int(os.environ.get("WORLD_SIZE", "1"))  #: how many they are
        self.device: torch.device = _device(int(os.environ.get("LOCAL_RANK", "0")), self.world)
        if self.world > 1 and not dist.is_initialized():
            dist.init_process_group("cpu:gloo,cuda:nccl" if self.device.type == "cuda" else "gloo")
            dist.all_reduce(torch.zeros(()))  # or one that needs no other ends before the other has found it

    def share(self, batch: Any) -> Any:
        """This process's part of a batch: every `world`-th, from its rank on.

        **Arguments:**

        - `batch`: of indices or samples, (n, …); n a multiple of `world`, as the mean of the processes' means is the
          batch's mean only if the parts are equal.

        **Raises:** `ValueError` when it is not.
        """
        if len(batch) % self.world:
            raise ValueError(
                f"a batch of {len(batch)} has no equal parts for {self.world} processes, and the mean of unequal "
                f"parts' gradients is not the batch's: take a multiple of {self.world}"
            )
        return batch[self.rank :: self.world]

    def ddp(self, model: "nn.Module") -> "nn.Module":
        """The model as PyTorch's `DistributedDataParallel`, on this process's device; alone, the model itself."""
        from torch.nn.parallel import DistributedDataParallel

        model = model.to(self.device)
        return model if self.world == 1 else DistributedDataParallel(model)

    def fsdp(self, model: "nn.Module") -> "nn.Module":
        """The model with its parameters spread over the processes by PyTorch's `fully_shard` (FSDP2), layer by layer.

        Each process keeps a part of the parameters, gradients and the optimiser's state, and gathers a layer's when
        it is that layer's turn. Make the optimiser afterwards. A parameter `w` is put together by `w.full_tensor()`,
        which all processes have to call. Alone, the model itself.
        """
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
        from torch.nn import ModuleDict, ModuleList

        model = model.to(self.device)
        if self.world > 1:
            mesh = init_device_mesh(self.device.type, (self.world,))
            for layer in model.children():
                if not isinstance(layer, ModuleList | ModuleDict):  # these are never called, which would gather them
                    fully_shard(layer, mesh=mesh)
            fully_shard(model, mesh=mesh)
        return model

    def mean(self, x: "Tensor") -> "Tensor":
        """The mean of a tensor over the processes, without a gradient."""
        import torch.distributed as dist

        x = x.detach().clone()
        if self.world > 1:
            dist.all_reduce(x)
        return x / self.world

    def steps(self, n: int, every: int = 1, **state: Any) -> Iterator[int]:
        """What is left to be done of a loop, saved on the way, all processes at the same step.

        Each keeps what it names itself, so its own generators, data order and, where they differ, weights too.

        **Arguments:**

        - `n`: the number of steps.
        - `every`: after how many it is saved; after the last one it always is.
        - `state`: what the loop changes, as for `Checkpoint`. Models as they are in the loop.
        """
        if every < 1:
            raise ValueError(f"every={every}: a loop is saved after every step, or every 2, 3, … steps")
        if self.world == 1:
            yield from Checkpoint(self._out, "workers", **state).steps(n, every)
            return
        from ._shared_checkpoint import SharedCheckpoint

        checkpoint = SharedCheckpoint(self._out, self.rank, self.world, state)
        for done in range(checkpoint.restore() + 1, n + 1):
            yield done - 1
            if done % every == 0 or done == n:
                checkpoint.save(done)


def _device(local: int, world: int) -> "torch.device":
    """The GPU of this process's number on its machine, if there is one for each; else the CPU."""
    import torch

    count, here = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", world))
    if 0 < count < here:
        raise RuntimeError(
            f"{here} processes and {count} GPUs: give each a GPU, --nproc {count}, or none, CUDA_VISIBLE_DEVICES=''"
        )
    if count == 0:
        return torch.device("cpu")
    torch.cuda.set_device(local)
    return torch.device("cuda", local)
