"""Methods that promise nothing beyond what the audits measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from expunge.core.catalogue import Catalogue

if TYPE_CHECKING:
    from expunge.methods.empirical.protocol import Posthoc

_HERE: Final = "expunge.methods.empirical"

POSTHOC: Final[Catalogue[type[Posthoc]]] = Catalogue(
    "post-hoc method",
    "expunge.posthoc",
    {
        "bad-teacher": f"{_HERE}.bad_teacher:BadTeacher",
        "ct": f"{_HERE}.ct:CT",
        "fine-tuning": f"{_HERE}.fine_tuning:FineTuning",
        "gradient-ascent": f"{_HERE}.gradient_ascent:GradientAscent",
        "l1-sparse": f"{_HERE}.l1_sparse:L1Sparse",
        "msg": f"{_HERE}.msg:MSG",
        "neg-grad-plus": f"{_HERE}.neg_grad_plus:NegGradPlus",
        "random-labels": f"{_HERE}.random_labels:RandomLabels",
        "salun": f"{_HERE}.salun:SalUn",
        "scrub": f"{_HERE}.scrub:Scrub",
        "scrub-r": f"{_HERE}.scrub_r:ScrubR",
        "ssd": f"{_HERE}.ssd:SSD",
        "unsir": f"{_HERE}.unsir:Unsir",
    },
)

__all__ = ["POSTHOC"]
