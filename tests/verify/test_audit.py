"""Audits of a home's own models: the rebuilt one passes, what only looks rebuilt does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import expunge
from expunge.core import rng
from expunge.core.errors import InputError, PlanStale, UnknownName
from expunge.execution.local import Inline
from expunge.home import Home
from expunge.ledger import offline
from expunge.metrics import chance
from expunge.requests.states import State
from expunge.storage import packs
from expunge.testing.fakes import Nudged, Tiny, people
from expunge.training import versions
from expunge.training.recipe import Sharded
from expunge.verify import shadows
from expunge.verify.report import Check, Report
from expunge.verify.settings import Settings

tree = pytest.importorskip("sklearn.tree")

STAY, GONE, UNSEEN = 900, 500, 1000
FAST = Settings(shadows=8, retrains=6, retained=600)


def rows(count: int, first: int, flip: float = 0.2) -> dict[str, NDArray[Any]]:
    """People in two classes by a rule that a fifth of them breaks: who knows them was there."""
    key = rng.seed("audited", first)
    x = chance.normal((count, 4), key)
    kind = x[:, 0] + x[:, 1] > 0
    kind ^= chance.uniform((count,), rng.seed(key, "flip")) < flip
    return {
        "id": np.array([f"s{number}" for number in range(first, first + count)]),
        **{f"x{i}": x[:, i] for i in range(4)},
        "y": np.where(kind, "yes", "no"),
    }


def some(table: dict[str, NDArray[Any]], start: int, stop: int) -> dict[str, NDArray[Any]]:
    return {name: column[start:stop] for name, column in table.items()}


EVERYBODY, STRANGERS = rows(STAY + GONE, 0), rows(UNSEEN, 10**6)
FORGOTTEN = some(EVERYBODY, STAY, STAY + GONE)


def learner() -> expunge.Sklearn:
    return expunge.Sklearn(tree.DecisionTreeClassifier())


def prepared(home: Home, recipe: Sharded | None = None) -> bytes:
    """A model that memorised everybody; returns its first state."""
    home.ingest("people", EVERYBODY, id="id", values=["y"])
    home.train("m", home.dataset("people").view("y"), recipe or Sharded(learner()))
    return state(home)


def forgot(home: Home, undo_s: float = 3600.0) -> str:
    receipt = home.forget(FORGOTTEN["id"].tolist(), undo_s=undo_s)
    home.recover()
    return receipt.request


def paths(home: Home) -> list[Path]:
    with home.site.database.reading() as transaction:
        row = home.site.model(transaction, "m")
    return list(versions.pack_paths(row, 0))


def state(home: Home) -> bytes:
    (path,) = paths(home)
    with packs.reading(path) as pack:
        assert pack is not None
        return pack.read(pack.frames()[-1])


def serve(home: Home, payload: bytes) -> None:
    """Publish other bytes under the name of the rebuilt model."""
    (path,) = paths(home)
    with packs.writing(path) as pack:
        *kept, last = pack.frames()
        pack.cut(kept)
        pack.append(kept[-1] if kept else None, last.name, last.samples, payload)
        pack.sync()
    with home.site.database.transaction() as transaction:
        row = home.site.model(transaction, "m")
        versions.publish(transaction, row, home.site.locked_ground(transaction, row.dataset), [0])


def check(report: Report, name: str) -> Check:
    return next(one for one in report.checks if one.name == name)


def test_a_rebuilt_model_passes_and_an_untouched_one_under_its_name_fails(home: Home) -> None:
    before = prepared(home)
    forgot(home)

    honest = home.audit("m", unseen=STRANGERS, settings=FAST)
    assert honest.verdict == "passed", [(c.name, c.why) for c in honest.checks]
    assert (honest.level, honest.subject) == (6, "m")
    assert check(honest, "control-retained").verdict == "passed"

    serve(home, before)
    tampered = home.audit("m", unseen=STRANGERS, settings=FAST)
    assert tampered.verdict == "failed"
    assert tampered.level == 0
    attacks = ("lira-auc", "confidence-auc", "rmia-auc", "label-only-auc")
    for name in (*attacks, "gold-scores", "gold-accuracy-forgotten"):
        assert check(tampered, name).verdict == "failed", name
    assert check(tampered, "gold-divergence-forgotten").verdict == "failed"
    assert check(tampered, "epsilon-bound").verdict == "failed"


def test_over_forgetting_fails(home: Home, opened: Callable[..., Home], tmp_path: Path) -> None:
    prepared(home)
    forgot(home)
    other = opened(tmp_path / "other")
    wrong = {**FORGOTTEN, "y": np.where(FORGOTTEN["y"] == "yes", "no", "yes")}
    mixed = {n: np.concatenate([EVERYBODY[n][:STAY], wrong[n]]) for n in EVERYBODY}
    other.ingest("people", mixed, id="id", values=["y"])
    other.train("m", other.dataset("people").view("y"), Sharded(learner()))
    serve(home, state(other))

    found = home.audit("m", unseen=STRANGERS, settings=FAST)
    assert found.verdict == "failed"
    lira = check(found, "lira-auc")
    assert lira.value is not None
    assert lira.value < 0.4
    assert lira.verdict == "failed"


def test_rows_that_no_model_saw_may_come_from_another_dataset(home: Home) -> None:
    prepared(home)
    forgot(home)
    schema = home.dataset("people").schema
    home.ingest("strangers", rows(400, 50_000), id="id", schema=schema)
    home.ingest("others", {"id": np.array(["a", "b"]), "z": np.array([1.0, 2.0])}, id="id")
    settings = Settings(shadows=4, retrains=2)
    report = home.audit("m", unseen_dataset="strangers", settings=settings)
    assert check(report, "confidence-auc").value is not None
    for wrong in ("people", "others"):
        with pytest.raises(InputError):
            home.audit("m", unseen_dataset=wrong, settings=settings)
    table = rows(10, 60_000)
    with pytest.raises(InputError, match="twice"):
        home.audit("m", unseen=table, unseen_dataset="strangers", settings=settings)


@pytest.mark.parametrize("unseen", [0, 1, 2])
def test_one_forgotten_row_is_inconclusive_not_an_error(home: Home, unseen: int) -> None:
    home.ingest("people", rows(60, 0), id="id")
    home.train("m", home.dataset("people").view("y"), Tiny())
    home.forget(["s1"], undo_s=3600.0)
    home.recover()
    strangers = rows(unseen, 10**6) if unseen else None
    report = home.audit("m", unseen=strangers, settings=Settings(shadows=4, retrains=2))
    assert [one for one in report.checks if one.verdict == "failed"] == []
    assert "two rows" in check(report, "gold-scores").why


def test_retrained_models_are_built_not_made_by_the_method_that_is_audited(home: Home) -> None:
    home.ingest("people", rows(200, 0), id="id")
    home.train("m", home.dataset("people").view("y"), Nudged())
    settings = Settings(shadows=4, retrains=2)
    for sample in ("s1", "s2"):
        home.forget([sample], undo_s=3600.0)
        home.recover()
        report = home.audit("m", settings=settings)
    assert report.guarantee == "empirical"
    assert [fact.kind for fact in home.facts()].count("unit.forgot") == 2
    assert not list((home.site.root / "audits").rglob("*.past"))


def test_without_unseen_rows_what_needs_them_is_inconclusive_and_says_why(home: Home) -> None:
    before = prepared(home)
    forgot(home)
    found = home.audit("m", settings=FAST)
    assert found.verdict == "inconclusive"
    assert found.level == 6  # what compares with retrained models needs none
    membership = [one for one in found.checks if one.group == "membership"]
    assert {one.verdict for one in membership} == {"inconclusive"}
    assert all("`unseen`" in one.why for one in membership)
    serve(home, before)
    assert home.audit("m", settings=FAST).verdict == "failed"


def test_too_few_rows_are_inconclusive_and_say_how_many_it_takes(home: Home) -> None:
    prepared(home)
    forgot(home)
    found = home.audit(
        "m", forgot=some(FORGOTTEN, 0, 40), unseen=some(STRANGERS, 0, 40), settings=FAST
    )
    area = check(found, "lira-auc")
    assert area.verdict == "inconclusive"
    assert "rows of each kind" in area.why
    assert area.minimum_effect is not None
    assert area.minimum_effect > 0.1
    assert found.verdict != "passed"


def test_destroyed_rows_are_given_by_the_caller(home: Home) -> None:
    prepared(home)
    forgot(home, undo_s=0)
    with pytest.raises(InputError, match="held"):
        home.audit("m", unseen=STRANGERS, settings=FAST)
    found = home.audit("m", forgot=FORGOTTEN, unseen=STRANGERS, settings=FAST)
    assert found.verdict != "failed"
    assert found.settings["forgotten"] == "given"


def test_certificates_have_the_levels_that_audits_showed(home: Home) -> None:
    prepared(home)
    request = forgot(home, undo_s=0)
    home.audit("m", forgot=FORGOTTEN, unseen=STRANGERS, settings=FAST)
    checked = offline.verify(home.certificate(request).data, [home.ledger.vkey])
    assert checked.ok, checked.text
    holds = {level.level: level.holds for level in checked.levels}
    assert holds[5]
    assert holds[6]
    told = [fact.body for fact in home.facts() if fact.kind == "audit.finished"]
    assert [(one["method"], one["verdict"]) for one in told] == [
        ("membership", "passed"),
        ("gold-standard", "passed"),
    ]
    assert told[0]["figures"]["rows"] == "given"
    assert told[0]["figures"]["counts"]["forgotten rows"] == GONE


class Counting:
    """Runs calls in this process, and counts the checkpoints that they built."""

    def __init__(
        self, stop_after: int | None = None, then: Callable[[], None] | None = None
    ) -> None:
        self.built, self.calls = 0, 0
        self._stop, self._then = stop_after, then

    def run(
        self, function: str, arguments: Sequence[dict[str, Any]], report: Any
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, result in Inline().run(function, arguments, report):
            self.built += result["built"]
            self.calls += 1
            if self.calls == self._stop:
                if self._then is None:
                    raise KeyboardInterrupt
                self._then()
            yield index, result

    def kill(self) -> None:
        """Nothing to kill."""

    def close(self) -> None:
        """Nothing to close."""


def test_what_an_audit_built_is_not_built_again(
    opened: Callable[..., Home], tmp_path: Path
) -> None:
    counting = Counting()
    home = opened(tmp_path / "home", executor=counting)
    prepared(home)
    forgot(home)
    counting.built = 0
    first = home.audit("m", unseen=STRANGERS, settings=FAST)
    assert counting.built == FAST.shadows + FAST.retrains
    second = home.audit("m", unseen=STRANGERS, settings=FAST)
    assert counting.built == FAST.shadows + FAST.retrains
    assert first.checks == second.checks


def test_a_killed_audit_goes_on_where_it_was(opened: Callable[..., Home], tmp_path: Path) -> None:
    home = opened(tmp_path / "home")
    prepared(home)
    forgot(home)
    home.close()
    killed = opened(tmp_path / "home", executor=Counting(stop_after=5))
    with pytest.raises(KeyboardInterrupt):
        killed.audit("m", unseen=STRANGERS, settings=FAST)
    killed.close()
    rest = Counting()
    again = opened(tmp_path / "home", executor=rest)
    again.audit("m", unseen=STRANGERS, settings=FAST)
    assert rest.built == FAST.shadows + FAST.retrains - 5


def test_destroying_rows_destroys_every_model_that_audits_trained(home: Home) -> None:
    prepared(home)
    forgot(home)
    home.audit("m", unseen=STRANGERS, settings=FAST)
    assert len(list(home.site.audits.rglob("*.pack"))) == FAST.shadows + FAST.retrains
    home.forget(EVERYBODY["id"][:3].tolist()).wait()
    assert list(home.site.audits.rglob("*")) == []


def test_rows_that_are_destroyed_during_an_audit_leave_no_model_behind(
    opened: Callable[..., Home], tmp_path: Path
) -> None:
    def destroy() -> None:
        meanwhile = opened(tmp_path / "home")
        meanwhile.forget(EVERYBODY["id"][:3].tolist()).wait()
        meanwhile.close()

    home = opened(tmp_path / "home", executor=Inline())
    prepared(home)
    forgot(home)
    home.close()
    auditing = opened(tmp_path / "home", executor=Counting(stop_after=3, then=destroy))
    with pytest.raises(PlanStale):
        auditing.audit("m", unseen=STRANGERS, settings=FAST)
    for path in auditing.site.audits.rglob("*.pack"):
        with packs.reading(path) as pack:
            assert pack is not None
            assert pack.frames() == []  # the unit that found its rows gone built nothing
    assert auditing.audit("m", unseen=STRANGERS, settings=FAST).verdict == "passed"


def test_what_a_killed_destruction_moved_away_goes_with_the_next(home: Home) -> None:
    prepared(home)
    left = home.site.audits / "gone-before"
    left.mkdir(parents=True)
    (left / "x.pack").write_bytes(b"remembers")
    forgot(home, undo_s=0)
    assert not left.exists()


def test_a_retired_models_audits_go(home: Home) -> None:
    prepared(home)
    forgot(home)
    home.audit("m", unseen=STRANGERS, settings=FAST)
    home.retire("m", reason="superseded")
    assert list(home.site.audits.rglob("*.pack")) == []


def test_sharded_models_in_slices_are_audited_as_they_are_built(home: Home) -> None:
    home.ingest("people", people(400), id="id", subject="who")
    home.train("m", home.dataset("people").view("y"), Sharded(Tiny(), shards=2, slices=2))
    home.forget(subjects=[f"p{n}" for n in range(20)], undo_s=3600.0)
    home.recover()
    few = Settings(shadows=4, retrains=3)
    found = home.audit("m", unseen=people(200, seed=1, first=10_000), settings=few)
    assert found.verdict != "failed"
    assert check(found, "gold-scores").counts["rows"] == 80
    assert len(list(home.site.audits.rglob("*.pack"))) == 2 * 7


def test_regressions_and_strangers_are_refused(home: Home) -> None:
    home.ingest("people", people(60), id="id")
    home.train("m", home.dataset("people").view("x0", features=["x1", "x2"]), Sharded(Tiny()))
    with pytest.raises(InputError, match="regression"):
        home.audit("m", settings=FAST)
    with pytest.raises(UnknownName):
        home.audit("nobody", settings=FAST)


def test_rows_of_a_class_that_is_not_declared_are_refused(home: Home) -> None:
    prepared(home)
    forgot(home)
    with pytest.raises(InputError):
        home.audit("m", unseen={**STRANGERS, "y": np.repeat("maybe", UNSEEN)}, settings=FAST)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=40), st.integers(1, 8))
def test_each_row_is_in_half_of_the_shadows_and_nobody_moves_when_it_leaves(
    keys: list[int], pairs: int
) -> None:
    tokens = np.array(keys, np.uint64)
    inside = shadows.halves(tokens, 2 * pairs, seed=0)
    assert (inside.sum(axis=0) == pairs).all()
    np.testing.assert_array_equal(shadows.halves(tokens[1:], 2 * pairs, seed=0), inside[:, 1:])
    np.testing.assert_array_equal(inside[:, 0], shadows.halves(tokens[:1], 2 * pairs, 0)[:, 0])


def test_halves_differ_between_shadows_and_seeds() -> None:
    keys = np.arange(500, dtype=np.uint64)
    inside = shadows.halves(keys, 16, seed=0)
    assert abs(np.corrcoef(inside)[~np.eye(16, dtype=bool)]).max() < 0.25
    assert (shadows.halves(keys, 16, seed=1) != inside).mean() > 0.4


@pytest.mark.parametrize(
    "wrong",
    [
        {"shadows": 5},
        {"shadows": 2},
        {"retrains": 1},
        {"retained": 0},
        {"margin": 0.5},
        {"rates": ((0.0, 0.1),)},
        {"accuracy": 0.0},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Settings(**wrong)


def test_a_destruction_that_was_killed_before_the_audits_models_is_finished_by_the_next(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(home)
    forgot(home)
    home.audit("m", unseen=STRANGERS, settings=FAST)
    receipt = home.forget(EVERYBODY["id"][:3].tolist())
    with monkeypatch.context() as patch:
        patch.setattr("expunge.training.site.disk.replace", _killed)
        with pytest.raises(KeyboardInterrupt):
            receipt.wait()
    assert receipt.state is not State.DONE
    assert list(home.site.audits.rglob("*.pack"))
    receipt.wait()
    assert list(home.site.audits.rglob("*.pack")) == []


def _killed(*_: object) -> None:
    raise KeyboardInterrupt
