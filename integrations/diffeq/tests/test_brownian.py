"""Brownian motion: a pure function, and the law that it has to have. Each check of the law has a motion that fails."""

import numpy as np
import pytest
import torch
from scipy import stats

from torchflux_diffeq import BrownianTree
from torchflux_diffeq._brownian import Path
from torchflux_diffeq._threefry import threefry

SAMPLES = 20_000
TS = np.array([0.3, 0.8, 1.1, 2.0, 2.9])


def increments(seed=11, ts=TS, samples=SAMPLES, tree=BrownianTree):
    """The increments between some times, divided by their due deviation, shape (times, samples)."""
    w = tree(seed, 0.0, 3.0)(ts, samples)[..., 0]
    return w.diff(dim=0, prepend=torch.zeros(1, samples)).numpy() / np.diff(ts, prepend=0.0)[:, None] ** 0.5


def is_white(z):
    """Whether numbers of shape (times, samples) are standard normal and independent, at the level of 1 in 1,000."""
    n = z.shape[1]
    off = np.abs(np.cov(z) - np.eye(len(z)))
    return (
        np.abs(z.mean(1)).max() < 4 / n**0.5
        and np.diag(off).max() < 4 * (2 / n) ** 0.5
        and (off - np.diag(np.diag(off))).max() < 4 / n**0.5
        and all(stats.kstest(row, "norm").pvalue > 1e-3 for row in z)
    )


@pytest.mark.parametrize(
    ("key", "counter", "due"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_published_numbers(key, counter, due):
    """Random123's tests/kat_vectors, threefry2x32 20."""
    found = threefry(key, tuple(np.array([x], np.uint32) for x in counter))
    assert tuple(int(x[0]) for x in found) == due


def test_the_increments_are_independent_normal_numbers():
    assert is_white(increments())
    assert is_white(increments(seed=2**64 - 1))


def test_at_times_that_are_close_together():
    assert is_white(increments(ts=1.7 + 1e-6 * np.arange(8))[1:])


def test_a_grid_of_halvings_has_the_same_law():
    assert is_white(increments(ts=3.0 * np.arange(1, 9) / 8))


class Interpolated(BrownianTree):
    """The canary: it is linear between eight times."""

    def outer(self, t, rows, dimensions):
        known = super().outer(np.linspace(self.t0, self.t1, 9), rows, dimensions)
        part = (t - self.t0) / (self.t1 - self.t0) * 8
        i = np.minimum(part.astype(int), 7)
        return known[i] + (part - i)[:, None, None] * (known[i + 1] - known[i])


class Shifted(BrownianTree):
    """The canary: neighbouring samples share their numbers."""

    def outer(self, t, rows, dimensions):
        return super().outer(t, rows // 2, dimensions)


class Uniform(BrownianTree):
    """The canary: the right mean and variance, but not normal."""

    def outer(self, t, rows, dimensions):
        w = super().outer(t, rows, dimensions)
        deviation = (t - self.t0)[:, None, None] ** 0.5
        return (stats.norm.cdf(w / deviation) - 0.5) * 12**0.5 * deviation


def test_the_checks_can_fail():
    assert not is_white(increments(tree=Interpolated))
    assert not is_white(increments(tree=Uniform))
    assert not is_white(1.05 * increments())
    assert not is_white(0.03 + increments())


def correlated(z):
    """The largest correlation between neighbours, in deviations of one that comes about by chance."""
    return np.abs((z[:, 1:] * z[:, :-1]).mean(1)).max() * z.shape[1] ** 0.5


def test_samples_are_independent():
    assert correlated(increments()) < 4
    assert correlated(increments(tree=Shifted)) > 20


def test_dimensions_are_independent():
    w = BrownianTree(5, 0.0, 1.0)([1.0], SAMPLES // 4, 4)[0].numpy()
    off = np.abs(np.cov(w.T) - np.eye(4)) * (SAMPLES // 4) ** 0.5
    assert off.max() < 6
    assert is_white(w.T)


def test_seeds_are_independent():
    a, b = (increments(seed=seed)[-1] for seed in (3, 4))
    assert abs((a * b).mean()) < 4 / SAMPLES**0.5
    high = increments(seed=3 + 2**32)[-1]  # they differ in the key's other half
    assert abs((a * high).mean()) < 4 / SAMPLES**0.5


def test_the_bridge():
    """W in the middle, given both ends, has the mean of the line and a quarter of the time as its variance."""
    w = BrownianTree(17, 0.0, 1.0)([0.37, 0.5, 0.63], SAMPLES)[..., 0].numpy()
    z = (w[1] - (w[0] + w[2]) / 2) / (0.26 / 4) ** 0.5
    assert is_white(np.stack([z, w[0] / 0.37**0.5, (w[2] - w[0]) / 0.26**0.5]))


def test_the_quadratic_variation_of_one_path():
    w = BrownianTree(23, 0.0, 1.0)(np.linspace(0.0, 1.0, 5001))[:, 0, 0]
    assert abs(float((w.diff() ** 2).sum()) - 1.0) < 4 * (2 / 5000) ** 0.5


def test_it_is_a_function_of_the_sample_and_the_time():
    tree, ts = BrownianTree(7, -1.0, 2.0), np.random.default_rng(0).uniform(-1.0, 2.0, 50)
    all_of_them = tree(ts, 33, 3)
    order = np.random.default_rng(1).permutation(50)
    assert torch.equal(tree(ts[order], 33, 3), all_of_them[order])
    rows = np.array([31, 4, 4, 0])
    assert torch.equal(tree(ts, rows, 3), all_of_them[:, rows])
    assert torch.equal(torch.cat([tree([t], 33, 3) for t in ts]), all_of_them)
    assert torch.equal(BrownianTree(7, -1.0, 2.0)(ts[:3], 33, 3), all_of_them[:3])
    paired = tree.paired(ts, np.arange(50) % 33, 3)
    assert np.array_equal(paired, all_of_them[np.arange(50), np.arange(50) % 33].numpy())
    assert not torch.equal(BrownianTree(8, -1.0, 2.0)(ts, 33, 3), all_of_them)
    assert tree([-1.0]).abs().max() == 0.0


def test_increments_add_up():
    s, t, u = BrownianTree(7, 0.0, 1.0)([0.123, 0.456, 0.789], 1000)
    assert torch.allclose((t - s) + (u - t), u - s, rtol=0, atol=1e-15)


def test_coarser_trees_agree_on_their_grid():
    ts = np.arange(9) / 8
    fine, coarse = BrownianTree(7, 0.0, 1.0), BrownianTree(7, 0.0, 1.0, tol=1 / 8)
    assert torch.equal(fine(ts, 5), coarse(ts, 5))
    assert torch.equal(coarse([0.26], 5), coarse([0.25], 5))
    assert coarse.tol == 1 / 8


@pytest.mark.parametrize("rows", [np.arange(6), np.array([5, 2])])
def test_looking_ahead_changes_nothing(rows):
    tree = BrownianTree(7, 0.0, 4.0)
    path, t = Path(tree, 0.1, 2.95), 0.0
    while t < 2.95:
        end = 0.31 if t < 0.31 <= t + 0.1 else min(t + 0.1, 2.95)  # one step is shorter than foreseen
        found = path.increments(rows, np.full(len(rows), t), np.full(len(rows), end), 2)
        due = tree([t, end], rows, 2)
        assert np.array_equal(found, (due[1] - due[0]).numpy())
        t = end
    begins, ends = np.linspace(0.0, 1.0, len(rows)), np.linspace(1.5, 2.0, len(rows))
    found = path.increments(rows, begins, ends, 2)
    due = np.stack([tree([s, e], [i], 2).diff(dim=0)[0, 0] for i, s, e in zip(rows, begins, ends, strict=True)])
    assert np.array_equal(found, due)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BrownianTree(-1, 0.0, 1.0), "seed=-1"),
        (lambda: BrownianTree(2**64, 0.0, 1.0), "2\\*\\*64"),
        (lambda: BrownianTree(0, 1.0, 1.0), "before the last"),
        (lambda: BrownianTree(0, 0.0, float("inf")), "before the last"),
        (lambda: BrownianTree(0, 0.0, 1.0, tol=0.0), "tol=0.0"),
        (lambda: BrownianTree(0, 0.0, 1.0, tol=1e-12), "told apart"),
        (lambda: BrownianTree(0, 0.0, 1.0)([1.5]), "at 1.5"),
        (lambda: BrownianTree(0, 0.0, 1.0)([float("nan")]), "at nan"),
        (lambda: BrownianTree(0, 0.0, 1.0)([0.5], [-1]), "numbers -1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
