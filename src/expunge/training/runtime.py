"""Runtimes: the environments in which equal names promise equal bytes.

Measured (the engine's notes): the same network gives other bytes under another instruction
set, another BLAS core type and another number of threads; never under another process.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from expunge.core.digest import Json, canonical_json, digest

_CHOOSERS = (
    "ATEN_CPU_CAPABILITY",
    "OPENBLAS_CORETYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_MAX_CPU_ISA",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
)


@lru_cache
def describe(
    libraries: tuple[str, ...], threads: int = 1, code: tuple[tuple[str, str], ...] = ()
) -> Mapping[str, Json]:
    """This process's environment, as far as it shapes bytes. No paths, no host names.

    Args:
        libraries: Distributions whose versions matter.
        threads: Per process.
        code: Import names and digests of further source files.
    """
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "libc": " ".join(platform.libc_ver()),
        "libraries": {name: _version(name) for name in libraries},
        "code": dict(code),
        "processor": _processor(),
        "instructions": {name: os.environ[name] for name in _CHOOSERS if name in os.environ},
        "threads": threads,
    }


def name(description: Mapping[str, Json]) -> str:
    """A runtime's name, hexadecimal."""
    return digest("runtime", canonical_json(description)).hex()


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _processor() -> dict[str, Json]:
    """Vendor and the digest of the instruction flags; the model says nothing more."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return {"vendor": platform.processor(), "flags": None}
    first = info.read_text().split("\n\n", 1)[0]
    entries = dict(_entry(line) for line in first.splitlines() if ":" in line)
    flags = entries.get("flags") or entries.get("Features") or ""
    return {
        "vendor": entries.get("vendor_id") or entries.get("CPU implementer"),
        "family": entries.get("cpu family"),
        "model": entries.get("model"),
        "flags": digest("flags", *(flag.encode() for flag in sorted(flags.split()))).hex(),
    }


def _entry(line: str) -> tuple[str, str]:
    key, _, value = line.partition(":")
    return key.strip(), value.strip()
