"""Reports that nobody measured, for tests of what is made of them."""

from __future__ import annotations

from typing import Any

from expunge.verify.report import FORMAT, Check, Curve, Report, Series, level_of


def check(**fields: Any) -> Check:
    """A check of membership that passed; ``fields`` say what is otherwise."""
    values: dict[str, Any] = {
        "name": "membership-auc",
        "group": "membership",
        "question": "Do forgotten rows score higher, or lower, than rows that no model saw?",
        "value": 0.503125,
        "interval": (0.47, 0.536),
        "null": (0.46, 0.54),
        "ideal": 0.5,
        "minimum_effect": 0.048,
        "margin": 0.05,
        "unit": "AUC",
        "counts": {"forgotten rows": 500, "unseen rows": 1500, "retrained models": 8},
        "verdict": "passed",
        "why": "The 90 % interval, 0.475 to 0.531, lies within 0.5 ± 0.05.",
        "source": "Hayes et al., arXiv:2403.01218, section 4",
    }
    return Check(**(values | fields))


PASSED = check()
FAILED = check(
    name="lira",
    question="Does a likelihood-ratio attack, row by row, tell them apart?",
    value=0.71,
    interval=(0.68, 0.74),
    verdict="failed",
    why="The 95 % interval lies above the margin and above all retrained models.",
    source="Carlini et al., arXiv:2112.03570, section V",
)
OPEN = check(
    name="gold-accuracy-test",
    group="gold-standard",
    question="Is its accuracy on test rows that of retrained models?",
    value=None,
    interval=None,
    null=None,
    ideal=None,
    minimum_effect=None,
    margin=0.02,
    unit="points",
    counts={"retrained models": 2},
    verdict="inconclusive",
    why="Two retrained models say too little: at least 8 are needed.",
    source="Thudi et al., arXiv:2110.11891, section 5",
    needed=False,
)


def line(count: int, power: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    x = tuple(i / count for i in range(count + 1))
    return x, tuple(share**power for share in x)


EDGES = tuple(float(edge) for edge in range(-6, 7))
CURVES = (
    Curve(
        "roc",
        "Rows told apart, at each rate of false alarms",
        "false alarms",
        "rows found",
        (
            Series("this model", *line(500, 0.8), "served"),
            Series("retrained model 1", *line(500, 1.1), "null"),
            Series("chance", *line(500, 1.0), "reference"),
        ),
    ),
    Curve(
        "histogram",
        "Scores of rows",
        "score",
        "share of rows",
        (
            Series("forgotten rows", EDGES, (0, 1, 2, 4, 8, 14, 17, 12, 7, 3, 1, 0), "served"),
            Series("unseen rows", EDGES, (0, 1, 3, 5, 9, 14, 16, 11, 6, 3, 1, 1), "null"),
        ),
    ),
    Curve(
        "epsilon",
        "What single rows give away",
        "share of rows",
        "epsilon",
        (
            Series("this model", *line(100, 3.0), "served"),
            Series("retrained models", *line(100, 4.0), "null"),
        ),
    ),
    Curve(
        "tradeoff",
        "Forgetting against utility",
        "distance of the AUC from 0.5",
        "accuracy",
        (
            Series("this model", (0.02,), (0.81,), "served"),
            Series("retrained models", (0.01, 0.03, 0.015), (0.815, 0.82, 0.805), "null"),
            Series("before forgetting", (0.3,), (0.83,), "reference"),
        ),
    ),
)


def report(*checks: Check, **fields: Any) -> Report:
    """A report of these checks."""
    level, name = level_of(checks)
    values: dict[str, Any] = {
        "format": FORMAT,
        "subject": "income",
        "version": "5f" * 32,
        "guarantee": "empirical",
        "made": "2026-11-22T09:30:00Z",
        "level": level,
        "level_name": name,
        "checks": checks,
        "curves": CURVES,
        "settings": {"shadows": 16, "retrains": 8, "seed": 7, "margins": {"auc": 0.05}},
        "seconds": 12.3456,
    }
    return Report(**(values | fields))
