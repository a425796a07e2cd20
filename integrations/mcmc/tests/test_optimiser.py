"""Optimiser steps in a sampler's shape."""

import pytest
import torch

from torchflux import Adam, Chain, Dense, Descent
from torchflux_mcmc import hmc, optimiser


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("make", [lambda: torch.ones(3), lambda: {"a": torch.ones(2), "b": torch.ones(())}])
def test_descent_is_the_formula(make):
    alg = optimiser(
        lambda p, c: c * sum((x**2).sum() for x in (p.values() if isinstance(p, dict) else [p])), Descent(0.1)
    )
    state = alg.init(make())
    for c in (1.0, 2.0):
        state, info = alg.step(rng(), state, c)
    found = (
        torch.cat([x.reshape(-1) for x in state.position.values()])
        if isinstance(state.position, dict)
        else state.position
    )
    assert torch.allclose(found, torch.full((3,), (1 - 0.2) * (1 - 0.4)))
    assert torch.isclose(info.loss, torch.tensor(2.0 * 3 * 0.64))
    assert not info.loss.requires_grad


def test_a_model_trains_while_its_latents_are_sampled():
    """One loop for both: the log density sees the weights that move, and the weights the latents."""
    torch.manual_seed(0)
    model, x = Chain(Dense(1, 1)), 2.0 + torch.randn(100, 1, generator=rng(1))
    logp = lambda z: -((x - model(z)) ** 2).sum() / 2 - (z**2).sum() / 2
    loss = lambda m, z: ((x - m(z)) ** 2).mean()
    sampler, trainer = hmc(logp, step_size=0.2, num_integration_steps=5), optimiser(loss, Adam(0.02))
    generator = rng()
    latents, weights = sampler.init(torch.zeros(100, 1)), trainer.init(model)
    for _ in range(300):
        latents, _ = sampler.step(generator, latents)
        weights, info = trainer.step(generator, weights, latents.position)
    assert weights.position is model
    assert abs(model[0].bias.item() - x.mean().item()) < 0.2
    assert info.loss < 1.5


def test_bad_input():
    alg = optimiser(lambda p: (p / 0).sum(), Descent(0.1))
    state = alg.init(torch.ones(2))
    with pytest.raises(ValueError, match="loss is inf"):
        alg.step(rng(), state)
    assert (state.position == 1).all()
    with pytest.raises(TypeError, match="Generator"):
        alg.step(0, state)
    with pytest.raises(TypeError, match="pass what init"):
        alg.step(rng(), torch.ones(2))
    with pytest.raises(ValueError, match="nothing to train"):
        alg.init({"a": torch.ones(2, dtype=torch.int64)})
