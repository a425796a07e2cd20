"""How long the first gradient of a function of fifty lines takes; run as a script in a new process, prints seconds."""

import math
import sys
import time

import numpy as np
import torch

from torchflux_zygote._native._native import native


def interaction(a, b, charge):
    r2 = 0.0
    for k in range(3):
        r2 += (a[k] - b[k]) ** 2
    r = math.sqrt(r2 + 0.01)
    return charge * math.exp(-r) / r


@native
def energy(x, charges, weights, steps):
    """Fifty lines of what programs do: loops in loops, branches, calls, slices, mutation, an early end."""
    n = x.shape[0]
    points = x.copy()
    field = np.zeros(n)
    velocity = np.zeros((n, 3))
    total = 0.0
    largest = 0.0
    for step in range(steps):
        for i in range(n):
            field[i] = 0.0
            for j in range(n):
                if i != j:
                    field[i] += interaction(points[i], points[j], charges[j])
        drag = 0.1 / (1.0 + step)
        for i in range(n):
            pull = field[i] * charges[i]
            if pull > 1.0:
                pull = 1.0 + math.log(pull)
            elif pull < -1.0:
                pull = -1.0 - math.log(-pull)
            for k in range(3):
                velocity[i, k] -= 0.01 * pull * points[i, k]
                velocity[i, k] *= 1.0 - drag
        points += 0.1 * velocity
        speed = 0.0
        for i in range(n):
            for k in range(3):
                speed += velocity[i, k] ** 2
        speed = math.sqrt(speed + 1e-12)
        largest = max(largest, speed)
        if speed > 100.0:
            break
        hidden = np.tanh(weights @ field)
        total += (hidden * hidden).sum()
    k = 0
    distance = 0.0
    while k < n - 1:
        gap = 0.0
        for axis in range(3):
            gap += (points[k + 1, axis] - points[k, axis]) ** 2
        distance += math.sqrt(gap + 1e-9)
        k += 1
    if distance > 10.0:
        total += math.log(distance)
    else:
        total += 0.1 * distance
    ends = points[0] + points[n - 1]
    total += 0.5 * (ends * ends).sum()
    return total + 0.1 * largest


def main() -> None:
    generator = np.random.default_rng(0)
    args = generator.normal(size=(5, 3)), generator.uniform(0.5, 1.0, 5), generator.normal(size=(4, 5)), 10
    torch.set_num_threads(1)
    start = time.perf_counter()
    _, gradients = energy.withgradient(*args)
    seconds = time.perf_counter() - start
    step = 1e-6 * np.eye(5)[2]
    slope = (energy(args[0], args[1] + step, *args[2:]) - energy(args[0], args[1] - step, *args[2:])) / 2e-6
    if not math.isclose(slope, gradients[1][2], rel_tol=1e-5):
        sys.exit(f"wrong gradient: {gradients[1][2]} and by differences {slope}")
    print(seconds)


if __name__ == "__main__":
    main()
