"""What a process has of models and optimisers that several hold together: DDP's copy, FSDP's part of each tensor."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import tree_map_only

from torchflux import PathDict, fmap, leaves

__all__ = ["part_here", "put_back"]


def part_here(x: Any) -> Any:
    """What this process keeps of `x`: of a spread model or optimiser a twin, whose tensors are the parts that lie here.

    They share memory with the tensors that they are parts of.
    """
    if isinstance(x, DistributedDataParallel):
        return x.module
    if not _is_spread(x):
        return x
    return tree_map_only(DTensor, _local, x.state_dict()) if isinstance(x, torch.optim.Optimizer) else fmap(_local, x)


def put_back(x: Any, part: Any) -> None:
    """Give `x` what was loaded into its part and is not in their common memory."""
    if not _is_spread(x):
        return
    if isinstance(x, torch.optim.Optimizer):
        x.load_state_dict({**part, "state": _spread_as_parameters(x, part["state"])})
    elif isinstance(x, PathDict):
        for path, leaf in part.items():
            if not isinstance(leaf, Tensor):
                x[path].rule, x[path].frozen = leaf.rule, leaf.frozen


def _is_spread(x: Any) -> bool:
    """Whether tensors of a model or an optimiser are spread over the processes."""
    if isinstance(x, torch.optim.Optimizer):
        x = [group["params"] for group in x.param_groups]
    elif not isinstance(x, nn.Module | PathDict):
        return False
    return any(isinstance(leaf, DTensor) for _, leaf in leaves(x))


def _local(x: Any) -> Any:
    return x.to_local().detach() if isinstance(x, DTensor) else x


def _spread_as_parameters(optimiser: torch.optim.Optimizer, state: dict[int, Any]) -> dict[int, Any]:
    """An optimiser's state by parameter, with the tensors that are shaped like a part of it spread as it is."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    return {i: {key: _spread_as(parameters[i], x) for key, x in slots.items()} for i, slots in state.items()}


def _spread_as(parameter: Any, x: Any) -> Any:
    if not (isinstance(parameter, DTensor) and isinstance(x, Tensor) and x.shape == parameter.to_local().shape):
        return x
    shape, stride = parameter.shape, parameter.stride()
    return DTensor.from_local(x, parameter.device_mesh, parameter.placements, shape=shape, stride=stride)
