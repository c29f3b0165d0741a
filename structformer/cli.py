"""The command line: ``structformer demo | fit | predict | encode | inspect | lm | bench``."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import networkx as nx
import pandas as pd
import typer

from structformer.cli_data import data
from structformer.cli_lm import lm
from structformer.tokenize.files import check_output, read_table, replacing, write_table
from structformer.tokenize.graph_files import read_input
from structformer.tokenize.targets import infer_task, split_target

app = typer.Typer(
    name="structformer",
    help="Learn on tables, graphs and sets through a learned sparse graph over their parts.",
    no_args_is_help=True,
    add_completion=False,
)
app.add_typer(lm, name="lm")
app.add_typer(data, name="data")

FITTED = "fit.json"
"""What fit leaves beside a model; a folder without it is not written over."""

TableFile = Annotated[
    Path, typer.Argument(metavar="TABLE", help="A .csv or .parquet file.", show_default=False)
]
InputFile = Annotated[
    Path,
    typer.Argument(
        metavar="INPUT",
        help="A table (.csv, .parquet) or a graph (.graphml, .gexf, .gml, .edgelist).",
        show_default=False,
    ),
]
ModelFolder = Annotated[Path, typer.Argument(metavar="DIR", help="A saved model.", show_default=False)]
Delimiter = Annotated[str, typer.Option(help="What stands between the fields of a csv file.")]
MaxTime = Annotated[float | None, typer.Option(help="Seconds that training may take.", show_default=False)]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.")]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("out/demo"), seed: Seed = 0
) -> None:
    """Train on four built-in data sets, print scores beside baselines, write a report."""
    from structformer.demo import run_demo

    run_demo(out, seed)


@app.command()
def fit(
    table: TableFile,
    target: Annotated[str, typer.Option(help="Name of the column to be predicted.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder to write the model to.", show_default=False)],
    max_time: MaxTime = None,
    task: Annotated[
        str | None,
        typer.Option(help="classification or regression; found out if not given.", show_default=False),
    ] = None,
    delimiter: Delimiter = ",",
    seed: Seed = 0,
) -> None:
    """Train on a table and save the model.

    Texts, true and false, and up to 20 different whole numbers are predicted as classes, else as numbers.
    """
    from structformer.estimators import StructFormerClassifier, StructFormerRegressor

    if task not in (None, "classification", "regression"):
        raise ValueError(f"--task must be classification or regression (got {task!r})")
    if out.exists() and not (out / FITTED).is_file() and (out.is_file() or any(out.iterdir())):
        raise ValueError(f"{out} exists and is not a model that structformer fit wrote: choose another --out")
    started = time.perf_counter()
    features, values = split_target(read_table(table, delimiter), target, str(table))
    task = task or infer_task(values)
    classes = f" ({values.nunique()} classes)" if task == "classification" else ""
    print(f"{len(features):,} rows, {features.shape[1]} columns: {task} of {target!r}{classes}")
    kind = StructFormerClassifier if task == "classification" else StructFormerRegressor
    model = kind(max_time=max_time, random_state=seed).fit(features, values)
    model.save(out)
    with replacing(out / FITTED) as temporary:
        temporary.write_text(json.dumps({"target": target, "task": task}), encoding="utf-8")
    print(f"model in {out}, after {time.perf_counter() - started:.0f} s")


@app.command()
def predict(
    folder: ModelFolder,
    table: TableFile,
    out: Annotated[Path, typer.Option(help="A .csv or .parquet file to write.", show_default=False)],
    delimiter: Delimiter = ",",
) -> None:
    """Write the prediction for each row; for classes, the probability of each too."""
    check_output(out, (".csv", ".parquet"))
    model, target = _load(folder)
    if not hasattr(model, "predict"):
        raise ValueError(f"{folder} holds a {type(model).__name__}, which predicts nothing")
    frame = read_table(table, delimiter).drop(columns=target or [], errors="ignore")
    _check_kind(model, folder, frame, table)
    if hasattr(model, "predict_proba"):
        shares = model.predict_proba(frame)
        names = [f"probability_{name}" for name in model.classes_]
        answers = pd.DataFrame(shares, index=frame.index, columns=names)
        answers.insert(0, "prediction", model.classes_[shares.argmax(1)])
    else:
        answers = pd.DataFrame({"prediction": model.predict(frame)}, index=frame.index)
    write_table(answers, out)
    print(f"{len(answers):,} predictions in {out}")


@app.command()
def encode(
    source: InputFile,
    out: Annotated[Path, typer.Option(help="A .csv, .parquet or .npy file to write.", show_default=False)],
    max_time: MaxTime = None,
    delimiter: Delimiter = ",",
    seed: Seed = 0,
) -> None:
    """Learn a vector for each row of a table or node of a graph, without labels, and write them."""
    check_output(out)
    data = read_input(source, delimiter)
    from structformer.estimators import GraphEncoder, TableEncoder

    kind = GraphEncoder if isinstance(data, nx.Graph) else TableEncoder
    vectors = kind(max_time=max_time, random_state=seed).fit_transform(data)
    columns = [f"e{i:0{len(str(vectors.shape[1] - 1))}d}" for i in range(vectors.shape[1])]
    if isinstance(data, nx.Graph):
        frame = pd.DataFrame(vectors, columns=columns)
        frame.insert(0, "node", [str(node) for node in data])
    else:
        frame = pd.DataFrame(vectors, index=data.index, columns=columns)
    write_table(frame, out)
    print(f"{len(frame):,} vectors of {len(columns)} numbers in {out}")


@app.command()
def inspect(
    folder: ModelFolder,
    source: InputFile,
    out: Annotated[Path, typer.Option(help="The .html file to write.")] = Path("report.html"),
    delimiter: Delimiter = ",",
) -> None:
    """Write a page that shows the graph the model learned over the input."""
    from structformer.inspect import model_section, write_report

    check_output(out, (".html",))
    model, target = _load(folder)
    data, labels, metrics = read_input(source, delimiter), None, None
    _check_kind(model, folder, data, source)
    if isinstance(data, pd.DataFrame):
        if data.empty:
            raise ValueError(f"{source} has no rows to look at")
        if target is not None and target in data.columns:
            data, labels = data.drop(columns=target), pd.Series(data[target])
            if not labels.hasnans:
                score = {"accuracy" if hasattr(model, "classes_") else "R²": [model.score(data, labels)]}
                metrics = pd.DataFrame(score, index=["structformer"])
    text = f"What the {type(model).__name__} in {folder} learned, on {source}."
    section = model_section(model, data, labels, title=source.name, text=text, metrics=metrics)
    write_report(out, f"Learned graph of {source.name}", [section])
    print(f"report in {out}")


@app.command()
def bench(
    task: Annotated[str | None, typer.Argument(help="Name of a task.", show_default="list them")] = None,
    quick: Annotated[
        bool, typer.Option("--quick/--full", help="A small version, or the published one.")
    ] = True,
    seeds: Annotated[
        int | None,
        typer.Option(help="How many seeds to run.", min=1, show_default="1, or with --full the task's own"),
    ] = None,
    results: Annotated[Path | None, typer.Option("--json", help="File to write the results to.")] = None,
) -> None:
    """Run a benchmark task; without one, list those there are."""
    tasks = _tasks()
    if task is None:
        for name, line in tasks.items():
            print(f"{name:<24} {line}")
        if not tasks:
            print("there are no benchmark tasks yet")
        return
    if task not in tasks:
        raise ValueError(f"there is no task {task!r}; known are: {', '.join(tasks) or 'none yet'}")
    if results is not None:
        check_output(results, (".json",))
    module = importlib.import_module(f"structformer.tasks.{task}")
    usual = 1 if quick else getattr(module, "SEEDS", 1)
    records = module.run(quick=quick, seeds=usual if seeds is None else seeds)
    print(_listed(records))
    if results is not None:
        with replacing(results) as temporary:
            temporary.write_text(json.dumps(records, indent=1), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; what the user can put right is told in one line, with exit code 2."""
    told: set[str] = set()

    def tell(message: Warning | str, *_: Any) -> None:
        line = " ".join(str(message).split())
        if line not in told:
            print(f"structformer: note: {line}", file=sys.stderr)
        told.add(line)

    warnings.showwarning = tell
    try:
        sys.exit(app(args=None if arguments is None else list(arguments), standalone_mode=False) or 0)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
        _fail(str(error))
    except Exception as error:
        # The command-line parser's own complaints; its classes moved from one typer to the next.
        complaint = getattr(error, "format_message", None)
        if complaint is None:
            raise
        _fail(complaint())


def _listed(records: Sequence[dict[str, Any]]) -> str:
    """Return a line a record, whole however wide the screen is; curves and the like are for files."""
    names = list(dict.fromkeys(name for record in records for name in record))
    flat = [
        name for name in names if not any(isinstance(record.get(name), list | dict) for record in records)
    ]
    lines = [flat, *([_shown(record.get(name)) for name in flat] for record in records)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    pairs = [zip(line, widths, strict=True) for line in lines]
    return "\n".join("  ".join(f"{text:<{width}}" for text, width in line).rstrip() for line in pairs)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _fail(message: str) -> None:
    if message:
        print(f"structformer: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def _load(folder: Path) -> tuple[Any, str | None]:
    """A saved model, and the name of the column it predicts if fit wrote it."""
    from structformer.estimators import load

    about = folder / FITTED
    try:
        target = json.loads(about.read_text(encoding="utf-8")).get("target") if about.is_file() else None
    except ValueError as error:
        raise ValueError(f"{about} is damaged: {error}") from error
    return load(folder), target


def _check_kind(model: Any, folder: Path, data: pd.DataFrame | nx.Graph, source: Path) -> None:
    import structformer.estimators as known

    reads = "sets of points"
    if isinstance(model, known.StructFormerClassifier | known.StructFormerRegressor | known.TableEncoder):
        reads = "tables"
    elif isinstance(
        model, known.NodeClassifier | known.GraphClassifier | known.GraphRegressor | known.GraphEncoder
    ):
        reads = "graphs"
    given = "graphs" if isinstance(data, nx.Graph) else "tables"
    if reads != given:
        raise ValueError(
            f"{folder} holds a {type(model).__name__}, which reads {reads}; {source} is no such thing"
        )


def _tasks() -> dict[str, str]:
    """Modules of structformer.tasks that define ``run``, with the first line of their docstring."""
    package = importlib.import_module("structformer.tasks")
    found: dict[str, str] = {}
    for module in pkgutil.iter_modules(package.__path__):
        file = Path(package.__path__[0]) / f"{module.name}.py"
        if module.ispkg or not file.is_file():
            continue
        # Read, not imported: one task that cannot be imported must not hide the others.
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in tree.body):
            found[module.name] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


if __name__ == "__main__":
    main()
