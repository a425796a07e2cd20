"""The fastest mode: it computes the same, and measuring leaves the model as it is."""

import copy
from functools import partial

import pytest
import torch

import metalhead as mh


@pytest.mark.parametrize(("training", "compile"), [(False, True), (True, False)])
def test_same_results_and_an_unchanged_model(training, compile, monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))  # the usual one takes long
    model = mh.resnet(mh.Basic, (1, 1), nclasses=3).train(training)
    twin, x = copy.deepcopy(model), torch.randn(2, 3, 32, 32)
    before = torch.get_rng_state()
    quick = mh.fastest(model, x, compile=compile, rounds=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(quick.seconds) == (4 if compile else 2)
    assert quick.seconds[quick.mode] == min(quick.seconds.values())
    assert all(torch.equal(a, b) for a, b in zip(twin.state_dict().values(), model.state_dict().values(), strict=True))
    assert all(p.grad is None for p in model.parameters())
    torch.testing.assert_close(quick(x), twin(x), rtol=1e-4, atol=1e-4)
    assert {str(mode) for mode in quick.seconds} >= {"eager, channels last", "eager, channels first"}


def test_every_mode_is_what_it_says():
    model = mh.resnet(mh.Basic, (1, 1), nclasses=3).eval()
    call = mh.Mode(channels_last=True, compiled=False).apply(model)
    assert model.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert model.features(torch.randn(2, 3, 32, 32)).is_contiguous(memory_format=torch.channels_last)
    assert call(torch.randn(2, 3, 32, 32)).shape == (2, 3)
