"""BlackJAX and NumPyro, where they are installed: in float64, chains by `vmap`."""

import numpy as np

from mcmc_peers.models import EFFECTS, ERRORS, LABELS, NUMBERS, X

try:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_platforms", "cpu")
except ImportError:
    jax = None
try:
    import blackjax
except ImportError:
    blackjax = None
try:
    import numpyro
    import numpyro.distributions as dist
except ImportError:
    numpyro = None


def eight_schools(q):
    mean, deviation, z = q[0], jnp.exp(q[1]), q[2:]
    r = (EFFECTS - mean - deviation * z) / ERRORS
    return -(mean**2) / 50 - jnp.log1p((deviation / 5) ** 2) + q[1] - (z @ z) / 2 - (r @ r) / 2


def logistic_regression(q):
    e = X @ q[:10] + q[10]
    return jnp.sum(LABELS * e - jax.nn.softplus(e)) - (q @ q) / 2


def eight_schools_model():
    mean = numpyro.sample("mean", dist.Normal(0.0, 5.0))
    deviation = numpyro.sample("deviation", dist.HalfCauchy(5.0))
    z = numpyro.sample("z", dist.Normal(jnp.zeros(8), 1.0).to_event(1))
    numpyro.sample("y", dist.Normal(mean + deviation * z, ERRORS).to_event(1), obs=EFFECTS)


def logistic_regression_model():
    w = numpyro.sample("w", dist.Normal(jnp.zeros(10), 1.0).to_event(1))
    b = numpyro.sample("b", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Bernoulli(logits=X @ w + b).to_event(1), obs=LABELS)


DENSITIES = {"eight schools": eight_schools, "logistic regression": logistic_regression}
MODELS = {"eight schools": eight_schools_model, "logistic regression": logistic_regression_model}
SITES = {"eight schools": ("mean", "deviation", "z"), "logistic regression": ("w", "b")}


def peers(title, chains, warmup, draws):
    """Samplers `seed -> draws (chains, draws, n)` by name; those that aren't installed are missing."""
    found = {}
    if jax and blackjax:
        found["BlackJAX"] = _blackjax(DENSITIES[title], NUMBERS[title], chains, warmup, draws)
    if jax and numpyro:
        found["NumPyro"] = _numpyro(title, chains, warmup, draws)
    return found


def _blackjax(density, n, chains, warmup, draws):
    def one(key):
        begin, warm, sample = jax.random.split(key, 3)
        adaptation = blackjax.window_adaptation(blackjax.nuts, density)
        (state, params), _ = adaptation.run(warm, 0.1 * jax.random.normal(begin, (n,)), warmup)
        step = blackjax.nuts(density, **params).step

        def draw(state, key):
            state, _ = step(key, state)
            return state, state.position

        return jax.lax.scan(draw, state, jax.random.split(sample, draws))[1]

    every = jax.jit(jax.vmap(one))
    return lambda seed: np.asarray(every(jax.random.split(jax.random.PRNGKey(seed), chains)))


def _numpyro(title, chains, warmup, draws):
    kernel = numpyro.infer.NUTS(MODELS[title])
    options = {"chain_method": "vectorized", "progress_bar": False}
    sampler = numpyro.infer.MCMC(kernel, num_warmup=warmup, num_samples=draws, num_chains=chains, **options)

    def run(seed):
        sampler.run(jax.random.PRNGKey(seed))
        found = sampler.get_samples(group_by_chain=True)
        return np.concatenate([np.asarray(found[s]).reshape(chains, draws, -1) for s in SITES[title]], 2)

    return run
