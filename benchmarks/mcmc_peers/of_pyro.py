"""Pyro, where it is installed: one chain."""

import numpy as np
import torch

from mcmc_peers.models import EFFECTS, ERRORS, LABELS, X

try:
    import pyro
    import pyro.distributions as dist
except ImportError:
    pyro = None

EFFECTS, ERRORS, X, LABELS = (torch.from_numpy(x) for x in (EFFECTS, ERRORS, X, LABELS))
ZERO, ONE = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)


def eight_schools():
    mean = pyro.sample("mean", dist.Normal(ZERO, 5 * ONE))
    deviation = pyro.sample("deviation", dist.HalfCauchy(5 * ONE))
    z = pyro.sample("z", dist.Normal(ZERO.expand(8), ONE).to_event(1))
    pyro.sample("y", dist.Normal(mean + deviation * z, ERRORS).to_event(1), obs=EFFECTS)


def logistic_regression():
    w = pyro.sample("w", dist.Normal(ZERO.expand(10), ONE).to_event(1))
    b = pyro.sample("b", dist.Normal(ZERO, ONE))
    pyro.sample("y", dist.Bernoulli(logits=X @ w + b).to_event(1), obs=LABELS)


MODELS = {"eight schools": eight_schools, "logistic regression": logistic_regression}
SITES = {"eight schools": ("mean", "deviation", "z"), "logistic regression": ("w", "b")}


def peers(title, warmup, draws):
    """A sampler `seed -> draws (1, draws, n)`; nothing where Pyro isn't there."""
    if pyro is None:
        return {}

    def run(seed):
        pyro.set_rng_seed(seed)
        kernel = pyro.infer.NUTS(MODELS[title])
        sampler = pyro.infer.MCMC(kernel, num_samples=draws, warmup_steps=warmup, disable_progbar=True)
        sampler.run()
        found = sampler.get_samples()
        return np.concatenate([found[s].reshape(1, draws, -1).numpy() for s in SITES[title]], 2)

    return {"Pyro": run}
