"""The commands on data sets: ``structformer data list | show | get``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

data = typer.Typer(help="Data sets of the benchmarks: what they are, and getting them.", no_args_is_help=True)


@data.command("list")
def list_all() -> None:
    """List all data sets: their names, their sizes, and whether they are in the data folder."""
    store = _datasets("store")
    for name, card in _datasets("catalogue").cards().items():
        print(f"{name:<40} {card.size / 1e3:>8,.0f} kB  {'here' if store.is_present(card) else 'not here'}")
    print(f"the data folder is {_datasets().data_folder()}")


@data.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A data set, or a group of them.", show_default=False)
    ],
) -> None:
    """Print the card of a data set: what it is, where it is from, its terms, and what to beware of."""
    for card in _datasets("catalogue").chosen(name):
        print(card)


@data.command()
def get(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help="Data sets, or groups of them.", show_default=False),
    ],
) -> None:
    """Download data sets into the data folder, and check them. The same command again goes on where it broke off."""
    wanted = [card for name in names for card in _datasets("catalogue").chosen(name)]
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        for card in wanted:
            folder = _datasets().download(card.name, progress=_teller(bar, card))
            print(f"{card.name} is complete in {folder}")


def _teller(bar: Progress, card: Any) -> Callable[[Any, int], None]:
    """What moves a bar over all that is to be downloaded of a data set; its end is not always known."""
    located = _datasets("store").located
    sizes = [file.download_size for file in card.files if located(file) is None]
    task = bar.add_task(card.name, total=None if None in sizes else sum(sizes))
    have: dict[str, int] = {}

    def tell(file: Any, come: int) -> None:
        have[file.path] = come
        bar.update(task, completed=sum(have.values()))

    return tell


def _datasets(module: str = "") -> Any:
    # They lie above the library, where the command line may reach them.
    return importlib.import_module(f"structformer.datasets.{module}".rstrip("."))
