"""The experiments with language and sound: a short version of each learns, and what its numbers stand on."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import torchflux
import torchflux_zygote
from torchflux import leaves, logitcrossentropy
from torchflux_lab import find

pytest.importorskip("matplotlib")
Short = Callable[..., dict[str, Any]]
FOLDER = Path(__file__).parent.parent / "experiments"


def test_treebank(short: Short) -> None:
    settings = ("trees=300", "tests=100", "highest=5", "epochs=6", "batch=5", "rate=0.005")
    right = short("treebank", *settings)["judged right"]
    for test, share in right["recursive"].items():
        assert share > right["bag"][test] + 0.1, test
    assert right["recursive"]["4 high"] > 0.7
    assert right["bag"]["4 high"] > right["most frequent"]["4 high"] + 0.1


# The sentiment once more, from nested pairs of words, each adverb with a table of its own.

VERY = {-2: -2, -1: -2, 0: 0, 1: 2, 2: 2}
SLIGHTLY = {-2: -1, -1: -1, 0: 0, 1: 1, 2: 1}
NOT = {-2: 1, -1: 1, 0: 0, 1: -1, 2: -1}
SCORES = dict.fromkeys(("great", "superb", "brilliant"), 2) | dict.fromkeys(("good", "nice", "decent"), 1)
SCORES |= dict.fromkeys(("bad", "dull", "weak"), -1) | dict.fromkeys(("awful", "dreadful", "terrible"), -2)


def meaning(phrase: Any) -> int:
    match phrase:
        case ("very", x) | (("everybody", "says"), x):
            return VERY[meaning(x)]
        case ("slightly", x):
            return SLIGHTLY[meaning(x)]
        case ("not", x) | (("nobody", "says"), x):
            return NOT[meaning(x)]
        case (x, ("and", y)):
            return min(max(meaning(x) + meaning(y), -2), 2)
        case (x, ("but", y)):
            return meaning(y) if meaning(y) != 0 else meaning(x)
        case (("the", _), x) | ("is" | "and" | "but", x):
            return meaning(x)
        case str():
            return SCORES.get(phrase, 0)
    assert phrase in {("the", phrase[1]), ("nobody", "says"), ("everybody", "says")}, phrase
    return 0


def nested(tree: Any) -> Any:
    return tuple(map(nested, tree.parts)) if tree.parts else tree.word


def test_treebanks_labels_follow_from_the_words() -> None:
    """Of all phrases; the words' mere sum is another one. What the training lacks is in the tests."""
    with find("treebank", FOLDER).loaded() as program:
        script = sys.modules["treebank"]
        read, tests = script.make_data(program.parameters(trees=200, tests=40))
    trees = read + [tree for test in tests.values() for tree in test]
    for phrase in (phrase for tree in trees for phrase in tree.phrases):
        assert phrase.label == meaning(nested(phrase)), phrase.words
    summed = [max(-2, min(2, sum(SCORES.get(word, 0) for word in tree.words))) for tree in trees]
    assert sum(a != tree.label for a, tree in zip(summed, trees, strict=True)) > len(trees) / 4
    assert len({nested(tree) for tree in trees}) == len(trees)  # nothing is read and tested
    assert {tree.height for tree in read} == {3, 4, 5}
    assert {tree.height for tree in tests["9 high"]} == {9}
    assert not any("not very" in " ".join(tree.words) for tree in read)
    assert all("not very" in " ".join(tree.words) for tree in tests["not very"])
    assert all("nobody says" in " ".join(tree.words) for tree in tests["nobody says ... but"])


def test_treebanks_slope_is_that_of_the_transformed_source() -> None:
    """And by central differences; the LSTM and the bag say of each phrase the same in any company."""
    with find("treebank", FOLDER).loaded() as program:
        script = sys.modules["treebank"]
        read, _ = script.make_data(program.parameters(trees=12, tests=3, highest=4))
        torch.manual_seed(0)
        model = script.Recursive(6).double()
        loss = lambda model: logitcrossentropy(model(read), script.labels(read))
        (slopes,), (transformed,) = (way(loss, model) for way in (torchflux.gradient, torchflux_zygote.gradient))
        for path, slope in leaves(slopes):
            assert torch.allclose(slope, dict(leaves(transformed))[path], atol=1e-12), path
        weight, along = model.combine.weight, torch.randn(6, 12).double()
        with torch.no_grad():
            there, back = (loss((weight.add_(h * along), model)[1]).item() for h in (1e-5, -2e-5))
        due = (slopes["combine.weight"] * along).sum().item()
        assert (there - back) / 2e-5 == pytest.approx(due, rel=1e-6)
        for name in script.READERS:
            reader = script.READERS[name](6)
            assert torch.allclose(torch.cat([reader([tree]) for tree in read]), reader(read), atol=1e-5)


def test_treebank_refuses_to_look_for_more_trees_than_there_are() -> None:
    with find("treebank", FOLDER).loaded(), pytest.raises(ValueError, match="there are 1"):
        sys.modules["treebank"].treebank(130, (2,), lambda tree: True, torch.Generator().manual_seed(0), tries=10)


def test_cough(short: Short) -> None:
    """In form for all ways; that the chain is learnt, and what helps, for two."""
    results = short("cough", "seeds=1", "epochs=1", "sounds=50", "tests=20")
    assert set(results["judged right"]) == set(results["runs"]) > {"plain", "masked, random chains"}
    with find("cough", FOLDER).loaded() as program:
        script, p = sys.modules["cough"], program.parameters(sounds=400, tests=150, epochs=8)
        tests = script.make_tests(p, torch.Generator().manual_seed(10_000))
        right = {
            name: {test: script.accuracy(script.train(script.WAYS[name], p, 0), data) for test, data in tests.items()}
            for name in ("plain", "masked, random chains")
        }
    plain, helped = right.values()
    assert min(plain["as in training"], helped["as in training"]) > 0.9
    assert plain["swapped"] < 0.7
    assert helped["swapped"] > plain["swapped"] + 0.15


def test_coughs_chains_do_as_their_numbers_say() -> None:
    """A sine through a chain comes out by its response; noise and clipping are where they are said to be."""
    with find("cough", FOLDER).loaded():
        script, chains = sys.modules["cough"], sys.modules["chains"]
        rng, t = torch.Generator().manual_seed(0), sys.modules["sounds"].TIME
        filtered = chains.Recorder(tilt=-3, low=200, high=2000, centre=700, gain=6, noise=-120, clip=1.0)
        tones = torch.tensor([125.0, 500.0, 1000.0, 2000.0])[:, None]  # octaves apart, whole periods in the window
        gains = filtered.response()[(tones[:, 0] * 4096 / 8000).long()]
        due = [9 - 24 * 0.678, 3, 0, -3]  # by tilt and by what is cut off; the resonance is added at 500 and 1000
        bell = [6 * 2 ** -(1.4427 * (2 * x) ** 2) for x in (-2.485, -0.485, 0.515, 1.515)]
        assert gains.tolist() == pytest.approx([a + b for a, b in zip(due, bell, strict=True)], abs=0.05)
        mixed = torch.sin(2 * torch.pi * tones * t).sum(0, keepdim=True)
        powers = torch.fft.rfft(filtered(mixed, rng))[0].abs()[(tones[:, 0] * 4096 / 8000).long()].log10() * 20
        assert (powers - powers[2]).tolist() == pytest.approx(
            (gains - gains[2]).tolist(), abs=5
        )  # tilts differ a little
        loud = chains.Recorder(tilt=0, low=20, high=4000, centre=1000, gain=0, noise=-120, clip=0.5)(mixed[:, :], rng)
        assert (loud.abs() > 0.999).float().mean() > 0.02  # cut off, and as loud as ever
        quiet = torch.zeros(1, 4096)
        quiet[0, 0] = 1.0
        hiss = chains.Recorder(tilt=0, low=20, high=4000, centre=1000, gain=0, noise=-40, clip=1.0)(quiet, rng)[
            0, 2000:
        ]
        assert 20 * hiss.std().log10().item() == pytest.approx(-40, abs=7)
        y = script.spectrogram(mixed)
        assert torch.allclose(script.less_mean(y + torch.randn(65, 1, generator=rng)), script.less_mean(y), atol=1e-4)
        assert torch.allclose(script.masked(y + 3.0), script.masked(y), atol=1e-4)  # a louder one is the same
        assert not torch.allclose(script.masked(y + torch.randn(65, 1, generator=rng)), script.masked(y), atol=0.1)


def test_coughs_sounds_begin_as_they_should() -> None:
    """A cough and a knock are loudest at once, a breath takes its time; half are coughs, and 19 of 20 confounded."""
    with find("cough", FOLDER).loaded():
        script, sounds = sys.modules["cough"], sys.modules["sounds"]
        draw = sounds.Sounds(torch.Generator().manual_seed(0))

        def rise(x: torch.Tensor) -> float:
            """Mean seconds from a tenth to the whole of the loudness."""
            loud = torch.nn.functional.avg_pool1d(x.abs()[:, None], 33, 1, 16)[:, 0]
            loud = loud / loud.amax(1, keepdim=True)
            return (loud.argmax(1) - (loud > 0.1).float().argmax(1)).float().mean().item() / sounds.RATE

        cough, knock, breath = (rise(make(100)) for make in (draw.coughs, draw.knocks, draw.breaths))
        assert max(cough, knock) < 0.03 < 0.05 < breath
        x, is_cough, studio = script.both(1000, 0.95, torch.Generator().manual_seed(0))
        assert x.shape == (1000, 4096)
        assert is_cough.mean() == 0.5
        assert (is_cough == studio).float().mean().item() == pytest.approx(0.95, abs=0.03)


def test_gpt_char(short: Short) -> None:
    settings = ("steps=120", "size=48", "length=32", "batch=16", "rate=0.01", "rising=10", "every=60", "written=60")
    bits = short("gpt-char", *settings, "dropout=0.0", "orders=3")["bits a letter"]
    assert bits["counts, 3 letters before"] < bits["network"] < bits["counts, 0 letters before"] - 0.4
    readme = (FOLDER / "char-rnn" / "README.md").read_text(encoding="utf-8")
    assert f"| **network** | **{bits['char-rnn']}** |" in readme


def test_gpt_chars_letters_see_only_what_is_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the mask the check fails; the attention is shares; the surprise is that of the window that is said."""
    with find("gpt-char", FOLDER).loaded() as program:
        script, p = sys.modules["gpt-char"], program.parameters(size=16, length=8)
        torch.manual_seed(0)
        model = script.GPT(len(script.LETTERS), p).eval()
        for x in torchflux.trainables(model):
            x.data.normal_(std=0.5)
        codes = script.CODES[:21]
        other = codes[:8].clone()
        other[5] = (other[5] + 1) % 60
        change = lambda: (model(codes[None, :8]) - model(other[None]))[0].abs().amax(1)
        assert (change()[:5] < 1e-5).all()
        assert (change()[5:] > 1e-3).all()
        weights = script.attention(model, codes[:8])
        assert weights.shape == (p.blocks, p.heads, 8, 8)
        assert torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-5)
        assert weights.triu(1).abs().max() == 0
        bits = script.surprise(model, codes, 8)
        assert bits.shape == (20,)
        model.eval()
        for i, begin in ((1, 0), (4, 0), (7, 0), (8, 0), (9, 4), (12, 4), (13, 8), (20, 12)):
            probabilities = model(codes[None, begin:i])[0, -1].softmax(-1)
            assert bits[i - 1].item() == pytest.approx(-probabilities[codes[i]].log2().item(), abs=1e-4), i
        monkeypatch.setattr(sys.modules["network"], "causal_mask", lambda n: torch.ones(n, n, dtype=torch.bool))
        assert (change()[:5] > 1e-3).any()
