"""The picture of the experiment: measurements and network, the diffusivity that was found, the errors in the course."""

import matplotlib.pyplot as plt


def draw(compare, measured, ours, best, looks, path):
    """`compare` has x, t, u, field; `measured` x (m,), t (k,), values (m, k); `ours` u and D; `best` knots, deviations.

    `looks` are rows of iterations and the errors of u, D and r.
    """
    x, t, u, true = (a.numpy() for a in (compare.x, compare.t, compare.u, compare.field))
    places, moments, seen = (a.numpy() for a in measured)
    network, found = (a.numpy() for a in ours)
    figure, (moment, diffusivity, course) = plt.subplots(1, 3, figsize=(14, 3.8), layout="constrained")
    for time in (0.1, 0.4, 1.0):
        k, m = abs(t - time).argmin(), abs(moments - time).argmin()
        (line,) = moment.plot(x, network[:, k], lw=1.3, label=f"t = {time:g}")
        moment.plot(x, u[:, k], color=line.get_color(), lw=5, alpha=0.25)
        moment.plot(places, seen[:, m], ".", color=line.get_color(), ms=6)
    moment.set(title="u: measured (dots), solution (wide), network", xlabel="x", ylabel="u")
    moment.legend(fontsize=8, frameon=False)
    knots, deviations = (a.numpy() for a in best)
    truth = true[:: (len(x) - 1) // (len(knots) - 1)]
    diffusivity.fill_between(knots, truth - deviations, truth + deviations, color="#1b9e77", alpha=0.2, lw=0)
    diffusivity.plot(x, true, color="#1b9e77", lw=5, alpha=0.35, label="true")
    diffusivity.plot(x, found, color="black", lw=1.3, label="found")
    diffusivity.set(title="D; band: the least deviation at 11 knots", xlabel="x", ylabel="D", ylim=(0, None))
    diffusivity.legend(fontsize=8, frameon=False)
    steps, *errors = zip(*looks, strict=True)
    for error, name in zip(errors, ("u", "D", "r"), strict=True):
        course.semilogy(steps, error, lw=1.4, label=name)
    course.set(title="relative errors", xlabel="iterations")
    course.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=100)
    plt.close(figure)
