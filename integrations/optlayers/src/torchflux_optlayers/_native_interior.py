"""The method of `_interior` for one program, in compiled code."""

import math

from torchflux_optlayers._constants import (
    CENTRED,
    CERTAIN,
    CORRECTIONS,
    DELTA,
    EXACT,
    FLOOR,
    FURTHER,
    NEAR,
    NEXT_GUESS,
    SECOND_GUESS,
    SIGN,
    STALLED,
    STEP,
    WEAK,
)
from torchflux_optlayers._native_algebra import (
    add,
    back,
    dot,
    factorise,
    jit,
    largest,
    pull,
    refine,
    row_weights,
    times,
)

SOLVED, INFEASIBLE, UNBOUNDED, MAX_ITERATIONS, GOING = 0, 1, 2, 5, -1


@jit
def polish(Q, p, C, d, equal, active, low, x, force, vn, vk):  # type: ignore[no-untyped-def]
    """Moves (x, force) to the solution for these active rows. If it isn't exact, corrects them.

    Returns:
        Whether it is exact, and how many rows were corrected.
    """
    n, k = C.shape[1], C.shape[0]
    row_weights(active, vk[0])
    factorise(Q, C, vk[0], low)
    for i in range(n):
        vn[3, i] = -p[i]
    error = refine(low, Q, C, active, vn[3], d, x, force, vn, vk)
    strong, wrong = 1.0 + FLOOR * largest(force), 0
    for i in range(k):
        if active[i]:
            if not equal[i] and force[i] < -SIGN * strong:
                active[i] = False
                wrong += 1
        elif d[i] - dot(C[i], x) < -SIGN * (1.0 + abs(d[i])):
            active[i] = True
            wrong += 1
    return error <= EXACT and wrong == 0, wrong


@jit
def correct(Q, p, C, d, equal, low, x0, z0, x, force, active, vn, vk):  # type: ignore[no-untyped-def]
    """Corrects a guess while fewer and fewer rows are wrong; returns whether it is right, and the number of tries."""
    least = C.shape[0] + 1
    for tries in range(1, CORRECTIONS + 1):
        x[:] = x0
        force[:] = z0
        right, wrong = polish(Q, p, C, d, equal, active, low, x, force, vn, vk)
        if right:
            settle(Q, C, equal, low, force, active, vk)
            return True, tries
        if not wrong < least:
            break
        least = wrong
    return False, tries


@jit
def settle(Q, C, equal, low, force, active, vk):  # type: ignore[no-untyped-def]
    """Counts rows that hold without a force among the inactive ones."""
    strong, changed = 1.0 + FLOOR * largest(force), False
    for i in range(C.shape[0]):
        if not equal[i]:
            force[i] = max(force[i], 0.0)
            if active[i] and force[i] <= WEAK * strong:
                active[i] = False
                changed = True
    if changed:
        row_weights(active, vk[0])
        factorise(Q, C, vk[0], low)


@jit
def start(Q, p, C, d, equal, low, x, z, s, vk):  # type: ignore[no-untyped-def]
    """The least squares solution, with slacks and forces shifted until they are positive."""
    k = C.shape[0]
    for i in range(k):
        vk[0, i] = 1.0 / DELTA if equal[i] else 1.0
        vk[1, i] = vk[0, i] * d[i]
    factorise(Q, C, vk[0], low)
    pull(C, vk[1], x)
    add(x, -1.0, p)
    back(low, x)
    least, most = math.inf, -math.inf
    for i in range(k):
        z[i] = dot(C[i], x) - d[i]
        if not equal[i]:
            least, most = min(least, z[i]), max(most, z[i])
    for i in range(k):
        ahead = z[i]
        if equal[i]:
            z[i], s[i] = ahead / DELTA, 1.0
        else:
            z[i] = ahead if least > 0.0 else ahead - least + 1.0
            s[i] = -ahead if most < 0.0 else most - ahead + 1.0


@jit
def shift(C, d, equal, x, z, s):  # type: ignore[no-untyped-def]
    """Moves a warm start off the boundary: s z is the same in all rows, and s - z is what it was."""
    for i in range(C.shape[0]):
        s[i] = 1.0
        if not equal[i]:
            v = d[i] - dot(C[i], x) - z[i]
            root = math.sqrt(v * v + 4.0 * NEAR)
            s[i] = (v + root) / 2.0 if v > 0.0 else 2.0 * NEAR / (root - v)
            z[i] = NEAR / s[i]


@jit
def look(Q, p, C, d, equal, x, z, s, dual, primal, vn, vk):  # type: ignore[no-untyped-def]
    """Writes the residuals; returns the merit, and what the point proves: no solution, or nothing."""
    n, k = C.shape[1], C.shape[0]
    curve, force_pull, ahead = vn[0], vn[1], vk[0]
    times(Q, x, curve)
    pull(C, z, force_pull)
    times(C, x, ahead)
    for i in range(n):
        dual[i] = curve[i] + p[i] + force_pull[i]
    missing, gap, leaves = 0.0, 0.0, 0.0
    for i in range(k):
        primal[i] = ahead[i] - d[i] + (0.0 if equal[i] else s[i])
        missing = max(missing, abs(primal[i]) / (1.0 + abs(d[i])))
        gap += 0.0 if equal[i] else s[i] * z[i]
        leaves = max(leaves, abs(ahead[i]) if equal[i] else ahead[i])
    gap /= 1.0 + abs(dot(curve, x) / 2.0 + dot(p, x))
    size = 1.0 + max(largest(curve), largest(p), largest(force_pull))
    merit = max(largest(dual) / size, missing, gap)
    below, down = -dot(d, z), -dot(p, x)
    if below > 0.0 and largest(force_pull) <= CERTAIN * below:
        return merit, INFEASIBLE
    if down > 0.0 and max(largest(curve), leaves) <= CERTAIN * down:
        return merit, UNBOUNDED
    return merit, GOING


@jit
def direction(low, C, equal, weight, z, s, dual, primal, product, dx, dz, ds):  # type: ignore[no-untyped-def]
    """Writes Newton's direction, for which s dz + z ds = -product."""
    k = C.shape[0]
    for i in range(k):
        dz[i] = primal[i] / DELTA if equal[i] else (z[i] * primal[i] - product[i]) / s[i]
    pull(C, dz, dx)
    for i in range(dx.shape[0]):
        dx[i] = -dual[i] - dx[i]
    back(low, dx)
    for i in range(k):
        along = dot(C[i], dx)
        dz[i] += weight[i] * along
        ds[i] = 0.0 if equal[i] else -primal[i] - along


@jit
def reach(equal, z, s, dz, ds, share):  # type: ignore[no-untyped-def]
    """The share of the way along which s and z stay positive, at most 1."""
    far = 1.0
    for i in range(z.shape[0]):
        if not equal[i]:
            if ds[i] < 0.0:
                far = min(far, -share * s[i] / ds[i])
            if dz[i] < 0.0:
                far = min(far, -share * z[i] / dz[i])
    return far


@jit
def step(Q, C, equal, low, x, z, s, dual, primal, vn, vk):  # type: ignore[no-untyped-def]
    """Goes one predictor and one corrector further; returns how far x moved in relation to it, or -1 for not at all."""
    k, rows, mean, left = C.shape[0], 0, 0.0, 0.0
    weight, product, dz, ds, dx = vk[0], vk[1], vk[2], vk[3], vn[0]
    for i in range(k):
        weight[i] = 1.0 / DELTA if equal[i] else z[i] / s[i]
        product[i] = s[i] * z[i]
        if not equal[i]:
            rows += 1
            mean += product[i]
    factorise(Q, C, weight, low)
    direction(low, C, equal, weight, z, s, dual, primal, product, dx, dz, ds)
    far = reach(equal, z, s, dz, ds, 1.0)
    for i in range(k):
        if not equal[i]:
            left += (s[i] + far * ds[i]) * (z[i] + far * dz[i])
    centre = (left / mean) ** 3 * mean / rows if mean > 0.0 else 0.0
    for i in range(k):
        product[i] += ds[i] * dz[i] - centre
    direction(low, C, equal, weight, z, s, dual, primal, product, dx, dz, ds)
    far = reach(equal, z, s, dz, ds, STEP)
    later = 0.0
    for i in range(k):
        if not equal[i]:
            later += (s[i] + far * ds[i]) * (z[i] + far * dz[i])
    if later > mean:
        for i in range(k):
            product[i] = s[i] * z[i] - CENTRED * mean / rows
        direction(low, C, equal, weight, z, s, dual, primal, product, dx, dz, ds)
        far = reach(equal, z, s, dz, ds, STEP)
    if not (far > STALLED and math.isfinite(largest(dx))):
        return -1.0
    add(x, far, dx)
    add(z, far, dz)
    add(s, far, ds)
    return far * largest(dx) / (1.0 + largest(x))


@jit
def follow(Q, p, C, d, equal, tol, limit, x, force, active, low, vn, vk):  # type: ignore[no-untyped-def]
    """Goes from the start that `search` has written to an end."""
    k, count = C.shape[0], 1
    at, dual, z, s, primal = vn[4], vn[5], vk[4], vk[5], vk[6]
    best, best_z, best_s = vn[6], vk[7], vk[8]
    guessed_at, close_at, moved, found = math.inf, math.inf, math.inf, MAX_ITERATIONS
    for _ in range(limit):
        merit, ending = look(Q, p, C, d, equal, at, z, s, dual, primal, vn, vk)
        if merit < NEXT_GUESS * guessed_at or math.isinf(guessed_at) or merit <= tol:
            guessed_at = min(merit, SECOND_GUESS / NEXT_GUESS)
            for i in range(k):
                active[i] = equal[i] or z[i] > s[i]
            right, tries = correct(Q, p, C, d, equal, low, at, z, x, force, active, vn, vk)
            count += tries
            if right:
                return SOLVED, count
        falls = merit < FURTHER * close_at
        if merit <= tol or math.isinf(close_at):
            best[:], best_z[:], best_s[:] = at, z, s
        if merit <= tol:
            close_at = min(merit, close_at)
        if close_at <= tol:
            ending = GOING if falls or moved > math.sqrt(tol) else SOLVED
        if ending != GOING:
            found = ending
            break
        count += 1
        now = step(Q, C, equal, low, at, z, s, dual, primal, vn, vk)
        if now < 0.0:
            break
        moved = now
    if found == MAX_ITERATIONS and close_at <= tol and moved <= math.sqrt(tol):
        found = SOLVED
    x[:] = best
    force[:] = best_z
    for i in range(k):
        active[i] = equal[i] or best_z[i] > best_s[i]
    row_weights(active, vk[0])
    factorise(Q, C, vk[0], low)
    return found, count


@jit
def search(Q, p, C, d, equal, tol, limit, warm, x, force, active, low, vn, vk):  # type: ignore[no-untyped-def]
    """Solves a program that is equilibrated.

    Arguments:
        warm: whether x and `force` are the start.
        x, force, active, low: where the solution, its active rows and the factor of the reduced system are written.
        vn, vk: room to work, shapes (8, n) and (9, k).

    Returns:
        The status, and how many matrices were factorised.
    """
    k, count = C.shape[0], 0
    at, z, s = vn[4], vk[4], vk[5]
    at[:] = x
    z[:] = force
    if warm:
        for i in range(k):
            active[i] = equal[i] or z[i] > 0.0
        right, count = correct(Q, p, C, d, equal, low, at, z, x, force, active, vn, vk)
        if right:
            return SOLVED, count
        shift(C, d, equal, at, z, s)
        found, tries = follow(Q, p, C, d, equal, tol, limit, x, force, active, low, vn, vk)
        count += tries
        if found != MAX_ITERATIONS:
            return found, count
    start(Q, p, C, d, equal, low, at, z, s, vk)  # for what a warm start has led astray too
    found, tries = follow(Q, p, C, d, equal, tol, limit, x, force, active, low, vn, vk)
    return found, count + tries
