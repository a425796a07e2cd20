"""How sure a difference between two series is: the bootstrap in circular blocks.

Source: Politis & Romano (1992), A circular block-resampling procedure for stationary data.
"""

import torch


def compared(scores, ours, theirs, block, resamples, seed):
    """Of each score, a function of series (..., times): our difference, its interval for 95 %, how often it is above 0.

    Both series are resampled together, so what moves both of them cancels out.
    """
    rng, n = torch.Generator().manual_seed(seed), len(ours)
    starts = torch.randint(n, (resamples, -(-n // block)), generator=rng)
    index = ((starts[..., None] + torch.arange(block)) % n).flatten(1)[:, :n]  # (resamples, times)
    found, a, b, again_a, again_b = {}, scores(ours), scores(theirs), scores(ours[index]), scores(theirs[index])
    for name in a:
        again = again_a[name] - again_b[name]
        low, high = again.quantile(torch.tensor([0.025, 0.975]).to(again)).tolist()
        difference, above = (a[name] - b[name]).item(), (again > 0).to(again).mean().item()
        found[name] = {"difference": difference, "low": low, "high": high, "above zero": above}
    return found
