"""Networks of users: taken in, made to forget, searched for, and never broken."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.methods.empirical.posthoc import bits, plain, rows
from torch import nn

import expunge
from expunge.core.errors import ForgettingNotAchieved, InputError, UnknownName
from expunge.core.types import Guarantee
from expunge.learners.seeding import one_thread
from expunge.methods.empirical import POSTHOC, auto, figures, work
from expunge.methods.empirical.auto import Auto, Judge, split
from expunge.methods.empirical.figures import Seen
from expunge.methods.empirical.fine_tuning import FineTuning
from expunge.methods.empirical.outcome import NotAchieved
from expunge.methods.empirical.rows import Rows


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    with one_thread():
        yield


def pair(of: Rows) -> tuple[np.ndarray, np.ndarray]:
    return of.inputs.numpy(), of.targets.numpy()


@pytest.fixture(scope="module")
def learnt() -> tuple[nn.Module, Rows, Rows, Rows]:
    """A network that knows its rows too well; rows that stay, that go, and that it never saw."""
    whole = rows(360, 1, apart=1.0)
    retain, forget = whole.take(torch.arange(240)), whole.take(torch.arange(240, 360))
    module = FineTuning(lr=0.1, epochs=60).forget(plain(), whole, forget).module
    return module, retain, forget, rows(360, 2, apart=1.0)


@pytest.fixture
def adopted(learnt):
    module, retain, forget, unseen = learnt
    return expunge.adopt(module, retain=pair(retain), forget=pair(forget), validation=pair(unseen))


def test_three_lines_are_enough(learnt):
    module, retain, forget, _ = learnt
    before = bits(module)
    outcome = expunge.adopt(module, retain=pair(retain), forget=pair(forget)).forget("scrub")
    assert outcome.guarantee is Guarantee.EMPIRICAL
    assert (outcome.method, outcome.finished, outcome.achieved) == ("scrub", True, True)
    assert outcome.steps > 0
    assert outcome.seconds > 0
    assert bits(outcome.module) != bits(module) == before
    assert set(outcome.before) == set(outcome.after)
    assert "validation_accuracy" not in outcome.before


def test_figures_are_those_of_the_rows(adopted):
    outcome = adopted.forget("fine-tuning")
    for module, found in ((adopted.module, outcome.before), (outcome.module, outcome.after)):
        for name, of in (
            ("retain", adopted.retained),
            ("forget", adopted.leaving),
            ("validation", adopted.validation),
        ):
            with torch.no_grad():
                logits = module(of.inputs)
            hits = (logits.argmax(dim=1) == of.targets).double().mean().item()
            assert found[f"{name}_accuracy"] == pytest.approx(hits)
            loss = nn.functional.cross_entropy(logits.double(), of.targets).item()
            assert found[f"{name}_loss"] == pytest.approx(loss)
        assert 0.5 <= found["forget_auc"] <= 1


def test_a_method_with_knobs_a_seed_and_tensors(learnt):
    module, retain, forget, _ = learnt
    given = {"retain": (retain.inputs, retain.targets), "forget": pair(forget)}
    mine = FineTuning(lr=0.003, epochs=1)
    outcomes = [expunge.adopt(module, **given).forget(mine, seed=seed) for seed in (1, 1, 2)]
    assert outcomes[0].knobs["lr"] == 0.003
    assert bits(outcomes[0].module) == bits(outcomes[1].module) != bits(outcomes[2].module)


def test_float64_arrays_fit_a_float32_network(learnt):
    module, retain, forget, _ = learnt
    x, y = pair(retain)
    outcome = expunge.adopt(module, retain=(x.astype(np.float64), y), forget=pair(forget)).forget(
        FineTuning(epochs=1)
    )
    assert next(outcome.module.parameters()).dtype == torch.float32


def test_what_cannot_be_is_refused(learnt):
    module, retain, forget, _ = learnt
    adopted = expunge.adopt(module, retain=pair(retain), forget=pair(forget))
    with pytest.raises(UnknownName, match="scrub-r"):
        adopted.forget("scrubs")
    with pytest.raises(InputError, match="give `validation`"):
        adopted.forget("auto")
    with pytest.raises(InputError, match="Rows differ in shape"):
        expunge.adopt(module, retain=pair(retain), forget=(np.ones((2, 5)), np.zeros(2, int)))
    for fields in ({"auc_margin": 0.5}, {"auc_margin": 0}, {"tries": 0}, {"methods": ()}):
        with pytest.raises(InputError):
            Auto(**fields)
    with pytest.raises(InputError):
        Auto(accuracy_points=math.nan)


# The search ------------------------------------------------------------------------------------


def test_what_the_search_returns_keeps_the_constraints_on_rows_that_did_not_choose(adopted):
    before = bits(adopted.module)
    searched = Auto(accuracy_points=5, auc_margin=0.12)
    outcome = adopted.forget(searched, seed=3)
    assert outcome.achieved, outcome.why
    lost = 100 * (outcome.before["validation_accuracy"] - outcome.after["validation_accuracy"])
    assert lost <= 5
    assert outcome.after["forget_auc"] <= 0.62
    assert outcome.tried[-1].outcome == "kept" or any(t.outcome == "kept" for t in outcome.tried)
    assert bits(adopted.module) == before
    again = adopted.forget(searched, seed=3)
    assert bits(again.module) == bits(outcome.module)
    assert [t.knobs for t in again.tried] == [t.knobs for t in outcome.tried]


def test_what_was_not_achieved_has_no_network_but_all_that_was_tried(adopted):
    # Nobody gains so many points of accuracy.
    wanted = Auto(accuracy_points=-60, auc_margin=0.12, methods=("fine-tuning", "ct"), tries=2)
    outcome = adopted.forget(wanted)
    assert not outcome.achieved
    assert "lost more than -60 points" in outcome.why
    tried = [(trial.method, trial.outcome.partition(":")[0]) for trial in outcome.tried]
    refused = ("ct", "The method 'ct' cannot work on this module")
    assert tried == [("fine-tuning", "not kept"), refused] * 2
    assert outcome.tried[0].accuracy_points > -60
    assert outcome.tried[1].forget_auc is None
    with pytest.raises(ForgettingNotAchieved, match="in 4 tries"):
        _ = outcome.module


def test_no_time_is_said_so(adopted):
    outcome = adopted.forget(Auto(auc_margin=0.12), budget_s=0.0)
    assert (outcome.achieved, outcome.tried) == (False, ())
    assert "time was over" in outcome.why


def test_time_that_ends_on_the_way_is_no_success(adopted, monkeypatch):
    now = [time.perf_counter()]
    clock = SimpleNamespace(perf_counter=lambda: now[0])
    for module in (auto, work):
        monkeypatch.setattr(module, "time", clock)

    def later(_: int) -> None:
        now[0] += 1.0

    outcome = adopted.forget(
        Auto(accuracy_points=-60, auc_margin=0.12), budget_s=60, progress=later
    )
    assert not outcome.achieved
    assert outcome.tried[-1].outcome == "out of time"
    assert 0 < outcome.tried[-1].steps <= 61


def test_divergences_are_trials_like_others(adopted, monkeypatch):
    def wild(name, number, seed):
        return FineTuning(lr=1e38, epochs=9)

    monkeypatch.setattr(auto.spaces, "drawn", wild)
    outcome = adopted.forget(Auto(auc_margin=0.12, tries=1, methods=("fine-tuning",)))
    assert outcome.why == "all 1 ended with an error."
    assert "diverged" in outcome.tried[0].outcome


def test_a_candidate_that_only_chance_chose_is_not_handed_over(adopted, monkeypatch):
    # The half that chooses says yes to all; the half that confirms says what it sees.
    whole = Judge.of
    halves = iter([True, False])

    def of(auto_, module, given):
        judge = whole(auto_, module, given)
        if next(halves):
            return dataclasses.replace(judge, accuracy=-9.0)
        return dataclasses.replace(judge, accuracy=9.0)

    monkeypatch.setattr(Judge, "of", of)
    outcome = adopted.forget(Auto(auc_margin=0.4, tries=1, methods=("fine-tuning",)))
    assert isinstance(outcome, NotAchieved)
    assert "none on those that confirm" in outcome.why


def test_so_few_rows_that_nothing_shows_are_not_judged(learnt):
    module, retain, forget, unseen = learnt
    few = forget.take(torch.arange(9))
    adopted = expunge.adopt(module, retain=pair(retain), forget=pair(few), validation=pair(unseen))
    outcome = adopted.forget("auto")
    assert outcome.tried == ()
    assert "9 rows to forget" in outcome.why
    assert outcome.before["forget_accuracy"] <= 1


@given(st.integers(0, 99), st.lists(st.integers(2, 7), min_size=3, max_size=3))
def test_halves_share_each_class(seed, counts):
    targets = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    of = Rows(torch.arange(len(targets))[:, None], targets)
    one, other = split(of, of, seed)
    both = torch.cat([one.inputs, other.inputs])[:, 0]
    assert sorted(both.tolist()) == list(range(len(targets)))
    for code in range(3):
        found = [int((half.targets == code).sum()) for half in (one, other)]
        assert abs(found[0] - found[1]) <= 1


def test_a_class_with_a_single_unseen_row_is_refused():
    forget = rows(3, 1)
    with pytest.raises(InputError, match="fewer than two rows"):
        split(forget, forget, 1)


def test_accuracy_counts_classes_that_stay():
    logits = np.eye(3)[[0, 1, 0, 0]]
    seen = Seen(logits, np.array([0, 1, 2, 2]))
    assert seen.accuracy() == 0.5
    assert seen.accuracy(np.array([0, 1])) == 1


def test_losses_are_compared_within_classes():
    # Class 1 is harder for all: over classes together the AUC would be far from a half.
    easy, hard = [[2.0, 0.0]], [[1.0, 0.0]]
    forget = Seen(np.array(easy * 1 + hard * 9), np.array([0] + [1] * 9))
    unseen = Seen(np.array(easy * 9 + hard * 1), np.array([0] * 9 + [1]))
    assert figures.told(forget, unseen) == 0.5
    # Forgotten rows of class 0 are surer than unseen ones, and half of all.
    forget = Seen(np.array([[3.0, 0.0], [0.0, 1.0]]), np.array([0, 1]))
    unseen = Seen(np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([0, 1]))
    assert figures.told(forget, unseen) == 0.75
    assert figures.told(unseen, forget) == 0.75  # two-sided
    with pytest.raises(InputError, match="No unseen row"):
        figures.told(forget, Seen(np.ones((1, 2)), np.array([0])))


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_the_chance_error_is_that_of_rows_drawn_alike(seed):
    rng = np.random.default_rng(seed)
    forget, unseen = np.repeat([0, 1], [12, 30]), np.repeat([0, 1], [25, 40])
    areas = []
    for _ in range(60):
        a, b = (rng.normal(size=(len(codes), 1)) for codes in (forget, unseen))
        seen = [
            Seen(np.hstack([x, 0 * x]) * (1 - 2 * c[:, None]), c)
            for x, c in ((a, forget), (b, unseen))
        ]
        areas.append(figures.told(*seen) - 0.5)
    # |area − ½| of a normal variable has the second moment of the variable.
    found = math.sqrt(np.square(areas).mean())
    assert found == pytest.approx(figures.chance_error(forget, unseen), rel=0.5)


def test_the_examples_of_the_page_run(capsys):
    page = Path(__file__).parents[3] / "docs" / "posthoc.md"
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, names)
    assert "outcome" in names
    capsys.readouterr()


def test_the_page_has_every_method_and_its_costs():
    page = (Path(__file__).parents[3] / "docs" / "posthoc.md").read_text(encoding="utf-8")
    table = page.partition("## Which method")[2].partition("## How they do")[0]
    found = re.findall(r"^\| `([a-z0-9-]+)` \|", table, re.MULTILINE)
    assert sorted(found) == sorted(POSTHOC)
