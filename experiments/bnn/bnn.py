"""A Bayesian network: NUTS on all of its weights, and on its last layer while the others train.

The XOR boxes and the 20 weights of Turing's tutorial on Bayesian neural networks, `Chain(Dense(2, 3, tanh), Dense(3, 2,
tanh), Dense(2, 1, sigmoid))` with a normal prior. Three answers, from a point to a posterior:

    point  the most probable weights
    layer  a posterior of the last layer's weights, and the features that make the data most probable under it: a
           transition of HMC for each chain and a step of the features take turns
    all    a posterior of all weights

Exchanging two hidden units, or turning the signs of one around, leaves the function as it is: 3! 2! 2⁵ = 384 vectors of
weights mean the same. So chains need not agree on weights, but on what the network says.
"""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import torch
from evidence import climb, evidence, logprior
from picture import draw
from torch.func import vmap
from tqdm import tqdm

from torchflux import Adam, Chain, Dense, back, destructure, logitbinarycrossentropy, tanh, trainables
from torchflux_lab import Checkpoint, Metrics
from torchflux_mcmc import ess_bulk, hmc, nuts, rhat, run, window_adaptation

# Of a reproduction: chains of another processor are other samples.
TOLERANCES = {
    "*looks": None,
    "*ess": None,
    "transitions*": None,
    "*R-hat*": (0.3, 0.1),
    "*.accuracy": (0, 0.03),
    "*": (0.1, 0.05),
}


@dataclass
class Parameters:
    seed: int = 0
    box: int = field(default=20, metadata={"help": "points in each of the four boxes"})
    precision: float = field(default=0.09, metadata={"help": "of the prior of each weight, as in the tutorial"})
    chains: int = 32
    warmup: int = field(default=150, metadata={"help": "transitions of NUTS that find its step size and metric"})
    draws: int = field(default=250, metadata={"help": "of each chain"})
    doublings: int = field(default=8, metadata={"help": "of a tree, at most"})
    steps: int = field(default=3000, metadata={"help": "of the features, and of the last layer's chains"})
    rate: float = field(default=0.01, metadata={"help": "of Adam"})
    kept: int = field(default=500, metadata={"help": "draws of the last layer's chains when the features are done"})
    tests: int = field(default=1000, metadata={"help": "points that are held out, in each box"})
    every: int = field(default=50, metadata={"help": "steps between two looks at the features"})


AXIS = torch.linspace(-6, 6, 33, dtype=torch.float64)
PLANE = torch.cartesian_prod(AXIS, AXIS)  # (1089, 2)


def boxes(n, rng):
    """Points (4n, 2) and labels (4n,): boxes of 4.5 by 4.5, those in the same quadrant of both signs are 1."""
    corners = torch.tensor([(0.5, 0.5), (-5, -5), (0.5, -5), (-5, 0.5)], dtype=torch.float64)
    points = corners[:, None] + 4.5 * torch.rand(4, n, 2, generator=rng, dtype=torch.float64)
    return points.view(-1, 2), torch.tensor([1.0, 1.0, 0.0, 0.0]).double().repeat_interleave(n)


def make_model():
    """Features and the last layer. Its sigmoid is in the likelihood, as one with the logarithm."""
    return Chain(Dense(2, 3, tanh), Dense(3, 2, tanh)).double(), Chain(Dense(2, 1), torch.ravel).double()


def loglikelihood(logits, labels):
    return -logitbinarycrossentropy(logits, labels, agg=torch.sum)


# The three answers: each gives the probabilities of label 1, a function of points (n, 2), for each of its draws.


def point(x, y, p, out):
    torch.manual_seed(p.seed)
    model = Chain(*make_model())
    opt = Adam(trainables(model), p.rate)
    for _ in tqdm(Checkpoint(out, "point", model=model, opt=opt).steps(p.steps, p.every), unit="step", desc="point"):
        back(-loglikelihood(model(x), y) - logprior(trainables(model), p.precision))
        opt()
    return lambda points: model(points).detach().sigmoid()[None, None]


def layer(x, y, p, rng, out):
    torch.manual_seed(p.seed)
    features, last = make_model()
    start, rebuild = destructure(last)
    logdensity = lambda w: loglikelihood(rebuild(w)(features(x)), y) + logprior([w], p.precision)
    alg, opt = hmc(logdensity, step_size=0.5, num_integration_steps=5), Adam(trainables(features), p.rate)
    noise = torch.randn(p.chains, len(start), generator=rng, dtype=start.dtype)
    now, metrics = SimpleNamespace(chains=alg.init(start.detach() + noise, chains=True), looks=[]), Metrics(out)
    checkpoint = Checkpoint(out, "layer", features=features, opt=opt, rng=rng, now=now)
    for step in tqdm(checkpoint.steps(range(1, p.steps + 1), p.every), unit="step", desc="layer"):
        now.chains, _ = alg.step(rng, now.chains)  # the features are as the last step left them
        back(-vmap(logdensity)(now.chains.position).mean() - logprior(trainables(features), p.precision))
        opt()
        if step % p.every == 0:
            now.looks.append((step, evidence(features, x, y, p.precision).item()))
            metrics(step=step, evidence=now.looks[-1][1])
    samples = run(rng, alg, now.chains, p.kept)
    says = lambda points: predictions(lambda w: rebuild(w)(features(points)), samples)
    return says, features, now.looks


def everything(x, y, p, rng):
    start, rebuild = destructure(Chain(*make_model()))
    logdensity = lambda w: loglikelihood(rebuild(w)(x), y) + logprior([w], p.precision)
    places = torch.randn(p.chains, len(start), generator=rng, dtype=start.dtype)
    warmup = window_adaptation(nuts, logdensity, max_num_doublings=p.doublings)
    state, found = warmup.run(rng, places, p.warmup, chains=True, progress=True)
    samples = run(rng, nuts(logdensity, max_num_doublings=p.doublings, **found), state, p.draws, progress=True)
    return lambda points: predictions(lambda w: rebuild(w)(points), samples), samples


def predictions(logits, samples):
    """Probabilities (chains, draws, n) of the network with these weights."""
    with torch.no_grad():
        return torch.stack([vmap(logits)(chain).sigmoid() for chain in samples.positions])


def main(parameters: Parameters, out: Path) -> dict:
    p, torch_threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    rng = torch.Generator().manual_seed(p.seed)
    x, y = boxes(p.box, rng)
    test, labels = boxes(p.tests, torch.Generator().manual_seed(1_000_000 + p.seed))
    one = point(x, y, p, out)
    some, features, looks = layer(x, y, p, rng, out)
    climbed = climb(features, x, y, p.precision)
    every, samples = everything(x, y, p, rng)
    torch.set_num_threads(torch_threads)
    answers = {"point": one, "layer": some, "all": every}
    maps = {name: says(PLANE) for name, says in answers.items()}  # (chains, draws, 1089)
    checks = {name: diagnosed(maps[name]) for name in ("layer", "all")}
    means = {name: m.mean((0, 1)) for name, m in maps.items()}
    draw(AXIS.numpy(), means, checks["all"], x, y, looks, climbed, out / "bnn.png")
    return {
        "predictions": {name: score(says(test), labels) for name, says in answers.items()},
        "agreement on predictions": {name: worst(*found) for name, found in checks.items()},
        "agreement on weights": worst(rhat(samples.positions), ess_bulk(samples.positions)),
        "transitions of NUTS": {
            "divergent": samples.divergences,
            "of all": samples.info.is_divergent.size,
            "leapfrog steps": float(samples.info.num_integration_steps.mean()),
            "at the limit": float((samples.info.num_integration_steps >= 2**p.doublings - 1).mean()),
        },
        "log evidence of features": {"trained": looks[-1][1], "climbed on from there": climbed, "looks": looks},
    }


def score(probabilities, labels):
    """Of held-out points, by the mean of all draws: the share that is right, and the mean log probability."""
    one = probabilities.mean((0, 1))
    right = torch.where(labels > 0, one, 1 - one)
    return {"accuracy": (right > 0.5).double().mean().item(), "log probability": right.log().mean().item()}


def diagnosed(probabilities):
    """R-hat and effective sample size at every fourth point of the plane."""
    some = probabilities.view(*probabilities.shape[:2], len(AXIS), len(AXIS))[..., ::2, ::2]
    return rhat(some), ess_bulk(some)


def worst(found_rhat, found_ess):
    return {
        "largest R-hat": float(found_rhat.max()),
        "share of R-hat above 1.01": float((found_rhat > 1.01).mean()),
        "smallest ess": float(found_ess.min()),
    }


if __name__ == "__main__":
    for what, numbers in main(Parameters(), Path(__file__).parent).items():
        print(what, *(f"    {name:24} {x}" for name, x in numbers.items() if name != "looks"), sep="\n")
