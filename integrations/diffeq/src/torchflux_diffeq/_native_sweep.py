"""The gradient of a march as a native program: back through the steps that it made, whose lengths are constants.

A step's slopes are `k`, its stages' states `u`. Backwards, `v` is the cotangent of the state at the step's end and `w`
that of the slope there, which is the next step's first; `g` are those of the slopes, `q` of a stage's state, and `z` of
the state at the beginning.

Source: Hairer, Lubich & Wanner (2006), Geometric Numerical Integration, VI.4; Griewank & Walther (2008), chapter 3.
"""

from ._native_march import stage_lines
from ._native_slope import SlopeCode
from ._native_text import dense_weights, indented
from ._tableau import Tableau

__all__ = ["BLOCK", "sweep_text"]

BLOCK = 16
"""The samples whose gradients of what they share are added up one after the other, however many threads there are."""

SWEEP = '''
def sweep(start, stop, y0, ts, {params}tape, counts, ys_bar, ends_bar, y0_bar{bars}):
    """The cotangents of the first states and of the parameters, for the blocks of samples from `start` to `stop`."""
    n, final = y0.shape[1], ts.shape[0] - 1
{room}
    for block in range(start, stop):
{zero}
        for s in range(block * {block}, min(block * {block} + {block}, y0.shape[0])):
            first, made, j = counts[s, 3], counts[s, 1] - counts[s, 2], counts[s, 4]
            v@ = ends_bar[s, #]
            w@ = T(0.0)
            if counts[s, 0] == SUCCESS:
                v@ += ys_bar[final, s, #]
{unpack}
            for row in range(first + made - 1, first - 1, -1):
                when, h = tape[row, 0], tape[row, 1]
                y@ = tape[row, 3 + #]
{slopes}
{zeros}
                while j > tape[row, 2]:
                    j -= 1
                    x = (ts[j] - when) / h
{weights}
{saved}
{stages}
                v@ = z@
                w@ = g0@
            if made:
                when = T(ts[0])
                y@ = y0[s, #]
{begin}
                v@ += q@
            y0_bar[s, #] = v@ + ys_bar[0, s, #]
{own}
{store}
'''


def sweep_text(tableau: Tableau, code: SlopeCode) -> str:
    """The program `sweep`."""
    last = tableau.stages - 1
    n = "n" if code.layout.n is None else str(code.layout.n)
    again = [line for s in range(1, last + 1) for line in stage_lines(tableau, code, s)]
    kept = [f"k{s}@ = tape[row, 3 + {n} * {s + 1} + #]" for s in range(tableau.stages)]
    used = [i for i in range(tableau.stages) if tableau.dense[i].any()]
    names = [f"{name}{s}" for name in "kg" for s in range(tableau.stages)]
    return code.layout.text(
        SWEEP.format(
            params="".join(f"{name}, " for name in code.params),
            bars="".join(f", {name}" for name in code.bars),
            room=indented([*code.layout.room("y", "u", "v", "w", "q", "z", *names), *code.room], 1),
            zero=indented(code.zero_shared, 2),
            block=BLOCK,
            unpack=indented([*code.unpack, *code.zero_own], 3),
            slopes=indented(kept if code.keeps_slopes else [*code.value("when", "y", "k0"), *again], 4),
            zeros=indented([*(f"g{s}@ = T(0.0)" for s in range(last)), f"g{last}@ = w@", "z@ = T(0.0)"], 4),
            weights=indented(dense_weights(tableau), 5),
            saved=indented(["z@ += ys_bar[j, s, #]", *(f"g{i}@ += b_{i} * ys_bar[j, s, #]" for i in used)], 5),
            stages=indented([line for s in range(last, 0, -1) for line in _stage_back(tableau, code, s)], 4),
            begin=indented(code.pull("when", "y", "w", "q"), 4),
            own=indented(code.store_own, 3),
            store=indented(code.store_shared, 2),
        )
    )


def _stage_back(tableau: Tableau, code: SlopeCode, number: int) -> list[str]:
    """From the cotangent of a stage's slope to those of what its state is made of."""
    state, *_ = stage_lines(tableau, code, number)
    when = f"when + c_{number} * h" if tableau.c[number] else "when"
    end = ["q@ += v@"] if number == tableau.stages - 1 else []
    slopes = [f"g{j}@ += h * a_{number}_{j} * q@" for j in range(number) if tableau.a[number, j]]
    return [state, *code.pull(when, "u", f"g{number}", "q"), *end, "z@ += q@", *slopes]
