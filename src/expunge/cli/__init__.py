"""The command line, ``expunge``: one file per group of commands."""

from __future__ import annotations

from expunge.cli.main import app

__all__ = ["app"]
