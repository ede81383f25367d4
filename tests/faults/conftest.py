"""Scripts of tests are no tests."""

from __future__ import annotations

collect_ignore = ["restoring.py"]  # imports its neighbour, as a script may
