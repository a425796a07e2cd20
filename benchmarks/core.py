"""The core against plain PyTorch: nn.Sequential and torch.optim, side by side in one run.

python benchmarks/core.py [--threads N] [--no-compile]

A ratio under 1 is faster than PyTorch's row of the same table. The models of one table compute the same function.
"""

import argparse
import copy

import torch
import torch.nn.functional as F
from timing import alternate, table
from torch import nn

from torchflux import (
    Adam,
    Chain,
    Conv,
    Dense,
    MaxPool,
    back,
    flatten,
    gradient,
    loadmodel,
    logitcrossentropy,
    relu,
    setup,
    trainables,
    treelike,
    update,
    withgradient,
)


def mlp() -> tuple[nn.Module, nn.Module, torch.Tensor]:
    theirs = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    ours = Chain(Dense(32, 64, relu), Dense(64, 64, relu), Dense(64, 10))
    return ours, theirs, torch.randn(16, 32)


def convnet() -> tuple[nn.Module, nn.Module, torch.Tensor]:
    theirs = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    ours = Chain(
        Conv((3, 3), 1, 8, relu, pad=1),
        MaxPool((2, 2)),
        Conv((3, 3), 8, 16, relu, pad=1),
        MaxPool((2, 2)),
        flatten,
        Dense(64, 10),
    )
    return ours, theirs, torch.randn(16, 1, 8, 8)


def same_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Gives ours the weights of theirs, which stand in the same order."""
    loadmodel(ours, dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))


def torch_step(model, x, y, **options):
    optimiser = torch.optim.Adam(model.parameters(), 1e-3, **options)

    def step():
        optimiser.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
        return loss

    return step


def explicit_step(model, x, y):
    state = setup(Adam(1e-3), model)

    def step():
        loss, (grads,) = withgradient(lambda m: logitcrossentropy(m(x), y), model)
        update(state, model, grads)
        return loss

    return step


def paper_step(model, x, y):
    opt = Adam(trainables(model), 1e-3)

    def step():
        loss = logitcrossentropy(model(x), y)
        back(loss)
        opt()
        return loss

    return step


def compare(name: str, make, compiled: bool) -> None:
    ours, theirs, x = make()
    y = torch.randint(0, 10, (len(x),))
    same_weights(ours, theirs)
    torch.testing.assert_close(ours(x), theirs(x))
    forward = {"nn.Sequential": lambda: theirs(x), "Chain": lambda: ours(x)}
    table(f"{name}: forward", alternate(forward), "nn.Sequential")

    parameters = list(theirs.parameters())
    slopes = {
        "nn.Sequential, autograd.grad": lambda: torch.autograd.grad(F.cross_entropy(theirs(x), y), parameters),
        "Chain, gradient": lambda: gradient(lambda m: logitcrossentropy(m(x), y), ours),
    }
    table(f"{name}: forward and gradient", alternate(slopes), "nn.Sequential, autograd.grad")

    steps = {
        "nn.Sequential, Adam(fused=True)": torch_step(copy.deepcopy(theirs), x, y, fused=True),
        "nn.Sequential, Adam(foreach=True)": torch_step(copy.deepcopy(theirs), x, y, foreach=True),
        "nn.Sequential, Adam()": torch_step(copy.deepcopy(theirs), x, y),
        "Chain, gradient and update": explicit_step(copy.deepcopy(ours), x, y),
        "Chain, back and opt (the paper's)": paper_step(copy.deepcopy(ours), x, y),
    }
    if compiled:
        steps["nn.Sequential, compiled step"] = torch.compile(torch_step(copy.deepcopy(theirs), x, y))
        steps["Chain, compiled step (one graph)"] = torch.compile(
            explicit_step(copy.deepcopy(ours), x, y), fullgraph=True
        )
    check_steps(steps, ours)
    table(f"{name}: a whole training step with Adam", alternate(steps), "nn.Sequential, Adam(fused=True)")


def check_steps(steps, ours) -> None:
    """All steps start from the same weights, so all losses agree: the comparison is of one computation."""
    losses = {step_name: [float(step()) for _ in range(3)] for step_name, step in steps.items()}
    first = next(iter(losses.values()))
    for step_name, values in losses.items():
        torch.testing.assert_close(torch.tensor(values), torch.tensor(first), rtol=1e-4, atol=1e-5, msg=step_name)


@treelike
class Twice:
    inner: Dense

    def __call__(self, x):
        return self.inner(self.inner(x))


class TwiceByHand(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(self.inner(x))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-compile", action="store_true", help="leave out the rows that need a compiler")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {options.threads} thread(s)")
    compare("MLP 32-64-64-10, batch 16", mlp, not options.no_compile)
    compare("Conv net 8-16-10 on 8×8 images, batch 16", convnet, not options.no_compile)
    dense, x = Dense(4, 4), torch.randn(2, 4)
    ours, theirs = Twice(dense), TwiceByHand(dense)
    calls = {"nn.Module by hand": lambda: theirs(x), "@treelike class": lambda: ours(x)}
    table("A call of a @treelike class", alternate(calls), "nn.Module by hand")


if __name__ == "__main__":
    main()
