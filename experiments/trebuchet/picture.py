"""The picture of the experiment: the machine, throws at one target in several winds, the training, and the aims."""

import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from throw import L, R, S, W, h, motion

WINDS = {-6.0: "#2166ac", -3.0: "#67a9cf", 0.0: "#555555", 3.0: "#ef8a62", 6.0: "#b2182b"}


def draw(aim, tasks, error, history, p, path):
    """Aim: from tasks (n, 2) to aims; error (tests,): of the held-out tasks."""
    figure, grid = plt.subplot_mosaic("mffff;tteea", figsize=(12.5, 6.6), layout="constrained", width_ratios=(1.15, 1, 1, 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)
