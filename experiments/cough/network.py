"""Figure 1 of the paper: a spectrogram and a convolution, shared by a classifier and a head that guesses the chain."""

import torch

from torchflux import AdaptiveMeanPool, BatchNorm, Chain, Conv, Dense, flatten, relu

# The front end, from sounds to (batch, 1, 65, 33), by frequency and time.

WINDOW = torch.hann_window(128)


def spectrogram(x):
    """(batch, 4096) to the logarithms of its powers."""
    return (torch.stft(x, 128, 128, window=WINDOW, return_complex=True).abs().square() + 1e-5).log().unsqueeze(1)


def less_mean(y):
    """Each frequency less its mean over time: a filter adds the same to all times (Atal, 1974)."""
    return y - y.mean(-1, keepdim=True)


def masked(y, decibels=28):
    """What is as far below the loudest as that, or further, is nothing."""
    return (y - y.amax((-2, -1), keepdim=True) + 0.23 * decibels).clamp(min=0)  # 10 dB are a factor 10, 2.3 nats


def make_network(front):
    """Shared layers, which hear sounds (batch, 4096), the classifier and the head; both give logits (batch,).

    The last BatchNorm has no scale, so that features can't hide the chain by shrinking.
    """
    shared = Chain(spectrogram, *front, BatchNorm(1), Conv((3, 3), 1, 8, stride=2), BatchNorm(8, relu, affine=False))
    pool = AdaptiveMeanPool((7, 4))
    classifier = Chain(
        Conv((3, 3), 8, 16, relu, stride=2), pool, flatten, Dense(448, 32, relu), Dense(32, 1), torch.ravel
    )
    head = Chain(AdaptiveMeanPool((16, 4)), flatten, Dense(512, 32, relu), Dense(32, 1), torch.ravel)
    return shared, classifier, head
