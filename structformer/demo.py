"""``structformer demo``: a table, rows as a graph, a graph with two labels, and point sets."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from structformer.estimators import NodeClassifier, SetClassifier, StructFormerClassifier
from structformer.inspect import Section, model_section, write_report


@dataclass(frozen=True)
class Outcome:
    """Scores on one data set, ours first, and the section of the report."""

    title: str
    scores: pd.DataFrame
    section: Section


class _Race:
    """Fits models one after the other and keeps their held-out accuracy and the seconds they took."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, float]] = {}

    def run(self, name: str, answer: Callable[[], Any], truth: Any) -> None:
        """Time ``answer``, which fits and predicts, and score it against ``truth``."""
        started = time.perf_counter()
        accuracy = float(np.mean(np.asarray(answer()) == np.asarray(truth)))
        self._rows[name] = {"accuracy": accuracy, "seconds": time.perf_counter() - started}

    @property
    def scores(self) -> pd.DataFrame:
        """One row for each model, in the order they ran."""
        return pd.DataFrame.from_dict(self._rows, orient="index")


def run_demo(
    out: str | Path, seed: int = 0, *, max_time: float = 130.0, console: Console | None = None
) -> Path:
    """Run all four parts, print their scores, and write ``report.html`` and ``karate.png`` into ``out``.

    All data comes with scikit-learn and networkx; nothing is fetched.

    Args:
        out: Folder for report and picture, made if it is missing.
        seed: Seed of splits and models.
        max_time: Seconds that training may take in all; reading, predicting and drawing come on top.
        console: Where to print; standard output by default.

    Returns:
        The path of the report.
    """
    console = console or Console()
    parts = {breast_cancer: 0.2, digits_rows: 0.35, karate_club: 0.1, digits_points: 0.35}
    outcomes: list[Outcome] = []
    for number, (part, share) in enumerate(parts.items(), start=1):
        console.print(f"{number}/{len(parts)} {(part.__doc__ or '').partition('.')[0]}")
        outcomes.append(part(seed, max_time * share))
    table = Table(title="accuracy on what was held out")
    for name in ("data", "model", "accuracy", "seconds"):
        table.add_column(name, justify="right" if name in ("accuracy", "seconds") else "left")
    for outcome in outcomes:
        for place, (name, row) in enumerate(outcome.scores.iterrows()):
            cells = (
                outcome.title if place == 0 else "",
                str(name),
                f"{row['accuracy']:.3f}",
                f"{row['seconds']:.1f}",
            )
            table.add_row(
                *cells, style="bold" if place == 0 else None, end_section=place == len(outcome.scores) - 1
            )
    console.print(table)
    sections = [replace(outcome.section, metrics=outcome.scores) for outcome in outcomes]
    path = write_report(Path(out) / "report.html", "structformer demo", sections)
    picture = _draw_club(outcomes[[*parts].index(karate_club)], Path(out) / "karate.png")
    console.print(f"report: {path.resolve()}\npicture: {picture.resolve()}", soft_wrap=True)
    return path


def breast_cancer(seed: int, max_time: float) -> Outcome:
    """Breast cancer: 569 tumours, 30 measurements each, malignant or benign."""
    bunch: Any = load_breast_cancer(as_frame=True)
    frame = bunch.data.set_axis([f"tumour {i}" for i in range(len(bunch.data))])
    labels = bunch.target_names[bunch.target]
    train, test, y, truth = train_test_split(
        frame, labels, test_size=0.25, stratify=labels, random_state=seed
    )
    model = StructFormerClassifier(max_time=max_time, random_state=seed)
    race = _Race()
    race.run("structformer", lambda: model.fit(train, y).predict(test), truth)
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    race.run("logistic regression", lambda: logistic.fit(train, y).predict(test), truth)
    forest = RandomForestClassifier(random_state=seed)
    race.run("random forest", lambda: forest.fit(train, y).predict(test), truth)
    text = (
        "A quarter of the tumours was held out. Each of these (discs) listens to the training tumours "
        "(squares) that it finds most alike, and within each tumour its measurements listen to one another."
    )
    title = "Breast cancer, a table"
    return Outcome(title, race.scores, model_section(model, test, truth, title=title, text=text))


def digits_rows(seed: int, max_time: float) -> Outcome:
    """Digits as rows: 1,797 images of 8 × 8 pixels, linked to their likes."""
    bunch: Any = load_digits()
    columns = [f"pixel {row},{column}" for row in range(8) for column in range(8)]
    frame = pd.DataFrame(bunch.data, columns=columns, index=[f"image {i}" for i in range(len(bunch.data))])
    train, test, y, truth = train_test_split(
        frame, bunch.target, test_size=0.25, stratify=bunch.target, random_state=seed
    )
    model = StructFormerClassifier(max_time=max_time, random_state=seed)
    race = _Race()
    race.run("structformer", lambda: model.fit(train, y).predict(test), truth)
    nearest = KNeighborsClassifier(5)
    race.run("5 nearest neighbours", lambda: nearest.fit(train, y).predict(test), truth)
    forest = RandomForestClassifier(random_state=seed)
    race.run("random forest", lambda: forest.fit(train, y).predict(test), truth)
    text = (
        "Each held-out image (disc) listens to the training images (squares) it finds most alike. Nobody "
        "told the model which pixels are neighbours: a column is a name and a number."
    )
    title = "Digits, rows as a graph"
    section = model_section(model, test, truth, title=title, text=text)
    # Twelve of 64 pixels tell a reader nothing.
    return Outcome(title, race.scores, replace(section, data=None))


def karate_club(seed: int, max_time: float) -> Outcome:
    """Karate club: 34 members of a club that split, only its two leaders labelled."""
    graph = nx.karate_club_graph()
    labels = np.array([club for _, club in graph.nodes(data="club")])
    for _, attributes in graph.nodes(data=True):
        # The answer must not be among the features.
        del attributes["club"]
    known = np.isin(np.arange(len(labels)), [0, 33])
    truth = labels[~known]
    model = NodeClassifier(max_time=max_time, random_state=seed)
    race = _Race()
    race.run("structformer", lambda: model.fit(graph, labels, train_mask=known).predict(graph)[~known], truth)

    def propagate() -> np.ndarray:
        marked = graph.copy()
        for node in np.flatnonzero(known):
            marked.nodes[node]["label"] = labels[node]
        return np.array(nx.algorithms.node_classification.harmonic_function(marked))[~known]

    race.run("label propagation", propagate, truth)
    text = (
        "Only members 0 and 33, who fell out with each other, are labelled; the side that the other 32 took "
        "is to be found from who met whom outside the club."
    )
    title = "Karate club, a graph"
    section = model_section(model, graph, labels, title=title, text=text)
    return Outcome(title, race.scores, replace(section, token="member"))


def _draw_club(outcome: Outcome, path: Path) -> Path:
    """Write the picture that stands in README: the club's learned graph, coloured by prediction."""
    # A figure of its own, not pyplot's: no window, whatever the backend, and nothing left to be closed.
    figure = Figure(figsize=(8, 5.5), layout="tight")
    section = outcome.section
    assert section.graph is not None
    section.graph.plot(figure.subplots(), labels=section.colours["prediction"]).set_title("")
    figure.savefig(path, dpi=110)
    return path


def digits_points(seed: int, max_time: float) -> Outcome:
    """Digits as point sets: the inked pixels of an image in any order."""
    bunch: Any = load_digits()
    sets = point_sets(bunch.images, np.random.default_rng(seed))
    place = np.arange(len(sets))
    train, test = train_test_split(place, test_size=0.25, stratify=bunch.target, random_state=seed)
    model = SetClassifier(max_time=max_time, random_state=seed)
    race = _Race()
    race.run(
        "structformer",
        lambda: model.fit([sets[i] for i in train], bunch.target[train]).predict([sets[i] for i in test]),
        bunch.target[test],
    )
    moments = np.array([[*points.mean(0), *points.std(0)] for points in sets])
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    race.run(
        "logistic regression on means and deviations",
        lambda: logistic.fit(moments[train], bunch.target[train]).predict(moments[test]),
        bunch.target[test],
    )
    text = (
        "Each image is a set of points (across, down, ink) in random order. The model chose which points of "
        "a set listen to one another; they are drawn where they lie in the image."
    )
    title = "Digits, point sets"
    shown = [sets[i] for i in test[:8]]
    points = np.concatenate(shown)
    section = model_section(model, shown, bunch.target[test[:8]], title=title, text=text)
    # Ink runs from 0 to 16.
    section = replace(section, positions=points[:, :2], colours={"ink": points[:, 2] / 16}, token="point")
    return Outcome(title, race.scores, section)


def point_sets(images: np.ndarray, generator: np.random.Generator) -> list[np.ndarray]:
    """The pixels of each image that hold ink, as [points, 3] arrays (across, down, ink), shuffled."""
    sets: list[np.ndarray] = []
    for image in images:
        down, across = np.nonzero(image)
        sets.append(generator.permutation(np.stack([across, down, image[down, across]], axis=1)))
    return sets
