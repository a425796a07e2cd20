"""nutpie, where it is installed with PyMC, which compiles its densities by Numba."""

import numpy as np

from mcmc_peers.models import EFFECTS, ERRORS, LABELS, X

try:
    import nutpie
    import pymc
except ImportError:
    nutpie = None

SITES = {"eight schools": ("mean", "deviation", "z"), "logistic regression": ("w", "b")}


def eight_schools():
    mean, deviation = pymc.Normal("mean", 0, 5), pymc.HalfCauchy("deviation", 5)
    z = pymc.Normal("z", 0, 1, shape=8)
    pymc.Normal("y", mean + deviation * z, ERRORS, observed=EFFECTS)


def logistic_regression():
    w, b = pymc.Normal("w", 0, 1, shape=10), pymc.Normal("b", 0, 1)
    pymc.Bernoulli("y", logit_p=X @ w + b, observed=LABELS)


MODELS = {"eight schools": eight_schools, "logistic regression": logistic_regression}


def peers(title, chains, warmup, draws, threads):
    """A sampler `seed -> draws (chains, draws, n)`, which compiles when it is first called."""
    if nutpie is None:
        return {}
    compiled = []

    def run(seed):
        if not compiled:
            with pymc.Model() as model:
                MODELS[title]()
            compiled.append(nutpie.compile_pymc_model(model))
        options = {"cores": threads, "progress_bar": False, "save_warmup": False}
        found = nutpie.sample(compiled[0], tune=warmup, draws=draws, chains=chains, seed=seed, **options).posterior
        return np.concatenate([found[s].to_numpy().reshape(chains, draws, -1) for s in SITES[title]], 2)

    return {"nutpie": run}
