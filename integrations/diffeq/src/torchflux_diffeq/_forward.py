"""Forward sensitivities: the Jacobian's columns, computed along with the solution."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp, vmap

from ._adjoint import Adjoint, Discrete, Task
from ._captures import NotedToReplace, replaced
from ._lanes import transformed
from ._march import March, march
from ._replay import replay
from ._save import Saver

__all__ = ["Forward"]


@dataclass(frozen=True)
class Forward(Adjoint):
    """The derivatives of what the solver computed by each of a few numbers, forward along the steps.

    The steps that were accepted are made again, with a tangent for every number that can be differentiated by: those of
    `y0` (of one sample; a batch's are taken side by side), of `ts`, and of the tensors that `f` uses. After that a
    gradient is one product, whatever the number of steps, and no step is kept. It is `Discrete`'s, to rounding.

    In `torch.func.jvp` and `jacfwd`, the given tangents go through the steps, as with `Discrete()`. A second derivative
    of `backward` is refused: use `Discrete()`, or `jacfwd` of `jacfwd`.

    Arguments:
        most: the numbers that it takes; for more, a reverse gradient costs less.

    Source: Hairer, Nørsett & Wanner (1993), Solving Ordinary Differential Equations I, I.14.
    """

    most: int = 64

    def solve(self, task: Task) -> March:
        """Marches, and then once more with the tangents."""
        if transformed():
            return Discrete("tape").solve(task)
        if not torch.is_grad_enabled():
            return task.march(False)
        noted = NotedToReplace(task.problem, (), "use Discrete()")
        found = march(noted, task.y0, task.times, task.method, task.saver, False)
        inputs = [x for x in (task.y0, task.times, *noted.used) if x.requires_grad]
        if not inputs:
            return found
        if any(x.is_complex() for x in inputs):
            raise NotImplementedError("Forward: derivatives by complex numbers: use Discrete()")
        tangents = _units(task.y0, inputs)
        if len(tangents[0]) > self.most:
            raise ValueError(
                f"Forward: {len(tangents[0])} numbers can be differentiated by, more than most={self.most}: use "
                "Discrete(), which costs as much for any number of them, or freeze some"
            )
        columns = _pushed(task, found, noted.used, inputs, tangents)
        return task.having(_Sensitive.apply(task.states(found), columns, task.y0, *inputs), found)


def _units(y0: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """For each input, one tangent for every number of all inputs; a number of the state is that of all samples."""
    n = y0.shape[-1]
    blocks = []
    for x in inputs:
        unit = torch.eye(n if x is y0 else x.numel(), dtype=x.dtype, device=x.device)
        blocks.append(unit[:, None].expand(-1, *y0.shape) if x is y0 else unit.view(-1, *x.shape))
    count = sum(len(block) for block in blocks)
    found, start = [], 0
    for block in blocks:
        tangents = block.new_zeros(count, *block.shape[1:])
        tangents[start : start + len(block)] = block
        found.append(tangents)
        start += len(block)
    return found


def _pushed(task: Task, found: March, used: list[Tensor], inputs: list[Tensor], tangents: list[Tensor]) -> Tensor:
    """The derivatives of all states, shape (tangents, S - 1, rows, n)."""

    def again(*values: Tensor) -> Tensor:
        given = {id(x): value for x, value in zip(inputs, values, strict=True)}
        y0, times, *others = (given.get(id(x), x) for x in (task.y0, task.times, *used))
        saver = None if task.saver is None else Saver(times, task.method.solver)
        with replaced(used, others):
            y, saved = replay(task.problem, y0, times, task.method.solver, found, saver, False)
        return replace(task, saver=saver).states(replace(found, y=y, saved=saved))

    values = tuple(x.detach() for x in inputs)
    return vmap(lambda *tangents: jvp(again, values, tangents)[1])(*tangents)


class _Sensitive(torch.autograd.Function):
    """The states that were found, as a function of what their derivatives are known by."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, columns: Tensor, y0: Tensor, *inputs: Tensor) -> Tensor:
        """The states after the first."""
        ctx.columns, ctx.shapes = columns, [None if x is y0 else x.shape for x in inputs]
        ctx.missing = states.isnan()
        return states.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        """Their cotangents times the columns."""
        if torch.is_grad_enabled():
            raise NotImplementedError("Forward has no second derivatives (create_graph=True): use Discrete()")
        products = torch.einsum("csmn,smn->cm", ctx.columns, g.masked_fill(ctx.missing, 0.0))
        n, start, found = g.shape[-1], 0, []
        for shape in ctx.shapes:
            size = n if shape is None else shape.numel()
            part = products[start : start + size]
            found.append(part.mT if shape is None else part.sum(1).view(shape))
            start += size
        return None, None, None, *found
