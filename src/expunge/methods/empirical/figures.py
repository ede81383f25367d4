"""Figures of a network before and after it forgot: accuracies, losses, and what gives rows away.

``forget_auc`` says how well the losses of rows to forget are told from those of rows never seen:
0.5 not at all, 1 perfectly, whichever of the two is larger. Rows are compared within their classes,
because a retrained network is worse about a class of which rows were forgotten, whether it saw them
or not. Even so, 0.5 is what a retrained network gives only where the rows to forget are like the
unseen ones within their class. Where they are not (noisy, rare, chosen by hand), the reference is a
network that was trained again without them.

References:
    Carlini et al., IEEE S&P 2022, arXiv:2112.03570, section II-C (attacks by the loss); Hayes et
    al., arXiv:2403.01218 (attacks of all rows together, as this one, are weak: a lower bound).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from expunge.core.errors import InputError
from expunge.methods.empirical.rows import Rows
from expunge.metrics import roc, signals

_ROWS = 1_024


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a network says about some rows.

    Attributes:
        logits: float64, (n, classes).
        targets: int64, (n,).
    """

    logits: NDArray[np.float64]
    targets: NDArray[np.int64]

    def accuracy(self, classes: NDArray[np.int64] | None = None) -> float:
        """Share of rows whose largest logit is at their class; of rows of ``classes`` alone, if given."""
        counted = np.isin(self.targets, self.targets if classes is None else classes)
        hits = self.logits.argmax(axis=1) == self.targets
        return float(hits[counted].mean())

    def loss(self) -> float:
        """Mean cross-entropy, in nats."""
        logits, targets = torch.from_numpy(self.logits), torch.from_numpy(self.targets)
        return float(functional.cross_entropy(logits, targets))


@torch.no_grad()
def see(module: nn.Module, of: Rows) -> Seen:
    """Ask a copy of ``module``, in evaluation mode."""
    asked = copy.deepcopy(module).eval()
    device = next((p.device for p in asked.parameters()), None)
    blocks = [asked(block.to(device)) for block in torch.split(of.inputs, _ROWS)]
    return Seen(torch.cat(blocks).double().cpu().numpy(), of.targets.cpu().numpy())


def measure(
    module: nn.Module, retain: Rows, forget: Rows, unseen: Rows | None = None
) -> Mapping[str, float]:
    """Accuracies, losses in nats, and ``forget_auc`` where unseen rows tell it.

    Costs a forward pass over all rows. ``forget_auc`` is left out where a class to forget has no
    unseen row.
    """
    groups = {"retain": retain, "forget": forget} | ({"validation": unseen} if unseen else {})
    seen = {name: see(module, of) for name, of in groups.items()}
    found = {f"{name}_accuracy": each.accuracy() for name, each in seen.items()}
    found |= {f"{name}_loss": each.loss() for name, each in seen.items()}
    if unseen and covers(unseen, forget):
        found["forget_auc"] = told(seen["forget"], seen["validation"])
    return found


def covers(unseen: Rows, forget: Rows) -> bool:
    """Whether each class to forget has an unseen row."""
    return bool(torch.isin(forget.targets, unseen.targets).all())


def told(forget: Seen, unseen: Seen) -> float:
    """How well losses tell forgotten rows from unseen ones of their class: 0.5 … 1.

    The area of each class is weighted by its rows to forget.

    Raises:
        InputError: A class to forget has no unseen row.
    """
    ours = signals.margin(forget.logits, forget.targets)
    theirs = signals.margin(unseen.logits, unseen.targets)
    area = 0.0
    for code, share in _shares(forget.targets):
        beside = theirs[unseen.targets == code]
        if not len(beside):
            raise InputError(f"No unseen row has class {code}, which is to be forgotten.")
        area += share * roc.auc(ours[forget.targets == code], beside)
    return roc.two_sided(area)


def chance_error(forget: NDArray[np.int64], unseen: NDArray[np.int64]) -> float:
    """Standard error that the area of :func:`told` has by chance alone, of class codes given."""
    parts = [
        (share * roc.null_standard_error(int((forget == code).sum()), int((unseen == code).sum())))
        for code, share in _shares(forget)
    ]
    return float(np.sqrt(np.square(parts).sum()))


def _shares(targets: NDArray[np.int64]) -> list[tuple[int, float]]:
    codes, counts = np.unique(targets, return_counts=True)
    return [(int(c), float(n) / len(targets)) for c, n in zip(codes, counts, strict=True)]
