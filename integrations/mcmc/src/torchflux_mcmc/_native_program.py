"""The no-U-turn sampler as one compiled program: trees, warm-up and all, around a log density.

The rules are those of `_nuts` and `_adaptation`, so that trajectories are the same to rounding. The parts that don't
depend on the density are in `_native_tree`, `_native_warmup` and `_native_random`.
"""

import hashlib
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path

from ._native_density import Density

__all__ = ["NativeProgram"]

IMPORTS = """
from torchflux_mcmc import _native_tree as tree
from torchflux_mcmc import _native_warmup as warmup
from torchflux_mcmc._native_random import apart, jit, seed, uniform
from torchflux_mcmc._native_tree import G, P, Q, clear, copy
"""

LEAPFROG = '''
@apart
def leapfrog(end, step, matrix{params}):
    """Takes an end one step further; returns its log density."""
    tree.drift(end, step, matrix)
    value, gradient = {density}(end[Q]{params}, 1.0)
    tree.kick(end, step, matrix, gradient)
    return value
'''

TRANSITION = '''
@apart
def transition(
    random, at, value, size, matrix, root, limit, threshold, ends, total, subtree, drawn, kept, info{params}
):
    """Moves `at` (position and gradient) to the next state of its chain, and returns the log density there."""
    left, right = ends[0], ends[1]
    tree.begin(random, at, matrix, root, left)
    for row in range(4):
        copy(right[row], left[row])
    copy(total, left[P])
    first = tree.energy_of(left, value)
    energy, weight, accepted = first, 1.0, 0.0
    depth, steps, going, divergent = 0, 0, True, False
    while going:
        forward = uniform(random) < 0.5
        end, step = (right, size) if forward else (left, -size)
        clear(subtree)
        subtree_weight, drawn_energy, drawn_value = 0.0, first, value
        for leaf in range(1 << depth):
            here = leapfrog(end, step, matrix{params})
            now = tree.energy_of(end, here)
            steps += 1
            share = tree.weight(now - first)
            accepted += min(1.0, share)
            subtree_weight += share
            if uniform(random) * subtree_weight < share:
                copy(drawn[0], end[Q])
                copy(drawn[1], end[G])
                drawn_energy, drawn_value = now, here
            divergent = now - first > threshold
            if tree.turned_inside(leaf, end, subtree, kept) or divergent:
                going = False
                break
        if not going:
            break
        if uniform(random) * weight < subtree_weight:
            copy(at[0], drawn[0])
            copy(at[1], drawn[1])
            energy, value = drawn_energy, drawn_value
        weight += subtree_weight
        for i in range(total.shape[0]):
            total[i] += subtree[i]
        depth += 1
        going = depth < limit and not tree.turns(left, right, total)
    info[0], info[1], info[2], info[3] = accepted / steps, divergent, energy, steps
    return value
'''

REASONABLE = '''
@apart
def reasonable(random, at, value, size, wanted, matrix, root, end{params}):
    """A power of two times `size`, whose first leapfrog step is accepted about as often as wanted; 0: there is none."""
    direction = 0
    for _ in range(60):
        tree.begin(random, at, matrix, root, end)
        before = tree.energy_of(end, value)
        here = leapfrog(end, size, matrix{params})
        towards = 1 if before - tree.energy_of(end, here) > math.log(wanted) else -1
        if direction == -towards:
            return size
        direction = towards
        size *= 2.0**direction
    return 0.0
'''

CHAINS = '''
@jit
def chains(
    which, stop, seeds, at, values, sizes, matrices, roots, windows, wanted, limit, threshold, thin, draws, infos, made,
    halted{params},
):
    """Takes chains through transitions, one for each row of `seeds`; in warm-up (`wanted` > 0) they learn.

    Without seeds it evaluates the density where they are.
    """
    n = at.shape[2]
    room = np.empty((4, n), at.dtype)
    ends, drawn, kept = np.empty((2, 4, n), at.dtype), np.empty((2, n), at.dtype), np.empty((2, limit + 1, n), at.dtype)
    total, subtree, random, info = room[0], room[1], np.empty(4, np.uint64), np.empty(4)
    moments, averaging = np.empty((1 + matrices.shape[1], n), at.dtype), np.empty(5)
    for c in range(which, stop):
        if seeds.shape[0] == 0:
            values[c], gradient = {density}(at[c, 0]{params}, 1.0)
            copy(at[c, 1], gradient)
        value = values[c]
        shared = min(c, matrices.shape[0] - 1)
        matrix, root, size = matrices[shared], roots[shared], sizes[c]
        window, count = 0, 0
        warmup.forget(moments)
        averaging[warmup.TARGET] = wanted
        for k in range(seeds.shape[0]):
            seed(random, seeds[k, c])
            if wanted > 0.0 and k == 0:
                size = reasonable(random, at[c], value, size, wanted, matrix, root, ends[0]{params})
                warmup.restart(averaging, max(size, 1e-300))
            if halted[0] or size == 0.0:
                break
            value = transition(
                random, at[c], value, size, matrix, root, limit, threshold, ends, total, subtree, drawn, kept,
                info{params},
            )
            if wanted > 0.0:
                size = warmup.average(averaging, info[0])
                if window < windows.shape[0] and k >= windows[window, 0]:
                    count += 1
                    warmup.learn(count, at[c, 0], moments, room[2])
                if window < windows.shape[0] and k + 1 == windows[window, 1]:
                    warmup.take(count, moments, matrix, root)
                    window, count = window + 1, 0
                    size = reasonable(random, at[c], value, size, wanted, matrix, root, ends[0]{params})
                    warmup.restart(averaging, max(size, 1e-300))
            elif (k + 1) % thin == 0:
                copy(draws[c, k // thin], at[c, 0])
                copy(infos[c, k // thin], info)
            made[c] += 1
        values[c] = value
        sizes[c] = math.exp(averaging[warmup.AVERAGE]) if averaging[warmup.COUNT] > 0.0 else size
'''


@cache
def _runtime() -> str:
    """The hash of what the program calls, so that its text holds all that it depends on."""
    files = [Path(__file__).with_name(f"_native_{part}.py") for part in ("random", "tree", "warmup")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


class NativeProgram:
    """The sampler around a density: its text, and its machine code."""

    def __init__(self, density: Density) -> None:
        self.density = density

    @property
    def source(self) -> str:
        """The generated text."""
        parts = [part.replace("{density}", self.density.name) for part in (LEAPFROG, TRANSITION, REASONABLE, CHAINS)]
        params = "".join(f", {name}" for name in self.density.params)
        text = "\n".join(parts).replace("{params}", params)
        return f"{self.density.text}\n# the sampler, {_runtime()}\n{IMPORTS}\n{text}"

    @cached_property
    def chains(self) -> Callable[..., None]:
        """The machine code."""
        from torchflux_zygote._native._compile import compiled

        code: Callable[..., None] = compiled(self.source, "chains")
        return code
