"""What all benchmarks share: where data is, what the machine is, how figures are published."""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


def data_folder() -> Path:
    """The folder of real data; ends with advice where there is none."""
    place = Path(os.environ.get("EXPUNGE_DATA", _HERE.parent.parent / "shared" / "data"))
    if not place.is_dir():
        sys.exit(f"No data in {place}. Set EXPUNGE_DATA to the folder that holds it.")
    return place


def say(line: str) -> None:
    """Tell a person how it goes."""
    print(line, file=sys.stderr, flush=True)


def row_id(number: int) -> str:
    """Id of row ``number`` (from 0) of a first batch whose rows were numbered."""
    return f"0-{number}"


def peak_rss_mb() -> float:
    """Largest memory of this process plus that of its largest child."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (own + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def machine() -> dict[str, Any]:
    """The machine in words, without its name."""
    info = Path("/proc/cpuinfo")
    models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "at": datetime.now(UTC).date().isoformat(),
    }


def publish(name: str, figures: Mapping[str, Any]) -> None:
    """Print a table for people and one line of JSON; keep both in ``results/``."""
    for key, value in figures.items():
        print(f"{key:34} {value:>14,.4f}" if isinstance(value, float) else f"{key:34} {value:>14}")
    whole = {"benchmark": name, **figures, "machine": machine()}
    folder = _HERE / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(whole, indent=2) + "\n")
    print(json.dumps(whole))
