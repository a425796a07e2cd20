"""The picture of the experiment: photographs with what the model says of them, and how many are right."""

import numpy as np
import PIL.Image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def draw(said, named_by, path):
    """`said`: predictions by photograph; `named_by`: which photographs are named rightly, by preprocessing."""
    right = next(iter(named_by.values()))
    figure = Figure(figsize=(13, 6.4), dpi=85, layout="constrained")
    photographs, mistakes = figure.subfigures(1, 2, width_ratios=(3.4, 1))
    grid = photographs.subplots(4, 5, height_ratios=(2.4, 1, 2.4, 1))
    for k, (name, prediction) in enumerate(said.items()):
        above, below = grid[2 * (k // 5) : 2 * (k // 5) + 2, k % 5]
        above.imshow(prediction.image.to("RGB").pixels)
        above.set_axis_off()
        draw_bars(below, prediction, {True: "#1b9e77", False: "#d95f02", None: "#888888"}[right.get(name)])
    photographs.suptitle("green: rightly named; orange: wrongly; gray: ImageNet has no class for it", fontsize=10)
    draw_mistakes(mistakes.subplots(), named_by)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    PIL.Image.fromarray(pixels).quantize(128).save(path, optimize=True)  # photographs are large


def draw_bars(ax, prediction, colour):
    for place, (label, probability) in enumerate(prediction):
        ax.barh(place, probability, color=colour, alpha=1.0 if place == 0 else 0.35, height=0.8)
        ax.text(0.02, place, f"{label}  {probability:.0%}", va="center", fontsize=8)
    ax.set(xlim=(0, 1), xticks=[], yticks=[])
    ax.invert_yaxis()
    ax.spines[:].set_visible(False)


def draw_mistakes(ax, named_by):
    counts = [sum(of.values()) for of in named_by.values()]
    ax.barh(range(len(counts)), counts, color="#4c78a8", height=0.6)
    for place, (how, count) in enumerate(zip(named_by, counts, strict=True)):
        ax.text(0, place - 0.36, f"{how}: {count}", va="bottom", fontsize=9)
    ax.set(xlim=(0, len(next(iter(named_by.values())))), xlabel="photographs named rightly", yticks=[])
    ax.invert_yaxis()
    ax.spines[["top", "right", "left"]].set_visible(False)
