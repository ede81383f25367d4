"""What every post-hoc method keeps, whatever it does."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import random
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.methods.empirical.posthoc import bits, convolutional, plain, rows
from torch import nn

from expunge.core.errors import InputError, ModuleUnsuitable, UnknownName, UnlearningDiverged
from expunge.core.types import Guarantee
from expunge.learners.seeding import one_thread, seeded
from expunge.learners.torch_modules import convnet
from expunge.methods.empirical import POSTHOC, knobs, spaces
from expunge.methods.empirical.fine_tuning import FineTuning
from expunge.methods.empirical.neg_grad_plus import NegGradPlus
from expunge.methods.empirical.rows import Rows
from expunge.methods.empirical.work import Course

IMAGE = (1, 4, 4)
NEEDS_CONVOLUTIONS = {"ct"}
DRAWS_NOTHING = {"ssd"}
FIRST_SIX = {"fine-tuning", "gradient-ascent", "neg-grad-plus", "scrub", "scrub-r", "salun", "msg"}
SHORT = {
    "epochs": 2,
    "max_epochs": 1,
    "repair_epochs": 1,
    "impair_epochs": 1,
    "noise_steps": 2,
    "noise_batches": 2,
    "forget_batch": 8,
    "batch": 8,
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    with one_thread():
        yield


def short(name, **others):
    kind = POSTHOC[name]
    own = {field.name for field in dataclasses.fields(kind)}
    return kind(**{knob: value for knob, value in {**SHORT, **others}.items() if knob in own})


def run(name, module=None, *, forget=None, seed=0, course=None, **others):
    method = short(name, **others)
    module = convolutional() if module is None else module
    shape = IMAGE if any(isinstance(m, nn.Conv2d) for m in module.modules()) else (4,)
    forget = rows(6, 2, shape) if forget is None else forget
    course = course or Course(unseen=rows(9, 3, shape))
    return method.forget(module, rows(20, 1, shape), forget, seed=seed, course=course)


def test_the_catalogue_has_all_of_them():
    assert set(POSTHOC) == FIRST_SIX | {
        "random-labels",
        "bad-teacher",
        "l1-sparse",
        "ssd",
        "unsir",
        "ct",
    }
    assert set(spaces.SPACES) == set(POSTHOC)
    with pytest.raises(UnknownName):
        POSTHOC["scrubs"]


@pytest.mark.parametrize("name", POSTHOC)
def test_it_is_a_frozen_value_that_promises_nothing_and_cites_its_source(name):
    kind = POSTHOC[name]
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert kind.guarantee is Guarantee.EMPIRICAL
    assert kind.name == name
    words = inspect.getmodule(kind).__doc__
    source = words.partition("References:")[2]
    assert re.search(r"arXiv:\d{4}\.\d{5}", source)
    assert re.search(r"section|equation|algorithm", source)
    assert "Costs" in words
    assert "Fails" in words
    assert {field.name for field in dataclasses.fields(kind)} <= set(knobs.SPANS)
    documented = (kind.__doc__ or "") + (POSTHOC["scrub"].__doc__ or "")
    assert all(f"{field.name}: " in documented for field in dataclasses.fields(kind))


@pytest.mark.parametrize("name", POSTHOC)
def test_equal_seeds_give_equal_networks_and_others_where_it_draws(name):
    one, same, other = (run(name, seed=seed) for seed in (1, 1, 2))
    assert bits(one.module) == bits(same.module)
    assert (bits(one.module) == bits(other.module)) is (name in DRAWS_NOTHING)
    assert one.steps == same.steps
    assert (one.method, one.seed, one.finished, one.achieved) == (name, 1, True, True)
    assert one.knobs == knobs.as_json(short(name))


@pytest.mark.parametrize("name", POSTHOC)
def test_what_is_given_stays_byte_for_byte_and_so_does_the_process_chance(name):
    module, forget = convolutional(), rows(6, 2, IMAGE)
    module[0].weight.grad = torch.ones_like(module[0].weight)
    before, inputs = bits(module), forget.inputs.clone()
    chances = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    outcome = run(name, module, forget=forget)
    assert bits(module) == before
    assert torch.equal(forget.inputs, inputs)
    after = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    assert torch.equal(chances[0], after[0])
    assert chances[1:] == after[1:]
    assert bits(outcome.module) != before
    modes = [layer.training for layer in module.modules()]
    assert [layer.training for layer in outcome.module.modules()] == modes
    assert all(parameter.grad is None for parameter in outcome.module.parameters())


@pytest.mark.parametrize("name", POSTHOC)
def test_a_plain_network_is_served_or_refused_with_advice(name):
    if name in NEEDS_CONVOLUTIONS:
        with pytest.raises(ModuleUnsuitable, match=r"convolution.*Take 'msg'"):
            run(name, plain())
    else:
        # A network that has not learnt the rows: SSD then finds no weight that is theirs alone.
        assert bits(run(name, plain(), selection=0.5).module) != bits(plain())


@pytest.mark.parametrize("name", POSTHOC)
@pytest.mark.parametrize("batch", [1, 1000])
def test_one_row_to_forget_and_batches_of_any_size(name, batch):
    outcome = run(name, forget=rows(1, 2, IMAGE), batch=batch, forget_batch=batch)
    assert outcome.finished
    assert all(torch.isfinite(v).all() for v in outcome.module.state_dict().values())


@pytest.mark.parametrize("name", POSTHOC)
def test_frozen_parameters_stay(name):
    module = convolutional()
    module[-1].weight.requires_grad_(False)
    found = run(name, module, selection=0.5).module
    assert torch.equal(found[-1].weight, module[-1].weight)
    assert not torch.equal(found[0].weight, module[0].weight)


@pytest.mark.parametrize("name", ["salun", "msg", "scrub", "neg-grad-plus", "ssd"])
def test_how_weights_are_laid_out_in_memory_changes_nothing(name):
    with seeded(0):
        module = convnet((2, 4, 4), 3, channels=(3, 4))
    turned = copy.deepcopy(module).to(memory_format=torch.channels_last)
    assert turned[3].weight.stride() != module[3].weight.stride()
    of = rows(20, 1, (2, 4, 4)), rows(6, 2, (2, 4, 4))
    found = [short(name, clip=0.1).forget(each, *of).module for each in (module, turned)]
    for one, other in zip(found[0].parameters(), found[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(set(POSTHOC) - {"ssd"}))
def test_a_divergence_is_an_error_and_harms_nothing(name):
    module = convolutional()
    before = bits(module)
    forget = rows(6, 2, IMAGE)
    endless = {"lr": 1e38, "repair_lr": 1e38, "impair_lr": 1e38, "noise_lr": 1e38}
    with pytest.raises(UnlearningDiverged, match=f"{name}.*diverged.*Lower `lr`"):
        run(name, module, forget=forget, momentum=0.99, epochs=9, **endless)
    assert bits(module) == before


def test_inputs_that_are_not_finite_are_a_divergence_for_a_method_without_steps():
    forget = rows(6, 2, IMAGE)
    forget.inputs[0] = float("nan")
    with pytest.raises(UnlearningDiverged):
        run("ssd", forget=forget)


@pytest.mark.parametrize("name", sorted(set(POSTHOC) - {"ssd"}))
def test_an_interruption_leaves_everything_as_it_was(name):
    module = convolutional()
    before, chance = bits(module), torch.get_rng_state()

    def stop(steps: int) -> None:
        if steps == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(name, module, course=Course(unseen=rows(9, 3, IMAGE), progress=stop))
    assert bits(module) == before
    assert torch.equal(torch.get_rng_state(), chance)


@pytest.mark.parametrize("name", sorted(set(POSTHOC) - {"ssd"}))
def test_a_budget_that_is_spent_ends_it(name):
    outcome = run(name, course=Course(unseen=rows(9, 3, IMAGE), budget_s=0.0))
    assert (outcome.finished, outcome.steps) == (False, 0)


def test_somebody_may_look_after_each_epoch_and_stop():
    seen: list[list[bytes]] = []

    def watch(student: nn.Module) -> bool:
        assert not any(layer.training for layer in student.modules())
        seen.append(bits(copy.deepcopy(student)))
        return len(seen) == 2

    counted: list[int] = []
    course = Course(watch=watch, progress=counted.append)
    outcome = run("fine-tuning", epochs=5, course=course)
    assert (outcome.finished, len(seen)) == (False, 2)
    assert seen[0] != seen[1]
    assert counted == list(range(1, outcome.steps + 1))
    whole = run("fine-tuning", epochs=2)
    assert bits(whole.module) == bits(outcome.module)  # looking changes nothing


@pytest.mark.parametrize("name", POSTHOC)
def test_draws_of_knobs_are_allowed_and_the_first_is_the_defaults(name):
    found = [spaces.drawn(name, number, seed=5) for number in range(6)]
    assert found[0] == POSTHOC[name]()
    assert all(one != other for one, other in pairwise(found))
    assert found == [spaces.drawn(name, number, seed=5) for number in range(6)]
    for method in found[1:]:
        for knob, span in spaces.SPACES[name].items():
            assert span.low <= getattr(method, knob) <= span.high


@pytest.mark.parametrize("name", POSTHOC)
def test_neighbours_are_near_and_in_the_range(name):
    for number in range(1, 6):
        method = spaces.drawn(name, number, seed=5)
        neighbour = spaces.near(method, number, seed=5)
        assert neighbour == spaces.near(method, number, seed=5)
        for knob, span in spaces.SPACES[name].items():
            here, there = (getattr(each, knob) for each in (method, neighbour))
            assert span.low <= there <= span.high
            step = 1 / (span.high - span.low + 1) if isinstance(span.low, int) else 0
            assert abs(span.place(here) - span.place(there)) <= 0.2 + step + 1e-6


@given(
    st.floats(0, 0.999),
    st.sampled_from([(1, 9), (0, 4), (1e-4, 1.0), (0.7, 0.998, True)]),
)
def test_places_and_values_of_a_range_are_each_other(place, ends):
    span = spaces.Range(*ends)
    assert span.low <= span.at(place) <= span.high
    value = span.at(place)
    assert span.at(span.place(value)) == pytest.approx(value)


@pytest.mark.parametrize("name", POSTHOC)
def test_knobs_that_make_no_sense_are_refused_at_once(name):
    kind = POSTHOC[name]
    for field in dataclasses.fields(kind):
        for value in (-1, float("nan"), "1", True):
            with pytest.raises(InputError, match=f"`{field.name}` of '{name}'"):
                kind(**{field.name: value})


@pytest.mark.parametrize(
    ("module", "targets", "words"),
    [
        (nn.Flatten(), 0, "none of its parameters is trained"),
        (nn.Linear(4, 1), 0, r"output of \(1, 1\)"),
        (nn.Linear(4, 2), 2, "targets go up to 2"),
        (nn.Sequential(nn.Linear(4, 3), nn.Flatten(0)), 0, r"output of \(3,\)"),
        (nn.LSTM(4, 3), 0, "output of tuple"),
    ],
)
def test_what_is_no_classifier_is_refused(module, targets, words):
    of = Rows(torch.ones(3, 4), torch.full((3,), targets))
    with pytest.raises(ModuleUnsuitable, match=words):
        FineTuning().forget(module, of, of)


def test_rows_that_do_not_fit_are_refused():
    some, none = rows(4, 1), rows(4, 1).take(torch.arange(0))
    with pytest.raises(InputError, match="`forget` has no rows"):
        FineTuning().forget(plain(), some, none)
    with pytest.raises(InputError, match="`retain` has no rows"):
        NegGradPlus().forget(plain(), none, some)
    with pytest.raises(InputError, match="differ in shape"):
        FineTuning().forget(plain(), some, rows(4, 1, (5,)))


def test_layers_that_cannot_be_drawn_anew_are_named():
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.shift = nn.Linear(4, 3), nn.Parameter(torch.zeros(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) + self.shift

    with pytest.raises(ModuleUnsuitable, match=r"Shifted.*reset_parameters"):
        run("bad-teacher", Shifted())
    with pytest.raises(ModuleUnsuitable, match="no affine layer before the last"):
        run("msg", Shifted())


def test_a_network_that_cannot_be_copied_is_refused():
    module = nn.Linear(4, 3)
    module.kept = module.weight * 2  # computed, so no leaf
    with pytest.raises(ModuleUnsuitable, match="cannot be copied"):
        run("fine-tuning", module)
