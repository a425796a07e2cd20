"""The march as a native program: steps that adapt, and the states at the times that were asked for.

The rules are those of `_march` and `_controller`, number by number, so that the steps are the same to rounding. What is
finite is found out by comparison: `math.isfinite(x)` is compiled as `x - x == x - x`, which regrouped sums make true.
"""

from ._native_slope import SlopeCode
from ._native_text import dense_weights, indented, weighted
from ._tableau import Tableau

__all__ = ["REFUSED", "march_text", "stage_lines"]

REFUSED = -2
"""The status of samples that were not begun, as a state or the times can't be used."""

MARCH = '''
def march(start, stop, y0, ts, {params}options, max_steps, keep, ys, ends, last, counts):
    """Solves the samples from `start` to `stop`; the tape has a row for each step that was accepted."""
    rtol, atol = T(options[0]), T(options[1])
    after, before, earlier = options[2], options[3], options[4]
    safety, least, most, dtmin, dtmax, dt0 = options[5], options[6], options[7], options[8], options[9], options[10]
    n, final = y0.shape[1], ts.shape[0] - 1
    tape = np.empty((64 if keep else 0, {width}), T)
    rows = 0
    ordered = abs(ts[0]) <= LARGEST and abs(ts[final]) <= LARGEST
    for j in range(final):
        ordered = ordered and ts[j] < ts[j + 1]
{room}
    for s in range(start, stop):
        sound = ordered
        y@ = y0[s, #]
        ys[0, s, #] = y@
        sound = sound and abs(y@) <= LARGEST
        t, end = float(ts[0]), float(ts[final])
        e1, e2 = 1.0, 1.0
        steps, rejected, status, j = 0, 0, RUNNING if sound else REFUSED, 1
        counts[s, 3] = rows
        dt = dt0
        when, h = T(t), T(0.0)
{unpack}
{begin}
{first}
        while status == RUNNING:
            left = end - t
            final_step = dt >= left * (1.0 - 1e-9)
            if final_step:
                dt = left
            arrival = end if final_step else t + dt
            when, h = T(t), T(dt)
{stages}
{control}
            steps += 1
            if accepted and final_step:
                status = SUCCESS
            elif steps >= max_steps:
                status = MAX_STEPS
            if not accepted:
                defined, finite = True, True
                defined = defined and abs(k0@) <= LARGEST
                finite = finite and abs(u@) <= LARGEST
                if not defined:
                    status = UNDEFINED
                elif stalled:
                    status = STALLED if finite else NOT_FINITE
            if accepted:
                if keep:
                    if rows == tape.shape[0]:
                        tape = rt.grow(tape, rows + 1)
                    tape[rows, 0], tape[rows, 1], tape[rows, 2] = when, h, j
                    tape[rows, 3 + #] = y@
{keep}
                    rows += 1
                while j < final and ts[j] <= arrival:
{save}
                    j += 1
                t, e1, e2 = arrival, error, e1
                y@ = u@
                k0@ = k{last}@
            else:
                rejected += 1
            dt = following
        counts[s, 4] = j
        while j < final:
            ys[j, s, #] = np.nan
            j += 1
        ys[final, s, #] = y@ if status == SUCCESS else np.nan
        ends[s, #] = y@
        last[s] = t
        counts[s, 0], counts[s, 1], counts[s, 2] = status, steps, rejected
    return tape
'''

FIRST = """
if not dt0 > 0.0:
    d0, d1, d2 = T(0.0), T(0.0), T(0.0)
    d0 += (y@ / (atol + rtol * abs(y@))) ** 2
    d1 += (k0@ / (atol + rtol * abs(y@))) ** 2
    d0, d1 = math.sqrt(d0 / n), math.sqrt(d1 / n)
    dt = 1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / max(d1, 1e-300)
    h = T(dt)
    u@ = y@ + h * k0@
{slope}
    d2 += ((k1@ - k0@) / (atol + rtol * abs(y@))) ** 2
    d2 = math.sqrt(d2 / n) / dt
    steepest = max(d1, d2)
    longer = max(dt * 1e-3, 1e-6) if steepest <= 1e-15 else (0.01 / steepest) ** (1.0 / {higher})
    dt = min(100.0 * dt, longer, dtmax) if abs(d0 + d1 + d2) <= LARGEST else 1e-6
"""

ADAPT = """
total = T(0.0)
total += (h * ({error}) / (atol + rtol * max(abs(y@), abs(u@)))) ** 2
error = math.sqrt(total / n)
accepted = error <= 1.0
factor = safety * max(error, 1e-10) ** after
if before != 0.0 or earlier != 0.0:
    factor *= max(e1, 1e-10) ** before * max(e2, 1e-10) ** earlier
if not factor >= least or error != error:
    factor = least
following = dt * min(factor, most)
if not accepted:
    following = min(following, dt)
following = min(following, dtmax)
stalled = not accepted and following < max(abs(t) * SHORTEST, left * NOTHING, dtmin, TINY)
"""

FIXED = """
accepted = True
accepted = accepted and abs(u@) <= LARGEST
stalled, error, following = not accepted, 1.0, dt0
"""

SAVE = """
x = (ts[j] - when) / h
{weights}
ys[j, s, #] = y@ + {dense}
"""


def tape_width(tableau: Tableau, code: SlopeCode) -> str:
    """How many numbers a step leaves: its time, length and next time to be saved, its state, and its slopes."""
    n = "n" if code.layout.n is None else str(code.layout.n)
    return f"3 + {n} * {1 + tableau.stages}" if code.keeps_slopes else f"3 + {n}"


def stage_lines(tableau: Tableau, code: SlopeCode, number: int) -> list[str]:
    """A stage's state, and its slope."""
    when = f"when + c_{number} * h" if tableau.c[number] else "when"
    return [f"u@ = y@ + h * ({weighted(tableau.a[number], f'a_{number}')})", *code.value(when, "u", f"k{number}")]


def saved_text(tableau: Tableau) -> str:
    """The state inside of a step, as dense output has it."""
    used = [i for i in range(tableau.stages) if tableau.dense[i].any()]
    return SAVE.format(
        weights="\n".join(dense_weights(tableau)), dense=" + ".join(f"b_{i} * k{i}@" for i in used)
    ).strip()


def march_text(tableau: Tableau, code: SlopeCode, adaptive: bool) -> str:
    """The program `march`, for steps that adapt or fixed ones."""
    last = tableau.stages - 1
    n = "n" if code.layout.n is None else str(code.layout.n)
    error = "T(0.0)" if tableau.error is None else weighted(tableau.error, "e")
    first = FIRST.format(slope=indented(code.value("when + h", "u", "k1"), 1), higher=f"{tableau.order + 1}.0")
    kept = [f"tape[rows, 3 + {n} * {s + 1} + #] = k{s}@" for s in range(tableau.stages)] if code.keeps_slopes else []
    stages = [line for s in range(1, tableau.stages) for line in stage_lines(tableau, code, s)]
    slopes = [f"k{s}" for s in range(tableau.stages)]
    return code.layout.text(
        MARCH.format(
            params="".join(f"{name}, " for name in code.params),
            width=tape_width(tableau, code),
            room=indented([*code.layout.room("y", "u", *slopes), *code.room], 1),
            unpack=indented(code.unpack, 2),
            begin=indented(code.value("when", "y", "k0"), 2),
            first=indented([first.strip()] if adaptive else [], 2),
            stages=indented(stages, 3),
            control=indented([(ADAPT.format(error=error) if adaptive else FIXED).strip()], 3),
            keep=indented(kept, 5),
            save=indented([saved_text(tableau)], 5),
            last=last,
        )
    )
