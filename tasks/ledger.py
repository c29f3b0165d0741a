"""The results of a comparison on disk: a line of JSON a trial, with all that it takes to trace it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from structformer.tokenize.files import replacing

from .runs import Record, machine, versions
from .sources import BENCHMARKS, LIBRARY, digest_of

PACKAGES = (
    "structformer",
    "torch",
    "torch_geometric",
    "torch-scatter",
    "numpy",
    "pandas",
    "scikit-learn",
    "lightgbm",
    "xgboost-cpu",
    "catboost",
    "tabm",
    "rdkit",
)


@dataclass(frozen=True)
class Arm:
    """One of those that are compared.

    Attributes:
        name: What it is called in tables.
        ours: Whether it is made of this library. A rival's results stay good when the library changes.
        options: What it is made of, as JSON knows it.
    """

    name: str
    ours: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One arm, trained and judged once.

    Attributes:
        data: The data set.
        arm: The arm's name.
        seed: The seed, or the number of the split or fold where these are given.
    """

    data: str
    arm: str
    seed: int


class Ledger:
    """Results of one task, a line of JSON a trial.

    The first line of a run says how it was made: command, commit, machine, versions, settings; lines of results name
    their run. Until all trials are done they lie in `NAME.partial.jsonl`; `finish` puts them in the place of
    `NAME.jsonl`. A trial found in either file is good still if its settings, arm, packages and code are the same:
    all of this library for our own arms, the benchmark's for rivals.

    Args:
        path: The `.jsonl` file of the complete result.
        module: Name of the module that measures.
        command: By which it is run.
        settings: What the results of all arms depend on, as JSON knows it.
        arms: Who is compared.

    Raises:
        OSError: If the folder cannot be made or written to.
        ValueError: If a file that is there is damaged, apart from a last line cut short.
    """

    def __init__(
        self, path: Path, module: str, command: str, settings: Mapping[str, Any], arms: Sequence[Arm]
    ) -> None:
        self.path = path
        self.partial = path.with_suffix(".partial.jsonl")
        about = {
            "command": command,
            "commit": commit(),
            "machine": machine(),
            "versions": {key: value for key, value in versions(PACKAGES).items() if key != "sources"},
            "settings": dict(settings),
            "arms": [asdict(arm) for arm in arms],
        }
        about = json.loads(json.dumps(about))
        self._run = _short(about)
        code = {True: digest_of(module, LIBRARY), False: digest_of(module, BENCHMARKS)}
        self._of = {
            arm.name: _short([about["settings"], asdict(arm), about["versions"], code[arm.ours]])
            for arm in arms
        }
        self._runs: dict[str, Any] = {}
        self._rows: dict[Trial, Record] = {}
        for file in (self.path, self.partial):
            self._take_over(file)
        self._runs[self._run] = about
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write(self.partial)

    def __getitem__(self, trial: Trial) -> Record:
        """Return the result of a trial.

        Raises:
            KeyError: If it is not known yet.
        """
        row = self._rows[trial]
        return {key: value for key, value in row.items() if key not in ("run", "of")}

    def __contains__(self, trial: Trial) -> bool:
        """Return whether the result of a trial is known."""
        return trial in self._rows

    def checkpoint(self, trial: Trial) -> Path:
        """Return where the state of a training lies while it lasts: another file if anything it depends on changes."""
        return self.path.with_suffix(f".{_short([self._of[trial.arm], asdict(trial)])}.partial.pt")

    def put(self, trial: Trial, found: Record) -> None:
        """Keep a result; it is on disk when this returns."""
        row = {"run": self._run, "of": self._of[trial.arm], **asdict(trial), **found}
        self._rows[trial] = json.loads(json.dumps(row))
        with self.partial.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def finish(self) -> None:
        """Put the results in the place of those before."""
        self._write(self.partial)
        self.partial.replace(self.path)

    def _take_over(self, file: Path) -> None:
        if not file.is_file():
            return
        runs, rows = read_ledger(file)
        for row in rows:
            if self._of.get(row["arm"]) == row["of"]:
                self._rows[Trial(row["data"], row["arm"], row["seed"])] = row
        self._runs |= runs

    def _write(self, file: Path) -> None:
        used = {row["run"] for row in self._rows.values()} | {self._run}
        lines = [{"run": run, "about": about} for run, about in self._runs.items() if run in used]
        with replacing(file) as temporary:
            temporary.write_text(
                "".join(json.dumps(line) + "\n" for line in (*lines, *self._rows.values())), encoding="utf-8"
            )


def read_ledger(file: Path) -> tuple[dict[str, Any], list[Record]]:
    """Return how each run in a file was made, by its name, and all results.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged, apart from a last line cut short.
    """
    runs: dict[str, Any] = {}
    rows: list[Record] = []
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, text in enumerate(lines, start=1):
        try:
            line = json.loads(text)
            if "about" in line:
                runs[line["run"]] = line["about"]
            else:
                Trial(line["data"], line["arm"], line["seed"])
                rows.append(line)
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines) and not text.endswith("\n"):
                break  # the run was cut short while it wrote
            raise ValueError(f"{file}, line {number}: damaged ({error}): remove it") from error
    return runs, rows


def commit() -> str | None:
    """Return the commit the code is of, with a plus where files have changed since; None outside a checkout."""
    here = Path(__file__).parent
    try:
        head, changed = (
            subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout
            for words in (
                ["rev-parse", "--short=10", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no"],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    results = (line for line in changed.splitlines() if "tasks/results/" not in line and "README" not in line)
    return head.strip() + ("+" if any(results) else "")


def _short(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
