"""The command line: ``structformer demo | fit | predict | encode | inspect | bench``."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

# Only what the arguments need is imported here: `structformer --help` should not wait for torch.
from structformer.tokenize.files import check_output, read_table, replacing, split_target, write_table

app = typer.Typer(
    name="structformer",
    help="Learn on tables, graphs and sets through a learned sparse graph over their parts.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Table = Annotated[Path, typer.Argument(help="A .csv or .parquet file.", show_default=False)]
Model = Annotated[Path, typer.Argument(help="The folder that fit wrote.", show_default=False)]
Delimiter = Annotated[str, typer.Option(help="What stands between the fields of a csv file.")]
MaxTime = Annotated[float | None, typer.Option(help="Seconds that training may take.", show_default="no limit")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same model.")]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("out/demo"),
    seed: Seed = 0,
) -> None:
    """Train on four built-in data sets, print scores beside baselines, write a report."""
    from structformer.demo import run_demo

    run_demo(out, seed=seed)


@app.command()
def fit(
    table: Table,
    target: Annotated[str, typer.Option(help="The column to be predicted.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder to write the model to.", show_default=False)],
    max_time: MaxTime = None,
    task: Annotated[
        str | None, typer.Option(help="classification or regression.", show_default="found out from the target")
    ] = None,
    delimiter: Delimiter = ",",
    seed: Seed = 0,
) -> None:
    """Train on a table and save the model.

    Text, true/false and at most 20 different whole numbers are classes; other numbers are predicted as numbers.
    """
    import structformer as sf
    from structformer.tables_cli import infer_task, usable_target

    started = time.perf_counter()
    if out.exists() and not (out / "structformer.json").is_file() and (out.is_file() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists and is not a structformer model: choose another --out")
    features, values = split_target(read_table(table, delimiter), target, str(table))
    values = usable_target(values, str(table))
    if task not in (None, "classification", "regression"):
        raise ValueError(f"--task must be classification or regression (got {task!r})")
    task = task or infer_task(values)
    kind = sf.StructFormerClassifier if task == "classification" else sf.StructFormerRegressor
    model = kind(max_time=max_time, random_state=seed)
    classes = f", {values.nunique()} classes" if task == "classification" else ""
    print(f"{len(features):,} rows, {features.shape[1]} columns; {task} of {target!r}{classes}")
    model.fit(features, values)
    model.save(out)
    with replacing(out / "fit.json") as temporary:
        temporary.write_text(json.dumps({"target": target, "task": task}), encoding="utf-8")
    print(f"model in {out} ({time.perf_counter() - started:.0f} s)")
