"""One of several processes that train a model on PyTorch's own engine; the first prints what came of it, as JSON."""

import json
import os
import sys

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from torchflux import Adam, Chain, Dense, back, gradient, mse, tanh, trainables


def main(engine, store, rank, processes):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=processes)
    dist.barrier()  # or one that needs no other ends before the other has found it
    torch.manual_seed(0)
    model = Chain(Dense(3, 8, tanh), Dense(8, 1))
    if engine == "ddp":
        model = DistributedDataParallel(model)
    elif engine == "fsdp":
        fully_shard(model, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    opt = Adam(trainables(model), 0.01)
    torch.manual_seed(1)
    x, y = torch.randn(8, 3), torch.randn(8, 1)
    mine = slice(dist.get_rank(), None, dist.get_world_size())
    for _ in range(3):
        back(mse(model(x[mine]), y[mine]))
        opt()
    refusal = ""
    try:
        gradient(lambda m: mse(m(x), y), model)
    except TypeError as error:
        refusal = str(error)
    whole = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters()]
    if dist.get_rank() == 0:
        print(json.dumps({"refusal": refusal, "parameters": [p.detach().flatten().tolist() for p in whole]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    dist.destroy_process_group()  # when the model is gone: DDP's end waits in vain for a group that went before it
    sys.stdout.flush()
    os._exit(0)  # gloo's threads outlive FSDP's group, and one that takes the ending interpreter's lock aborts
