"""The experiments of the reference's model zoo: a short version of each learns, and what its numbers stand on."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from torchflux_lab import find

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")
Short = Callable[..., dict[str, Any]]
FOLDER = Path(__file__).parent.parent / "experiments"


def test_mlp_digits(short: Short) -> None:
    results = short("mlp-digits", "seeds=1", "epochs=25")
    assert results["network, images moved"]["error"] < results["logistic regression"]["error"] < 0.06


def test_mlp_digits_are_moved_as_far_as_said() -> None:
    """By a whole pixel an image is itself, a column further; by nothing it is itself."""
    with find("mlp-digits", FOLDER).loaded():
        script = sys.modules["mlp-digits"]
        x, rng = script.IMAGES[:50], torch.Generator().manual_seed(0)
        assert torch.allclose(script.moved(x, 0.0, rng), x, atol=1e-5)
        dot = torch.zeros(200, 1, 8, 8)
        dot[:, :, 4, 4] = 1
        places = torch.arange(8.0)
        y = script.moved(dot, 0.7, rng)[:, 0]
        rows, columns = ((y.sum(k) * places).sum(-1) - 4 for k in (2, 1))  # where the dot's centre went
        for shift in (rows, columns):
            assert 0.6 < shift.abs().max() <= 0.7 + 1e-5
            assert abs(shift.mean()) < 0.1


def test_vae_digits(short: Short) -> None:
    results = short("vae-digits", "latents=2", "steps=500", "warm=100", "samples=50")
    nats = results["nats of an image"]
    assert nats["independent pixels"] + 5 < nats["2 latent numbers"] < -85
    assert nats["bound, 2 latent numbers"] < nats["2 latent numbers"]


def test_vae_digits_likelihood_is_the_integral_over_the_plane() -> None:
    """By quadrature; the bound lies below."""
    with find("vae-digits", FOLDER).loaded() as program:
        script = sys.modules["vae-digits"]
        x = script.IMAGES[:4]
        vae = script.VAE(2, script.histograms(script.IMAGES), program.parameters()).eval()
        line = torch.linspace(-5, 5, 41)
        z = torch.cartesian_prod(line, line)[:, None]  # (points, 1, 2)
        rng = torch.Generator().manual_seed(0)
        with torch.no_grad():
            terms = script.normal(z) - script.surprise(vae.decoder(z).expand(-1, 4, -1, -1), x)  # (points, 4)
            below = vae(x.repeat(500, 1), rng).view(500, 4).mean(0)
        due = torch.logsumexp(terms, 0) + 2 * (line[1] - line[0]).log()
        assert torch.allclose(vae.log_likelihood(x, rng, 2000), due, atol=0.1)
        assert (below < due - 0.01).all()


def test_gan_digits(short: Short) -> None:
    settings = ("steps=600", "mean=0.98", "rate=0.002", "batch=32", "every=300", "train=1500")
    results = short("gan-digits", *settings)
    made, normal = (results[name] for name in ("generator", "normal density"))
    assert made["distance to training digits"] < normal["distance to training digits"]
    assert made["digits, as if so many"] > 4


def test_gan_digits_neighbours_tell_what_differs() -> None:
    with find("gan-digits", FOLDER).loaded():
        tell, rng = sys.modules["gan-digits"].neighbours_tell, torch.Generator().manual_seed(0)
        a, b = torch.randn(2, 1000, 3, generator=rng)
        assert tell(a, b) == pytest.approx(0.5, abs=0.05)
        assert tell(a, b + 100) == 1.0
        assert tell(a, a.clone()) == 0.0  # copies: each has its neighbour on the other side


def test_maml_sine(short: Short) -> None:
    settings = ("steps=300", "rate=0.003", "tests=100", "more_steps=10", "hidden=30")
    results = short("maml-sine", *settings)
    after = {name: rows["after 10"]["error"] for name, rows in results.items()}
    assert after["MAML"] < 0.8 * after["joint"]
    assert after["MAML"] < 0.8 * after["random"]


@pytest.fixture
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_maml_sines_slope_goes_through_the_step(float64: None) -> None:
    """By central differences; with slopes that count as constants it is another one."""
    with find("maml-sine", FOLDER).loaded() as program:
        script, p = sys.modules["maml-sine"], program.parameters(hidden=5)
        learner, rng = script.Learner(p), torch.Generator().manual_seed(0)
        waves = script.Waves(3, rng)
        points = waves.points(10), waves.points(10)
        weights = learner.start.requires_grad_()
        along = torch.randn(weights.shape, generator=rng)
        ways = (script.maml, script.first_order)
        slopes = [torch.autograd.grad(way(learner, weights, *points, p), weights)[0] @ along for way in ways]
        with torch.no_grad():
            there, back = (script.maml(learner, weights + h * along, *points, p).item() for h in (1e-6, -1e-6))
        assert slopes[0].item() == pytest.approx((there - back) / 2e-6, rel=1e-5)
        assert slopes[1].item() != pytest.approx((there - back) / 2e-6, rel=1e-2)


def test_char_rnn(short: Short) -> None:
    settings = ("steps=60", "hidden=64", "batch=16", "rate=0.02", "every=30", "dropout=0", "written=100")
    results = short("char-rnn", *settings)
    bits = results["bits a letter"]
    assert bits["counts, 3 letters before"] < bits["network"] < bits["counts, 0 letters before"] - 0.4
    assert [len(text) for text in results["written"].values()] == [100, 100]


def test_char_rnns_counts_are_probabilities() -> None:
    """Over all letters they sum to one, after what was read and after what was not; by hand for one letter."""
    with find("char-rnn", FOLDER).loaded():
        script = sys.modules["char-rnn"]
        for before in ("the", "zzz"):
            bits = torch.stack([script.counted(script.TEXT[:2000], before + x, 3)[:, -1] for x in script.LETTERS])
            assert torch.allclose((2**-bits).sum(0), torch.ones(4), atol=1e-4)
        n = len(script.LETTERS)
        bits = script.counted("aab", "ab", 1)[:, 0]
        by_none = (1 + 2 / n) / 5  # b once among three letters of two kinds
        assert (2**-bits).tolist() == pytest.approx([by_none, (1 + 2 * by_none) / 4], rel=1e-5)
