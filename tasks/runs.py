"""Results of a benchmark on disk: with machine, versions and date, and kept when a run is cut short."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

import structformer
from structformer.tokenize.files import replacing

Record = dict[str, Any]
PACKAGES = (
    "structformer",
    "torch",
    "torch_geometric",
    "torch-scatter",
    "numpy",
    "numba",
    "triton",
    "faiss-cpu",
)


class Run:
    """One run of a task, in parts; a part that is done is on disk.

    Until all parts are done they lie in `NAME.partial.json`. A run that finds such a file takes over the parts in
    it if settings, versions, sources and machine are the same, and begins anew otherwise. `finish` renames it to
    `NAME.json`: a complete result is only ever replaced by another complete one.

    Args:
        path: The `.json` file of the complete result.
        settings: What the result depends on, as JSON knows it.

    Raises:
        OSError: If the folder cannot be made or written to.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.partial = path.with_suffix(".partial.json")
        about = {"machine": machine(), "versions": versions(), "settings": dict(settings)}
        self._about: dict[str, Any] = json.loads(json.dumps(about))
        self._parts: dict[str, Any] = self._taken_over()
        self._write()

    def part(self, name: str, measure: Callable[[], list[Record]]) -> list[Record]:
        """Return the records of a part: those on disk, or those measured now and put there."""
        if name not in self._parts:
            self._put(name, *_timed(measure))
        return self._parts[name]["records"]

    def finish(self) -> None:
        """Put the result in the place of the one before."""
        self.partial.replace(self.path)

    def _put(self, name: str, records: list[Record], seconds: float, load: float) -> None:
        self._parts[name] = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 1),
            "load": round(load, 2),
            "records": records,
        }
        self._write()

    def _taken_over(self) -> dict[str, Any]:
        if not self.partial.is_file():
            return {}
        try:
            found = json.loads(self.partial.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{self.partial} is damaged ({error}): remove it") from error
        same = all(found.get(key) == value for key, value in self._about.items())
        return found["parts"] if same else {}

    def _write(self) -> None:
        with replacing(self.partial) as temporary:
            temporary.write_text(
                json.dumps({**self._about, "parts": self._parts}, indent=1), encoding="utf-8"
            )


def _timed(measure: Callable[[], list[Record]]) -> tuple[list[Record], float, float]:
    """Return the records, the seconds they took, and the machine's load before."""
    started, load = time.perf_counter(), os.getloadavg()[0]
    return measure(), time.perf_counter() - started, load


def machine() -> dict[str, Any]:
    """Return the processor's name, the cores and threads in use, and the memory in GiB."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of Python and of those packages that are installed, and a digest of our sources."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**found, "sources": source_digest()}


def source_digest() -> str:
    """Return a short digest of the code that benchmarks measure or consist of; another code, another digest."""
    library, tasks = Path(structformer.__file__).parent, Path(__file__).parent
    parts = [tasks, *(library / part for part in ("graph", "ops", "nn", "models"))]
    files = [file for part in parts for file in part.rglob("*.py")]
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
