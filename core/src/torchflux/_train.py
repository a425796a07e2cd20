"""A training loop for those who don't need their own, and what to call in one of your own."""

from collections.abc import Callable, Iterable
from operator import sub
from time import monotonic
from typing import Any

from tqdm import tqdm

from ._gradient import withgradient
from ._optimise import update
from ._walk import Function

__all__ = ["early_stopping", "patience", "plateau", "throttle", "train"]


Measure = Callable[..., float]


def train(loss: Callable[..., Any], model: Any, data: Iterable[Any], state: Any, *, progress: bool = True) -> float:
    """One pass over the data: a gradient step on `loss(model, *batch)` for each batch.

    Arguments:
        data: batches; a tuple or list is unpacked into arguments of `loss`.
        state: from `setup`, or a `torch.optim` optimiser.
        progress: whether to show a progress bar with the loss.

    Returns:
        The mean loss.

    Raises:
        FloatingPointError: the loss of a batch is NaN or infinite; its parameters are what they were before it.

    >>> import torch
    >>> from torchflux import Dense, Descent, mse, setup
    >>> model = Dense(1, 1)
    >>> data = [(torch.ones(4, 1), torch.zeros(4, 1))] * 20
    >>> loss = train(lambda m, x, y: mse(m(x), y), model, data, setup(Descent(0.1), model), progress=False)
    >>> bool(model(torch.ones(1, 1)).abs() < 0.1)
    True
    """
    total, count = 0.0, 0
    for i, batch in enumerate(bar := tqdm(data, disable=not progress, leave=False)):
        args = batch if isinstance(batch, tuple | list) else (batch,)
        value, (grads, *_) = withgradient(loss, model, *args)
        number = float(value[0] if isinstance(value, tuple) else value)
        if not -float("inf") < number < float("inf"):
            advice = "look at this batch, lower the learning rate or clip the gradient (ClipNorm)"
            raise FloatingPointError(f"the loss of batch {i} is {number}; training stopped before using it: {advice}")
        update(state, model, grads)
        total, count = total + number, count + 1
        bar.set_postfix(loss=f"{number:.4g}", refresh=False)
    if count == 0:
        raise ValueError("the data gave no batch (an iterator that has been used up?)")
    return total / count


def throttle(f: Function, seconds: float, *, leading: bool = True, clock: Callable[[], float] = monotonic) -> Function:
    """`f`, called at most once in so many seconds; other calls return `None`.

    Arguments:
        leading: whether the first call goes through at once; else only `seconds` from now.

    >>> times = iter([0.0, 1.0, 5.0])
    >>> tick = throttle(lambda: "ran", 3.0, clock=lambda: next(times))
    >>> tick(), tick(), tick()
    ('ran', None, 'ran')
    """
    last = -float("inf") if leading else clock()

    def throttled(*args: Any, **kwargs: Any) -> Any:
        nonlocal last
        if (now := clock()) - last < seconds:
            return None
        last = now
        return f(*args, **kwargs)

    return throttled


def patience(predicate: Callable[..., bool], wait: int) -> Callable[..., bool]:
    """True once `predicate` has been true `wait` times in a row.

    >>> done = patience(lambda loss: loss < 1, 2)
    >>> [done(loss) for loss in (0.5, 2.0, 0.5, 0.4)]
    [False, False, False, True]
    """
    count = 0

    def patient(*args: Any, **kwargs: Any) -> bool:
        nonlocal count
        count = count + 1 if predicate(*args, **kwargs) else 0
        return count >= wait

    return patient


def early_stopping(
    f: Measure, delay: int, *, distance: Measure = sub, init_score: float = float("inf"), min_dist: float = 0.0
) -> Callable[..., bool]:
    """True once the score `f(...)` hasn't improved on its best by more than `min_dist` for `delay` calls.

    Arguments:
        distance: how much better `now` is than `best`; for a score that grows, `lambda best, now: now - best`
            with `init_score=-inf`.

    >>> stop = early_stopping(lambda loss: loss, 2)
    >>> [stop(loss) for loss in (3.0, 1.0, 1.5, 1.2)]
    [False, False, False, True]
    """
    best = init_score

    def stuck(*args: Any, **kwargs: Any) -> bool:
        nonlocal best
        now = f(*args, **kwargs)
        gain = distance(best, now)
        best = now if gain > 0 else best
        return not gain > min_dist  # nor is NaN better

    return patience(stuck, delay)


def plateau(
    f: Measure, width: int, *, distance: Measure = sub, init_score: float = float("inf"), min_dist: float = 1e-6
) -> Callable[..., bool]:
    """True once the score `f(...)` has moved by no more than `min_dist` from call to call `width` times in a row.

    That is early stopping by the distance in either direction (so NaN is no move).

    >>> flat = plateau(lambda loss: loss, 2, min_dist=0.1)
    >>> [flat(loss) for loss in (1.0, 0.99, 0.98)]
    [False, False, True]
    """
    return early_stopping(f, width, distance=lambda a, b: abs(distance(a, b)), init_score=init_score, min_dist=min_dist)
