"""What the sampler is checked against: the evidence of the features, as a sum over the last layer's three weights."""

import torch
from torch.nn.functional import softplus

from torchflux import trainables


def logprior(weights, precision):
    """Of independent normal weights, up to a constant."""
    return -precision / 2 * sum(w.square().sum() for w in weights)


def evidence(features, x, y, precision, nodes=31):
    """log p(labels y | features) + log p(features), up to the constant of the latter.

    The sum of the trapezoidal rule on nodes³ weights, which reach four standard deviations of the prior far.
    """
    axis = torch.linspace(-4, 4, nodes, dtype=x.dtype) / precision**0.5
    w = torch.cartesian_prod(axis, axis, axis)
    logits = w[:, :2] @ features(x).T + w[:, 2:]  # (nodes³, points)
    likelihood = -softplus(torch.where(y > 0, -logits, logits)).sum(1)
    cell = (axis[1] - axis[0]) * (precision / (2 * torch.pi)) ** 0.5
    terms = likelihood - precision / 2 * w.square().sum(1)
    return terms.logsumexp(0) + 3 * cell.log() + logprior(trainables(features), precision)


def climb(features, x, y, precision, steps=30):
    """The evidence at the maximum next to these features, which are left as they are."""
    start = [w.detach().clone() for w in trainables(features)]
    optimiser = torch.optim.LBFGS(trainables(features), max_iter=steps, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        value = -evidence(features, x, y, precision)
        value.backward()
        return value

    optimiser.step(loss)
    best = -loss().item()
    with torch.no_grad():
        for w, old in zip(trainables(features), start, strict=True):
            w.copy_(old)
    return best
