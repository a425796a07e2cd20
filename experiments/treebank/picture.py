"""The picture of the experiment: a sentence as the network judges it, and who is right how often."""

import matplotlib.pyplot as plt
from matplotlib.colors import Normalize

COLOURS = {"recursive": "#1b9e77", "memory": "#7570b3", "bag": "#d95f02"}


def draw(tree, given, table, highest, path):
    """A tree and the labels that its phrases were given; accuracies by reader, of tests by name; of what was read."""
    figure = plt.figure(figsize=(15, 5.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.7, 1))
    draw_tree(left.subplots(), tree, given)
    above, below = right.subplots(2, 1, height_ratios=(1.5, 1))
    draw_heights(above, table, highest)
    draw_rare(below, {name: {k: x for k, x in row.items() if " high" not in k} for name, row in table.items()})
    figure.savefig(path, dpi=100)
    plt.close(figure)


def draw_tree(ax, tree, given):
    labels, words, norm, colours = iter(given), iter(range(len(tree.words))), Normalize(-3, 3), plt.get_cmap("RdYlGn")

    def place(phrase):
        """Draws what is below first, as the labels come; gives where the phrase is."""
        below = [place(part) for part in phrase.parts]
        x = sum(x for x, _ in below) / 2 if below else next(words)
        label = next(labels)
        for point in below:
            ax.plot((x, point[0]), (phrase.height, point[1]), color="#bbbbbb", lw=1, zorder=0)
        edge = {"edgecolors": "#222222", "linewidths": 2.2} if label != phrase.label else {"edgecolors": "#888888"}
        ax.scatter([x], [phrase.height], s=260, color=[colours(norm(label))], **edge)
        ax.text(x, phrase.height, f"{label:+d}" if label else "0", ha="center", va="center_baseline", fontsize=8)
        if phrase.word:
            ax.text(x, -0.4, phrase.word, ha="center", va="top", fontsize=9, rotation=60)
        return x, phrase.height

    place(tree)
    ax.set(ylim=(-2.3, tree.height + 0.5))
    ax.set_axis_off()
    wrong = sum(label != phrase.label for label, phrase in zip(given, tree.phrases, strict=True))
    title = f"a new sentence {tree.height} high as the network judges it; black rings: wrong, {wrong} of {len(given)}"
    ax.set_title(title, fontsize=10, loc="left")


def draw_heights(ax, table, highest):
    for name, row in table.items():
        points = [(int(test.split()[0]), right) for test, right in row.items() if " high" in test]
        if name in COLOURS:
            ax.plot(*zip(*points, strict=True), "o-", ms=4, color=COLOURS[name], label=name)
        else:
            ax.plot(*zip(*points, strict=True), color="k", lw=0.9, ls=":", label=name)
    ax.axvspan(3.7, highest + 0.3, color="#eeeeee", zorder=0)
    ax.text(3.75, 0.03, "as high as in the training", fontsize=8)
    ax.set(xlabel="height of the tree", ylabel="sentences judged right", ylim=(0, 1.02), xlim=(3.7, None))
    ax.legend(fontsize=8, frameon=False, loc="center right", bbox_to_anchor=(1, 0.52))


def draw_rare(ax, table):
    readers = [name for name in table if name in COLOURS]
    for j, name in enumerate(readers):
        places = [k + 0.27 * (j - 1) for k in range(len(table[name]))]
        ax.bar(places, table[name].values(), 0.25, color=COLOURS[name])
    tests = [f"“{test}”" for test in table[readers[0]]]
    ax.set_xticks(range(len(tests)), tests, fontsize=9)
    ax.set(ylabel="judged right", ylim=(0, 1.02))
    ax.set_title("put together as no sentence of the training, 5 high", fontsize=10, loc="left")
