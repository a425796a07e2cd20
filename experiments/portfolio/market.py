"""The data: what is known at the end of a week that a decision follows, and the returns of the next four weeks."""

from pathlib import Path

import numpy as np
import torch

PERIOD, YEAR, HISTORY = 4, 13, 104  # weeks, periods, weeks
FILE = Path(__file__).parent / "returns.csv"
TABLE = np.genfromtxt(FILE, delimiter=",", skip_header=4, dtype=str)
STOCKS = FILE.read_text(encoding="utf-8").splitlines()[3].split(",")[1:-1]
WEEKS = torch.tensor(TABLE[:, 1:].astype(float)) / 1e4  # (1721, 21); the last one is the index
FEATURES = ("last 4 weeks", "year before that", "volatility", "below the high")


def features(past):
    """Of each stock, from a year of weekly returns (52, 20): standardised among the stocks, (20, 4)."""
    price = past.log1p().cumsum(0)
    found = [price[-1] - price[-5], price[-5], past.std(0), price.amax(0) - price[-1]]
    x = torch.stack(found, 1)
    return (x - x.mean(0)) / x.std(0)


def covariance(past):
    """Of the next four weeks, (20, 20): a fifth of the way to a diagonal with the mean variance."""
    sample = torch.cov(past.T)
    return PERIOD * (0.8 * sample + 0.2 * sample.diagonal().mean() * torch.eye(len(sample)).to(sample))


def growth(weeks):
    return (1 + weeks).prod(0) - 1


MOMENTS = range(HISTORY, len(WEEKS) - PERIOD + 1, PERIOD)
YEARS = torch.tensor([int(TABLE[t, 0][:4]) for t in MOMENTS])  # in which a decision's first week ends
KNOWN = torch.stack([features(WEEKS[t - 52 : t, :-1]) for t in MOMENTS])  # (periods, 20, 4)
SPREAD = torch.stack([covariance(WEEKS[t - HISTORY : t, :-1]) for t in MOMENTS])  # (periods, 20, 20)
NEXT = torch.stack([growth(WEEKS[t : t + PERIOD]) for t in MOMENTS])  # (periods, 21)
