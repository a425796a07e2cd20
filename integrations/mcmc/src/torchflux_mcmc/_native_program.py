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
from torchflux_mcmc._native_memory import borrowed
from torchflux_mcmc._native_random import apart, jit, seed, uniform
from torchflux_mcmc._native_tree import G, P, Q, clear, copy
"""

LEAPFROG = '''
@apart
def leapfrog(end, step, matrix{params}):
    """Takes an end one step further; returns its log density."""
    tree.drift({n}, end, step, matrix)
    value, gradient = {density}(end[Q]{params}, 1.0)
    tree.kick({n}, end, step, matrix, gradient)
    return value
'''

TRANSITION = '''
@apart
def transition(
    random, at, value, size, matrix, root, limit, threshold, ends, total, subtree, drawn, kept, info{params}
):
    """Moves `at` (position and gradient) to the next state of its chain, and returns the log density there."""
    left, right = ends[0], ends[1]
    tree.begin({n}, random, at, matrix, root, left)
    for row in range(4):
        copy({n}, right[row], left[row])
    copy({n}, total, left[P])
    first = tree.energy_of({n}, left, value)
    energy, weight, accepted = first, 1.0, 0.0
    depth, steps, going, divergent = 0, 0, True, False
    while going:
        forward = uniform(random) < 0.5
        end, step = (right, size) if forward else (left, -size)
        clear({n}, subtree)
        subtree_weight, drawn_energy, drawn_value = 0.0, first, value
        for leaf in range(1 << depth):
            here = leapfrog(end, step, matrix{params})
            now = tree.energy_of({n}, end, here)
            steps += 1
            share = tree.weight(now - first)
            accepted += min(1.0, share)
            subtree_weight += share
            if uniform(random) * subtree_weight < share:
                copy({n}, drawn[0], end[Q])
                copy({n}, drawn[1], end[G])
                drawn_energy, drawn_value = now, here
            divergent = now - first > threshold
            if tree.turned_inside({n}, leaf, end, subtree, kept) or divergent:
                going = False
                break
        if not going:
            break
        if uniform(random) * weight < subtree_weight:
            copy({n}, at[0], drawn[0])
            copy({n}, at[1], drawn[1])
            energy, value = drawn_energy, drawn_value
        weight += subtree_weight
        for i in range({n}):
            total[i] += subtree[i]
        depth += 1
        going = depth < limit and not tree.turns({n}, left, right, total)
    info[0], info[1], info[2], info[3] = accepted / steps, divergent, energy, steps
    return value
'''

REASONABLE = '''
@apart
def reasonable(random, at, value, size, wanted, matrix, root, end{params}):
    """A power of two times `size`, whose first leapfrog step is accepted about as often as wanted; 0: there is none."""
    direction = 0
    for _ in range(60):
        tree.begin({n}, random, at, matrix, root, end)
        before = tree.energy_of({n}, end, value)
        here = leapfrog(end, size, matrix{params})
        towards = 1 if before - tree.energy_of({n}, end, here) > math.log(wanted) else -1
        if direction == -towards:
            return size
        direction = towards
        size *= 2.0**direction
    return 0.0
'''

CHAINS = '''
@jit
def chains(
    which, stop, start, end, seeds, at, values, sizes, matrices, roots, windows, moments, states, limit, threshold,
    thin, draws, infos, random, ends, drawn, kept, sums, info{params},
):
    """Takes chains through their transitions from `start` to `end`; in warm-up they learn.

    Without transitions it evaluates the density where they are. From `random` on it is room for one chain at a time.
    """
{borrow}
    total, subtree, before = sums[0], sums[1], sums[2]
    for c in range(which, stop):
        if end == 0:
            values[c], gradient = {density}(at[c, 0]{params}, 1.0)
            copy({n}, at[c, 1], gradient)
        here, value, size, shared = at[c], values[c], sizes[c], min(c, matrices.shape[0] - 1)
        matrix, root, state = matrices[shared], roots[shared], states[c]
        wanted = state[warmup.TARGET]
        for k in range(start, end):
            seed(random, seeds[k, c])
            if wanted > 0.0 and k == 0:
                size = reasonable(random, here, value, size, wanted, matrix, root, ends[0]{params})
                warmup.restart(state, size)
            if size == 0.0:
                break
            value = transition(
                random, here, value, size, matrix, root, limit, threshold, ends, total, subtree, drawn, kept,
                info{params},
            )
            if wanted > 0.0:
                size = warmup.average(state, info[0])
                if warmup.learn(k, windows, state, here[0], moments[c], before, matrix, root):
                    size = reasonable(random, here, value, size, wanted, matrix, root, ends[0]{params})
                    warmup.restart(state, size)
            elif (k + 1) % thin == 0:
                copy({n}, draws[c, k // thin], here[0])
                copy(4, infos[c, k // thin], info)
        values[c], sizes[c] = value, size
'''

BORROWED = [
    "seeds", "at", "values", "sizes", "matrices", "roots", "windows", "moments", "states", "draws", "infos", "random",
    "ends", "drawn", "kept", "sums", "info",
]  # fmt: skip
"""The arrays that the caller of `chains` holds until it returns."""


@cache
def _runtime() -> str:
    """The hash of what the program calls, so that its text holds all that it depends on."""
    files = [Path(__file__).with_name(f"_native_{part}.py") for part in ("memory", "random", "tree", "warmup")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


class NativeProgram:
    """The sampler around a density of positions of `n` numbers: its text, and its machine code."""

    def __init__(self, density: Density, n: int) -> None:
        self.density, self.n = density, n

    @property
    def source(self) -> str:
        """The generated text."""
        density = self.density
        arrays = [*BORROWED, *density.arrays]
        fields = {
            "density": density.name,
            "params": "".join(f", {name}" for name in density.params),
            "n": str(self.n),
            "borrow": "\n".join(f"    {name} = borrowed({name})" for name in arrays),
        }
        text = "\n".join((LEAPFROG, TRANSITION, REASONABLE, CHAINS))
        for name, filling in fields.items():
            text = text.replace(f"{{{name}}}", filling)
        return f"{density.text}\n# the sampler, {_runtime()}\n{IMPORTS}\n{text}"

    @cached_property
    def chains(self) -> Callable[..., None]:
        """The machine code."""
        from torchflux_zygote._native._compile import compiled

        code: Callable[..., None] = compiled(self.source, "chains")
        return code
