"""Files of scores are read strictly, alike from all formats, and never executed."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import InputError
from expunge.verify import scores

ARRAYS: dict[str, Any] = {
    "forgotten": [0.5, -1.25, 3.0],
    "unseen": [0.0, 1.0],
    "retrained_forgotten": [[0.5, 0.25, 1.0], [1.5, 0.75, 2.0]],
}


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def as_csv(arrays: dict[str, Any]) -> str:
    lines = ["array,model,score"]
    for name, values in arrays.items():
        if name in scores.VECTORS:
            lines += [f"{name},,{value!r}" for value in values]
        else:
            lines += [f"{name},{i},{v!r}" for i, model in enumerate(values) for v in model]
    return "\n".join(lines) + "\n"


def written(folder: Path, ending: str, arrays: dict[str, Any]) -> Path:
    path = folder / f"scores{ending}"
    if ending == ".npz":
        return npz(path, **{name: np.array(values) for name, values in arrays.items()})
    path.write_text(as_csv(arrays) if ending == ".csv" else json.dumps(arrays), encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", [".npz", ".json", ".csv"])
def test_all_formats_say_the_same(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path, ending, ARRAYS)
    found = scores.read(path)
    assert found.arrays.keys() == ARRAYS.keys()
    for name, values in ARRAYS.items():
        assert found.arrays[name].tolist() == values
        assert found.arrays[name].dtype == np.float64
    assert found.sha256 == sha256(path.read_bytes()).hexdigest()
    assert found.get("retained") is None


def test_a_short_csv_needs_no_models(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("array,score\nforgotten,1\nunseen,2e-1\nforgotten,-3\n")
    found = scores.read(path)
    assert found.arrays["forgotten"].tolist() == [1.0, -3.0]
    assert found.arrays["unseen"].tolist() == [0.2]


@given(st.lists(st.integers(1, 999), min_size=2, max_size=20, unique=True))
def test_every_kind_ranks_rows_alike(values: list[int]) -> None:
    share = np.array(values) / 1000
    order = np.argsort(share).tolist()
    for kind, given_ in (
        ("score", share),
        ("confidence", share),
        ("loss", -np.log(share)),
        ("margin", np.log(share) - np.log(1 - share)),
    ):
        found = scores.of({"forgotten": given_}, kind)  # type: ignore[arg-type]
        assert np.argsort(found.arrays["forgotten"]).tolist() == order


def test_confidences_become_log_odds_and_certainty_stays_finite() -> None:
    found = scores.of({"unseen": [0.5, 0.75, 0.0, 1.0]}, "confidence").arrays["unseen"]
    assert found.tolist() == pytest.approx([0.0, np.log(3), np.log(1e-45), -np.log(1e-45)])


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"forgoten": [1.0]}, "no array 'forgoten'"),
        ({"forgotten": [[1.0]]}, "(1, 1)"),
        ({"shadow_in": [1.0]}, "(models, rows)"),
        ({"forgotten": []}, "at least one row"),
        ({"forgotten": ["high"]}, "Expected numbers"),
        ({"forgotten": [True]}, "Expected numbers"),
        ({"forgotten": [None]}, "Expected numbers"),
        ({"forgotten": {}}, "Expected numbers"),
        ({"never_models": [[1.0], [1.0, 2.0]]}, "as many rows for each model"),
        ({"forgotten": [np.inf]}, "not finite"),
        ({"forgotten": [np.nan]}, "not finite"),
        ({"forgotten": [1e31]}, "beyond ±1e+30"),
        ({"forgotten": [1.0], "retrained_forgotten": [[1.0, 2.0]]}, "about 2 rows"),
        ({"never_models": [[1.0]], "forgotten_models": [[1.0, 2.0]]}, "the same rows"),
        ({"retrained_forgotten": [[1.0]], "retrained_unseen": [[1.0], [2.0]]}, "the same models"),
        ({"forgotten": [1.0], "unseen": [1.0], "shadow_in": [[1.0]]}, "Expected 2: the forgotten"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        scores.of(arrays)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("loss", -0.1, "negative loss"),
        ("confidence", 1.1, "outside of"),
        ("entropy", 0.5, "not known"),
    ],
)
def test_numbers_that_are_not_of_their_kind_are_refused(kind: Any, value: float, said: str) -> None:
    with pytest.raises(InputError, match=said):
        scores.of({"forgotten": [value]}, kind)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("s.txt", "", "Expected one of .npz, .json, .csv"),
        ("s", "", "without an ending"),
        ("s.json", "[1]", "no JSON object"),
        ("s.json", "{", "no JSON"),
        ("s.json", "[" * 100_000, "no JSON"),
        ("s.json", '{"forgotten": [NaN]}', "holds NaN"),
        ("s.json", '{"forgotten": [1], "forgotten": [2]}', "one name twice"),
        ("s.csv", "", "first line"),
        ("s.csv", "forgotten,unseen\n1,2\n", "first line"),
        ("s.csv", "array,score\nforgotten\n", "Line 2 "),
        ("s.csv", "array,score\nforgotten,1,2\n", "Line 2 "),
        ("s.csv", "array,score\nforgotten,1\nforgotten,high\n", "Line 3 "),
        ("s.csv", "array,score\nforgotten,1_0\n", "Line 2 "),
        ("s.csv", "array,score\nforgotten,nan\n", "Line 2 "),
        ("s.csv", "array,model,score\nshadow_in,-1,2\n", "Line 2 "),
        ("s.csv", "array,model,score\nshadow_in,x,2\n", "Line 2 "),
        ("s.csv", "array,model,score\nshadow_in,0,2\nshadow_in,,2\n", "others do not"),
        ("s.csv", 'array,score\n"forgotten,1\n', "no CSV"),
        ("s.npz", "PK", "no NPZ"),
    ],
)
def test_files_that_are_something_else_are_refused(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        scores.read(path)
    assert said in str(caught.value)


class Trap:
    """Unpickling it leaves a mark."""

    sprung = False

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return (_spring, ())


def _spring() -> None:
    Trap.sprung = True


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    objects = np.empty(1, dtype=object)
    objects[0] = Trap()
    with pytest.raises(InputError, match="objects are not"):
        scores.read(npz(tmp_path / "s.npz", forgotten=objects))
    raw = tmp_path / "raw.npz"
    with zipfile.ZipFile(raw, "w") as archive:
        archive.writestr("forgotten", pickle.dumps(Trap()))
    with pytest.raises(InputError):
        scores.read(raw)
    assert not Trap.sprung


def test_what_would_not_fit_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.npz"
    np.savez_compressed(path, forgotten=np.zeros(100_000))
    monkeypatch.setattr(scores, "NUMBERS", 1_000)
    monkeypatch.setattr(scores, "FILE_BYTES", 10_000)
    with pytest.raises(InputError, match="More than 1,000 numbers"):
        scores.read(path)
    with pytest.raises(InputError, match="More than 1,000 numbers"):
        scores.of({"forgotten": np.zeros(1_001)})
    (tmp_path / "s.csv").write_bytes(b"array,score\n" + b"forgotten,1\n" * 1_000)
    with pytest.raises(InputError, match="larger than"):
        scores.read(tmp_path / "s.csv")


def test_a_torn_archive_is_refused(tmp_path: Path) -> None:
    whole = io.BytesIO()
    np.savez(whole, forgotten=np.arange(1000.0))
    data = bytearray(whole.getvalue())
    data[500] ^= 1
    (tmp_path / "s.npz").write_bytes(data)
    with pytest.raises(InputError, match="no NPZ"):
        scores.read(tmp_path / "s.npz")
