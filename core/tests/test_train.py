"""The training loop against the normal equations, and the triggers against hand-made sequences."""

import copy
import itertools
import math
import random
from collections import namedtuple

import pytest
import torch

from torchflux import Adam, DataLoader, Dense, Descent, early_stopping, mse, patience, plateau, setup, throttle, train

Batch = namedtuple("Batch", "x y")


def loss(model, x, y):
    return mse(model(x), y)


def regression(n=64):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, 3, dtype=torch.float64, generator=g)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]], dtype=torch.float64) + 3
    return x, y + 0.1 * torch.randn(n, 1, dtype=torch.float64, generator=g)


def linear():
    torch.manual_seed(0)
    return Dense(3, 1).double()


def least_squares(x, y):
    """Weights and bias of the normal equations, and the mean squared error there."""
    design = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    solution = torch.linalg.solve(design.T @ design, design.T @ y)
    return solution, (design @ solution - y).square().mean().item()


def solved(model):
    return torch.cat([model.weight.detach().T, model.bias.detach()[:, None]])


@pytest.mark.parametrize("make", [lambda m: setup(Descent(0.2), m), lambda m: torch.optim.SGD(m.parameters(), lr=0.2)])
def test_training_converges_to_the_least_squares_solution(make):
    (x, y), model = regression(), linear()
    solution, lowest = least_squares(x, y)
    state = make(model)
    first = train(loss, model, [(x, y)], state, progress=False)
    last = train(loss, model, [(x, y)] * 300, state, progress=False)
    assert first > 5 > last
    torch.testing.assert_close(solved(model), solution)
    assert train(loss, model, [(x, y)], state, progress=False) == pytest.approx(lowest)


def test_an_untrained_model_is_not_at_the_least_squares_solution():
    assert not torch.allclose(solved(linear()), least_squares(*regression())[0], atol=0.1)


def test_a_step_is_that_of_torch_optim():
    data, ours, theirs = [regression(8), regression(16)], linear(), linear()
    train(loss, ours, data, setup(Adam(0.1), ours), progress=False)
    optimiser = torch.optim.Adam(theirs.parameters(), lr=0.1)
    for x, y in data:
        optimiser.zero_grad()
        loss(theirs, x, y).backward()
        optimiser.step()
    torch.testing.assert_close(solved(ours), solved(theirs))


def test_the_result_is_the_mean_of_the_losses_before_each_step():
    model, (x, y) = linear(), regression()
    expected = [loss(model, x[:8], y[:8]).item(), loss(model, x[8:], y[8:]).item()]
    found = train(loss, model, [(x[:8], y[:8]), (x[8:], y[8:])], setup(Descent(0.0), model), progress=False)
    assert isinstance(found, float)
    assert found == pytest.approx(sum(expected) / 2)


x0, y0 = regression(4)
BATCHES = {
    "tuple": ((x0, y0), loss),
    "list": ([x0, y0], loss),
    "namedtuple": (Batch(x0, y0), loss),
    "dict": ({"x": x0, "y": y0}, lambda m, b: loss(m, b["x"], b["y"])),
    "tensor": (x0, lambda m, x: m(x).square().mean()),
    "with data that is no tensor": ((x0, "label", 3), lambda m, x, label, n: m(x).square().mean() * n),
}


@pytest.mark.parametrize(("given", "f"), BATCHES.values(), ids=BATCHES.keys())
def test_a_batch_is_any_tree_and_a_tuple_is_unpacked(given, f):
    model = linear()
    before = train(f, model, [given], setup(Descent(0.01), model), progress=False)
    assert train(f, model, iter([given]), setup(Descent(0.01), model), progress=False) < before


def test_a_data_loader_gives_the_batches():
    model, (x, y) = linear(), regression()
    loader = DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=16)
    state = setup(Descent(0.1), model)
    losses = [train(loss, model, loader, state, progress=False) for _ in range(20)]
    assert losses[-1] < 0.1 * losses[0]


def test_a_loss_may_return_more_than_the_loss():
    model = linear()
    f = lambda m, x, y: (loss(m, x, y), "aux")
    assert train(f, model, [regression()], setup(Descent(0.1), model), progress=False) > 0


def test_any_tree_of_tensors_trains():
    x, y = regression()
    model = {"w": torch.zeros(3, 1, dtype=torch.float64), "b": torch.zeros(1, dtype=torch.float64)}
    f = lambda m, x, y: mse(x @ m["w"] + m["b"], y)
    train(f, model, [(x, y)] * 300, setup(Descent(0.2), model), progress=False)
    torch.testing.assert_close(torch.cat([model["w"], model["b"][:, None]]), least_squares(x, y)[0])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_training_before_it_spoils_the_model(bad):
    (x, y), model = regression(), linear()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(FloatingPointError, match=f"batch 0 is {bad}"):
        train(
            lambda m, x, y: m(x).mean().abs() * y.mean(),
            model,
            [(x, y * 0 + bad)],
            setup(Adam(), model),
            progress=False,
        )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_batch_that_is_not_finite_is_named_and_those_before_it_have_been_used():
    (x, y), model = regression(), linear()
    before = solved(model)
    with pytest.raises(FloatingPointError, match="the loss of batch 2 is nan"):
        train(loss, model, [(x, y), (x, y), (x, y * math.nan)], setup(Descent(0.1), model), progress=False)
    assert not torch.equal(solved(model), before)
    assert solved(model).isfinite().all()


@pytest.mark.parametrize("data", [list, lambda: iter(())])
def test_data_without_a_batch_is_an_error(data):
    model = linear()
    with pytest.raises(ValueError, match="no batch"):
        train(loss, model, data(), setup(Descent(0.1), model), progress=False)


def test_an_iterator_that_has_been_used_up_is_an_error():
    model, data = linear(), iter([regression()])
    state = setup(Descent(0.1), model)
    train(loss, model, data, state, progress=False)
    with pytest.raises(ValueError, match="used up"):
        train(loss, model, data, state, progress=False)


@pytest.mark.parametrize("progress", [True, False])
def test_the_progress_bar_is_on_or_off(progress, capsys):
    model = linear()
    train(loss, model, [regression()] * 3, setup(Descent(0.1), model), progress=progress)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("0/3" in err) == progress
    assert bool(err) == progress


# Triggers: Flux.jl's, call by call (src/utils.jl)


def run(trigger, scores):
    return [trigger(score) for score in scores]


def same(x):
    return x


@pytest.mark.parametrize(
    ("times", "leading", "ran"),
    [
        ([0, 1, 2, 3, 4], True, [0, None, 2, None, 4]),
        ([0, 1.9, 2.1, 3.9, 4.2], True, [0, None, 2.1, None, 4.2]),
        ([100, 200], True, [100, 200]),
        ([0, 1, 2, 3, 4], False, [None, None, 2, None, 4]),
    ],
)
def test_throttle_runs_at_most_once_in_so_many_seconds(times, leading, ran):
    now = 0.0

    def at(time):
        nonlocal now
        now = time
        return f(time)

    f = throttle(same, 2.0, leading=leading, clock=lambda: now)
    assert [at(time) for time in times] == ran


def test_throttle_passes_arguments_on_and_needs_no_clock():
    f = throttle(lambda a, *, b: a + b, 1000.0)
    assert f(1, b=2) == 3
    assert f(1, b=2) is None


def test_throttled_functions_are_apart():
    clock = itertools.count().__next__
    assert [throttle(same, 10.0, clock=clock)(i) for i in range(3)] == [0, 1, 2]


def test_patience_is_true_after_so_many_in_a_row():
    assert run(patience(same, 3), [0, 1, 0, 1, 1, 1, 1, 0]) == [False] * 5 + [True, True, False]
    assert run(patience(same, 1), [0, 1]) == [False, True]


def test_patience_passes_arguments_on():
    assert patience(lambda a, *, b: a == b, 1)(1, b=1) is True


def flux_early_stopping(scores, delay, min_dist=0.0, distance=lambda best, now: best - now, best=math.inf):
    """Flux.jl's loop: the best is the best of all; what is less than `min_dist` better counts."""
    count, fired = 0, []
    for score in scores:
        delta = distance(best, score)
        best = best if delta < 0 else score
        count = count + 1 if delta < min_dist else 0
        fired.append(count >= delay)
    return fired


@pytest.mark.parametrize("min_dist", [0.0, 0.25])
@pytest.mark.parametrize("seed", range(5))
def test_early_stopping_is_fluxs(min_dist, seed):
    scores = random.Random(seed).choices(range(10**9), k=50)  # no two alike
    scores = [score / 1e9 * (1 - i / 60) for i, score in enumerate(scores)]
    expected = flux_early_stopping(scores, 3, min_dist)
    assert run(early_stopping(same, 3, min_dist=min_dist), scores) == expected
    assert any(expected)
    assert not all(expected)


def test_early_stopping_counts_from_the_best_score_ever_seen():
    scores = [1.0, 0.9, 0.8, 0.7, 0.6]  # each a little better than the one before
    assert run(early_stopping(same, 2, min_dist=0.15), scores) == flux_early_stopping(scores, 2, 0.15)


def test_early_stopping_of_a_score_that_grows():
    stop = early_stopping(same, 2, distance=lambda best, now: now - best, init_score=-math.inf)
    assert run(stop, [1, 2, 3, 2, 2.5, 4]) == [False, False, False, False, True, False]


def test_early_stopping_of_a_score_that_stays_the_same_stops():
    assert run(early_stopping(same, 2), [1.0, 1.0, 1.0]) == [False, False, True]


def test_early_stopping_counts_nan_as_no_better():
    assert run(early_stopping(same, 2), [1.0, math.nan, math.nan, 0.5]) == [False, False, True, False]


def test_plateau_is_true_when_the_score_has_stood_still_so_often():
    assert run(plateau(same, 2, min_dist=0.1), [1.0, 0.99, 1.02, 5.0, 5.05, 5.0]) == [
        False,
        False,
        True,
        False,
        False,
        True,
    ]
    assert run(plateau(same, 1), [1.0, 1.0]) == [False, True]


def test_plateau_sees_a_move_in_either_direction():
    v = 10.0

    def alternating():  # -9, 8, -7, 6, ...: the example of Flux.jl's documentation
        nonlocal v
        v = v / abs(v) - v
        return v

    trigger = plateau(alternating, 3, init_score=10, min_dist=18)
    assert [trigger() for _ in range(4)] == [False, False, False, True]


def test_plateau_counts_nan_as_no_move():
    assert run(plateau(same, 2), [1.0, math.nan, math.nan, 0.5]) == [False, False, True, False]


def test_plateau_takes_the_absolute_value_of_a_signed_distance():
    signed = plateau(same, 1, distance=lambda before, now: before - now)
    assert run(signed, [1.0, 5.0, 9.0, 9.0]) == [False, False, False, True]
