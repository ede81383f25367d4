"""The published vectors of transparency-dev/merkle, negative ones included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from expunge.core.merkle import check_consistency, check_inclusion

FOLDER = Path(__file__).parent / "vectors"
INCLUSION = json.loads((FOLDER / "inclusion.json").read_text("utf-8"))["cases"]
CONSISTENCY = json.loads((FOLDER / "consistency.json").read_text("utf-8"))["cases"]

# The one case that we refuse and they accept: two equal "roots" that are no hashes.
STRICTER = {"additional/sizes-are-equal-one-and-proof-is-empty"}


@pytest.mark.parametrize("case", INCLUSION, ids=lambda case: str(case["name"]))
def test_an_inclusion_proof_is_accepted_as_published(case: dict[str, Any]) -> None:
    leaf, root = bytes.fromhex(case["leaf"]), bytes.fromhex(case["root"])
    path = [bytes.fromhex(part) for part in case["path"]]
    assert check_inclusion(leaf, case["index"], case["size"], path, root) is case["accepted"]


@pytest.mark.parametrize("case", CONSISTENCY, ids=lambda case: str(case["name"]))
def test_a_consistency_proof_is_accepted_as_published(case: dict[str, Any]) -> None:
    old, new = bytes.fromhex(case["first_root"]), bytes.fromhex(case["root"])
    path = [bytes.fromhex(part) for part in case["path"]]
    accepted = case["accepted"] and case["name"] not in STRICTER
    assert check_consistency(case["first"], old, case["size"], new, path) is accepted


def test_the_vectors_are_all_there() -> None:
    # Five happy paths each, and every mutation of them that the generator of the vectors makes.
    assert (len(INCLUSION), len(CONSISTENCY)) == (98, 98)
    assert sum(case["accepted"] for case in INCLUSION) == 6
    assert sum(case["accepted"] for case in CONSISTENCY) == 6
    assert sum(case["name"] in STRICTER for case in CONSISTENCY) == len(STRICTER)
