"""The page's colours of classes: seen on their paper, and told apart by everybody."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import combinations

import numpy as np
import pytest

from structformer.inspect.colours import MOST_CLASSES

PAPER = {"light": "#ffffff", "dark": "#14171c"}

# What people with each deficiency see of linear RGB (Machado, Oliveira and Fernandes, 2009, severity 1).
SIGHT = {
    "usual": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}
# Linear RGB to the cube roots of cone responses, and these to Oklab (Ottosson, 2020).
CONES = [[0.412221, 0.536333, 0.051446], [0.211903, 0.6807, 0.107397], [0.088302, 0.281719, 0.629979]]
OKLAB = [[0.210454, 0.793618, -0.004072], [1.977998, -2.428592, 0.450594], [0.025904, 0.782772, -0.808676]]


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def palette(theme: str) -> list[str]:
    style = files("structformer.inspect").joinpath("report_graph.css").read_text(encoding="utf-8")
    found = re.findall(r"--class-(\d): (#[0-9a-f]{6})", style)
    assert [int(place) for place, _ in found] == [*range(MOST_CLASSES)] * 2
    colours = [colour for _, colour in found]
    return colours[:MOST_CLASSES] if theme == "light" else colours[MOST_CLASSES:]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_class_stands_out_from_the_paper(theme):
    paper = luminance(PAPER[theme])
    for colour in palette(theme):
        own = luminance(colour)
        # WCAG 2.2, 1.4.11: three to one for what is not text.
        assert (max(own, paper) + 0.05) / (min(own, paper) + 0.05) >= 3, colour


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_classes_are_told_apart(theme, sight):
    seen = [np.clip(np.array(SIGHT[sight]) @ linear(colour), 0, 1) for colour in palette(theme)]
    places = [np.array(OKLAB) @ np.cbrt(np.array(CONES) @ colour) for colour in seen]
    # Two hundredths of Oklab are just noticed side by side; these are discs apart from each other.
    assert min(np.linalg.norm(a - b) for a, b in combinations(places, 2)) > 0.065
