"""The faults of two published deletable forests, re-created in the smallest tree that has them.

A tree of one split on one feature, which keeps counts for each threshold so that a row can be taken
out without the others. ``Boundaries`` has the thresholds of DaRE, ``Drawn`` those of DynFrs; each
has a sound way to delete, and the published one. Written from what was observed of both, not from
their code.

References:
    Brophy and Lowd, "Machine Unlearning for Random Forests", ICML 2021, arXiv:2009.05567.
    Wang et al., "DynFrs", ICLR 2025, arXiv:2410.01588.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from expunge.core import rng
from expunge.learners import state


@dataclass(frozen=True)
class Boundaries:
    """Split at a feature's own value, where labels change from it to the next one.

    The published deletion never offers a boundary that comes into being when the rows between two
    values go, and takes the share of no rows, 0/0, for one that differs from every other.
    """

    published: bool = False

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    def encode(self, task, features):
        return np.asarray(features[task.features[0].name], np.float64)

    def learn(self, task, parent, samples, step):
        values, where = np.unique(samples.inputs, return_inverse=True)
        rows = np.bincount(where, minlength=len(values))
        ones = np.bincount(where, weights=np.ravel(samples.targets), minlength=len(values))
        return self.written(values, rows, ones.astype(np.int64), self.valid(rows, ones))

    def valid(self, rows, ones):
        shares = ones / rows
        return np.append(shares[:-1] != shares[1:], False)

    def change(self, task, before, gone, come):
        arrays = state.parse(before)[1]
        values, rows, ones = (arrays[name] for name in ("values", "rows", "ones"))
        rows, ones = rows.copy(), ones.copy()
        for samples, sign in ((gone, -1), (come, 1)):
            if samples is not None:
                if set(samples.inputs) - set(values):
                    raise NotImplementedError("only what was there comes back")
                at = np.searchsorted(values, samples.inputs)
                np.add.at(rows, at, sign)
                np.add.at(ones, at, sign * np.ravel(samples.targets).astype(np.int64))
        if self.published:
            # 0/0 is no number, which differs from every number: it stays a boundary.
            with np.errstate(invalid="ignore"):
                return self.written(values, rows, ones, arrays["valid"] & self.valid(rows, ones))
        kept = rows > 0
        values, rows, ones = values[kept], rows[kept], ones[kept]
        return self.written(values, rows, ones, self.valid(rows, ones))

    def written(self, values, rows, ones, valid):
        arrays = {"values": values, "rows": rows, "ones": ones, "valid": valid}
        return state.dump({}, arrays)

    def predictor(self, task, states):
        return lambda x: np.stack([self.answers(state.parse(one)[1], x) for one in states])

    def threshold(self, arrays):
        """The best boundary's value; None where no labels change."""
        at = np.flatnonzero(arrays["valid"])
        if not len(at):
            return None
        left = np.cumsum(arrays["rows"])[at], np.cumsum(arrays["ones"])[at]
        scores = impurity(*left, arrays["rows"].sum(), arrays["ones"].sum())
        return arrays["values"][at[np.argmin(scores)]]

    def answers(self, arrays, x):
        split = self.threshold(arrays)
        split = np.inf if split is None else split
        left = arrays["values"] <= split
        shares = [
            arrays["ones"][side].sum() / max(arrays["rows"][side].sum(), 1)
            for side in (left, ~left)
        ]
        return np.where(x <= split, *shares)[:, None]


@dataclass(frozen=True)
class Drawn:
    """Split at the best of some thresholds that are drawn beforehand.

    The published deletion compares new scores with the one that the present split had when it was
    chosen, so a split that has become worse survives.
    """

    published: bool = False
    thresholds: int = 30

    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    def encode(self, task, features):
        return np.asarray(features[task.features[0].name], np.float64)

    def learn(self, task, parent, samples, step):
        places = np.arange(self.thresholds, dtype=np.uint64)
        drawn = np.sort(rng.mix(places, rng.seed(step.seed, "thresholds")) / 2.0**64)
        left = samples.inputs[None, :] <= drawn[:, None]
        ones = np.ravel(samples.targets).astype(np.int64)
        counts = np.stack([left.sum(axis=1), (left * ones).sum(axis=1)])
        return self.chosen(drawn, counts, np.array([len(ones), ones.sum()]), None)

    def change(self, task, before, gone, come):
        arrays = state.parse(before)[1]
        counts, total = arrays["counts"].copy(), arrays["total"].copy()
        for samples, sign in ((gone, -1), (come, 1)):
            if samples is not None:
                left = samples.inputs[None, :] <= arrays["drawn"][:, None]
                ones = np.ravel(samples.targets).astype(np.int64)
                counts += sign * np.stack([left.sum(axis=1), (left * ones).sum(axis=1)])
                total += sign * np.array([len(ones), ones.sum()])
        best = (int(arrays["best"][0]), float(arrays["score"][0])) if self.published else None
        return self.chosen(arrays["drawn"], counts, total, best)

    def chosen(self, drawn, counts, total, best):
        scores = impurity(*counts, *total)
        at = int(np.argmin(scores))
        if best is not None and scores[at] >= best[1]:
            return self.written(drawn, counts, total, best)
        return self.written(drawn, counts, total, (at, float(scores[at])))

    def written(self, drawn, counts, total, best):
        at, score = best
        named = {"best": np.array([at]), "score": np.array([score])}
        return state.dump({}, {"drawn": drawn, "counts": counts, "total": total, **named})

    def predictor(self, task, states):
        return lambda x: np.stack([self.answers(state.parse(one)[1], x) for one in states])

    def answers(self, arrays, x):
        at = int(arrays["best"][0])
        (rows, ones), (total, all_ones) = arrays["counts"][:, at], arrays["total"]
        left, right = ones / max(rows, 1), (all_ones - ones) / max(total - rows, 1)
        return np.where(x <= arrays["drawn"][at], left, right)[:, None]


def impurity(rows, ones, total, all_ones):
    """Gini impurity of both sides, weighted by their rows."""
    others, other_ones = total - rows, all_ones - ones
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.nan_to_num(2 * ones * (rows - ones) / rows)
        right = np.nan_to_num(2 * other_ones * (others - other_ones) / others)
    return (left + right) / max(int(total), 1)
