"""The losses and steps of post-hoc methods, each computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.methods.empirical.posthoc import convolutional, plain, rows
from torch import nn
from torch.nn import functional

from expunge.core.errors import InputError, ModuleUnsuitable
from expunge.learners.seeding import seeded
from expunge.learners.torch_modules import convnet
from expunge.methods.empirical import layers
from expunge.methods.empirical.bad_teacher import BadTeacher
from expunge.methods.empirical.ct import transpose
from expunge.methods.empirical.fine_tuning import FineTuning
from expunge.methods.empirical.gradient_ascent import GradientAscent
from expunge.methods.empirical.l1_sparse import L1Sparse, absolute
from expunge.methods.empirical.losses import bounded_ascent, distance, error_rate
from expunge.methods.empirical.msg import MSG, rise_and_fall, smallest
from expunge.methods.empirical.neg_grad_plus import NegGradPlus, balance
from expunge.methods.empirical.random_labels import RandomLabels
from expunge.methods.empirical.rows import (
    Rows,
    batches,
    other_labels,
    pairs,
    some,
)
from expunge.methods.empirical.rows import (
    rows as given_rows,
)
from expunge.methods.empirical.salun import SalUn, salient
from expunge.methods.empirical.scrub import Scrub, obedience
from expunge.methods.empirical.scrub_r import ScrubR, closest, like
from expunge.methods.empirical.ssd import SSD, dampen
from expunge.methods.empirical.unsir import Unsir, learn, noise_loss
from expunge.methods.empirical.work import Course, Work, clipped

LOG2 = math.log(2)


def linear(weight: list[list[float]]) -> nn.Linear:
    module = nn.Linear(len(weight[0]), len(weight), bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.tensor(weight))
    return module


def one_row(value: float, target: int) -> Rows:
    return Rows(torch.tensor([[float(value)]]), torch.tensor([target]))


# Losses --------------------------------------------------------------------------------------


def test_ascent_is_minus_the_loss_up_to_the_ceiling():
    # Logits (0, 0): loss log 2. Logits (0, log 3) at class 0: p = 1/4, loss log 4.
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3)]], requires_grad=True)
    targets = torch.tensor([0, 0])
    assert bounded_ascent(logits, targets, math.inf).item() == pytest.approx(-(LOG2 + 2 * LOG2) / 2)
    bounded = bounded_ascent(logits, targets, 1.0)
    assert bounded.item() == pytest.approx(-(LOG2 + 1) / 2)
    (slope,) = torch.autograd.grad(bounded, logits)
    assert slope[1].tolist() == [0, 0]  # it has come to the ceiling
    assert slope[0].tolist() == pytest.approx([0.25, -0.25])  # −(p − onehot) / 2


def test_distance_by_hand_and_its_temperature():
    # Teacher (3/4, 1/4), student (1/2, 1/2): 3/4 log(3/2) + 1/4 log(1/2).
    teacher, student = torch.tensor([[math.log(3), 0.0]]), torch.zeros(1, 2)
    known = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert distance(teacher, student).item() == pytest.approx(known, abs=1e-6)
    # Logits twice as large at T = 2 are the same distributions, times T².
    assert distance(2 * teacher, student, 2.0).item() == pytest.approx(4 * known, abs=1e-6)
    assert distance(teacher, teacher, 3.0).item() == pytest.approx(0, abs=1e-6)


@given(
    st.lists(st.floats(-8, 8), min_size=6, max_size=6),
    st.lists(st.floats(-8, 8), min_size=6, max_size=6),
    st.floats(0.5, 5),
)
def test_distance_is_never_negative_and_ignores_shifts(one, other, temperature):
    teacher, student = (torch.tensor(each, dtype=torch.float64).view(2, 3) for each in (one, other))
    found = distance(teacher, student, temperature).item()
    assert found >= -1e-12
    shifted = distance(teacher + 3, student - 2, temperature).item()
    assert shifted == pytest.approx(found, abs=1e-9)


def test_obedience_weighs_both_parts():
    teacher, student = torch.tensor([[math.log(3), 0.0]]), torch.zeros(1, 2)
    apart = distance(teacher, student, 2.0).item()
    found = obedience(student, teacher, torch.tensor([1]), (0.5, 3.0, 2.0)).item()
    assert found == pytest.approx(0.5 * apart + 3 * LOG2, abs=1e-6)


def test_balance_and_error_rate():
    assert balance(torch.tensor(2.0), torch.tensor(-4.0), 0.75).item() == 0.5
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]])
    assert error_rate(logits, torch.tensor([0, 0, 1])).tolist() == [0, 1, 1]


def test_absolute_is_the_sum_of_all_weights():
    assert absolute([torch.tensor([[1.0, -2.0]]), torch.tensor([-0.5])]).item() == 3.5


def test_noise_loss_by_hand():
    # Two rows of two numbers, ‖x‖² 2 and 8: mean 5. Logits of zeros: loss log 2.
    noise = torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    found = noise_loss(torch.zeros(2, 2), noise, torch.tensor([0, 1]), 0.1)
    assert found.item() == pytest.approx(0.5 - LOG2)


# Single steps of one weight ---------------------------------------------------------------------
# Two classes, logits (w·x, 0), x = 1, w = 0: p = 1/2. The loss of class 0 has slope p − 1 = −1/2,
# that of class 1 slope +1/2. The second weight mirrors the first, from which it starts at 0.

ONE_STEP = [
    # Stays at class 0, leaves at class 0: down −1/2, and up +1/2.
    (FineTuning(lr=0.1, epochs=1), 0.05),
    (GradientAscent(lr=0.1, epochs=1, ceiling=9.0, repair_epochs=0), -0.05),
    (GradientAscent(lr=0.1, epochs=1, ceiling=0.1, repair_epochs=0), 0.0),
    (NegGradPlus(retained_weight=0.75, lr=0.1, epochs=1), 0.1 * (0.75 * 0.5 - 0.25 * 0.5)),
    (NegGradPlus(retained_weight=0.75, lr=0.1, epochs=1, ceiling=0.1), 0.1 * 0.75 * 0.5),
    (NegGradPlus(retained_weight=0.75, lr=0.1, epochs=1, clip=0.01), 0.001 / math.sqrt(2)),
    (FineTuning(lr=0.1, epochs=1, weight_decay=0.5), 0.05),
]


@pytest.mark.parametrize(("method", "moved"), ONE_STEP)
def test_one_step_by_hand(method, moved):
    found = method.forget(linear([[0.0], [0.0]]), one_row(1, 0), one_row(1, 0)).module
    assert found.weight[:, 0].tolist() == pytest.approx([moved, -moved], abs=1e-7)


def test_gradient_ascent_with_no_bound_named_stops_at_a_guess():
    # log 2 is what a guess has, and where the ascent begins: nothing is left to do.
    method = GradientAscent(lr=0.1, epochs=3, repair_epochs=0)
    sure = linear([[0.5], [-0.5]])
    found = method.forget(sure, one_row(1, 0), one_row(-1, 0)).module
    assert torch.equal(found.weight, sure.weight)


def test_repair_follows_the_ascent():
    method = GradientAscent(lr=0.1, epochs=1, ceiling=9.0, repair_lr=0.2, repair_epochs=1)
    found = method.forget(linear([[0.0], [0.0]]), one_row(1, 0), one_row(1, 0)).module
    # The ascent came to −0.05; there p = σ(−0.1), and the repair goes 0.2 (1 − p) up.
    p = 1 / (1 + math.exp(0.1))
    assert found.weight[0, 0].item() == pytest.approx(-0.05 + 0.2 * (1 - p), abs=1e-6)


def test_a_second_epoch_has_momentum():
    found = FineTuning(lr=0.1, epochs=2).forget(
        linear([[0.0], [0.0]]), one_row(1, 0), one_row(1, 0)
    )
    p = 1 / (1 + math.exp(-0.1))
    momentum = 0.9 * 0.5 + (1 - p)
    assert found.module.weight[0, 0].item() == pytest.approx(0.05 + 0.1 * momentum, abs=1e-6)


def test_the_first_step_of_random_labels_learns_the_other_class():
    found = RandomLabels(lr=0.1, epochs=1, momentum=0.0).forget(
        linear([[0.0], [0.0]]), one_row(0, 0), one_row(1, 0)
    )
    assert found.module.weight[0, 0].item() == pytest.approx(-0.05)  # class 1 is learnt


def test_scrub_cannot_begin_by_ascent_alone():
    # At the teacher itself the divergence is at its minimum: no gradient, so no max-step moves.
    module = linear([[0.3], [-0.3]])
    method = Scrub(epochs=1, max_epochs=1, alpha=1.0, gamma=0.0)
    found = method.forget(module, one_row(0, 0), one_row(1, 0)).module
    assert found.weight[0, 0].item() == pytest.approx(0.3, abs=1e-3)


def without_a_class() -> tuple[nn.Module, Rows, Rows]:
    """A network, rows of two classes, and those of a third that it knew, too."""
    whole = rows(60, 1)
    gone = whole.targets == 2
    retain, forget = (whole.take(which.nonzero()[:, 0]) for which in (~gone, gone))
    return FineTuning(lr=0.1, epochs=20).forget(plain(), whole, forget).module, retain, forget


def test_scrub_moves_away_on_rows_to_forget_and_stays_near_on_others():
    module, retain, forget = without_a_class()
    method = Scrub(lr=0.01, max_epochs=9, forget_batch=4, batch=16)
    found = method.forget(module, retain, forget).module
    with torch.no_grad():
        away, near = (distance(module(of.inputs), found(of.inputs)) for of in (forget, retain))
    assert away > 2 * near


def test_l1_sparse_pulls_weights_to_zero():
    # x = 0: the loss has no slope. 1 − 0.1 · 0.5 in the first epoch, half of it in the second.
    method = L1Sparse(penalty=0.5, lr=0.1, epochs=2, momentum=0.0)
    found = method.forget(linear([[1.0], [-1.0]]), one_row(0, 0), one_row(1, 0)).module
    assert found.weight[:, 0].tolist() == pytest.approx([0.925, -0.925])


# Masks, dampening, drawing anew -------------------------------------------------------------------


def test_salient_marks_the_largest_over_all_weights_together():
    masks = salient([torch.tensor([[1.0, -5.0]]), torch.tensor([2.0, -3.0, 0.0])], 0.4)
    assert [mask.tolist() for mask in masks] == [[[0, 1]], [0, 1, 0]]


@given(st.floats(0.01, 1), st.integers(1, 30))
def test_masks_hold_as_many_as_they_say(share, count):
    gradient = torch.from_numpy(np.random.default_rng(count).normal(size=count))
    assert sum(int(mask.sum()) for mask in salient([gradient], share)) == math.ceil(share * count)
    assert int(smallest(gradient, share).sum()) == math.ceil(share * count)


def test_weights_that_are_not_salient_keep_their_bits():
    module, forget, retain = plain(), rows(6, 2), rows(20, 1)
    work = Work("salun", module, retain, forget, 0, Course())
    masks = salient(work.gradient(forget, 64), 0.3)
    found = SalUn(share=0.3, epochs=2).forget(module, retain, forget).module
    for before, after, mask in zip(module.parameters(), found.parameters(), masks, strict=True):
        kept = mask == 0
        assert torch.equal(before[kept], after[kept])
        assert mask.sum() == 0 or (before[~kept] != after[~kept]).any()


def test_smallest_marks_small_gradients():
    assert smallest(torch.tensor([[3.0, -0.1], [0.2, -4.0]]), 0.5).tolist() == [
        [False, True],
        [True, False],
    ]


def test_msg_draws_anew_and_lets_the_rest_change_slowly():
    module, retain, forget = convolutional(), rows(20, 1, (1, 4, 4)), rows(6, 2, (1, 4, 4))
    frozen = {"kept_rate": 0.0, "weight_decay": 0.0, "momentum": 0.0, "epochs": 1}
    found = MSG(share=0.3, lr=1e-6, **frozen).forget(module, retain, forget).module
    moved = (module[0].weight != found[0].weight).sum().item()
    assert moved == math.ceil(0.3 * module[0].weight.numel())
    jumps = (module[0].weight - found[0].weight).abs().max().item()
    assert jumps > 1e-3  # drawn, not stepped


def test_rates_of_msg_rise_and_fall():
    assert [rise_and_fall(epoch, 1) for epoch in range(1)] == [1.0]
    assert [rise_and_fall(epoch, 3) for epoch in range(3)] == [0.5, 1.0, 0.5]


def test_dampening_by_hand():
    # F_f > 2 F_D in the first and third: factors min(1 · 1/4, 1), and min(1 · 0/3, 1) = 0.
    weights = torch.tensor([8.0, 8.0, 8.0, 8.0])
    whole, leaving = torch.tensor([1.0, 2.0, 0.0, 0.0]), torch.tensor([4.0, 4.0, 3.0, 0.0])
    dampen([weights], [whole], [leaving], (2.0, 1.0))
    assert weights.tolist() == [2.0, 8.0, 0.0, 8.0]
    dampen([weights], [whole], [leaving], (2.0, 100.0))  # never made larger
    assert weights.tolist() == [2.0, 8.0, 0.0, 8.0]


def test_ssd_dampens_what_only_rows_to_forget_use():
    # Inputs of rows to forget stand in the second column alone.
    retain = Rows(torch.tensor([[1.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1]))
    forget = Rows(torch.tensor([[0.0, 1.0]]), torch.tensor([0]))
    module = linear([[1.0, 1.0], [-1.0, -1.0]])
    found = SSD(selection=2.0).forget(module, retain, forget)
    assert torch.equal(found.module.weight[:, 0], module.weight[:, 0])
    # F_D is the mean over three rows, to which it adds alone: a third of F_f.
    torch.testing.assert_close(found.module.weight[:, 1], module.weight[:, 1] / 3)
    assert found.steps == 0


def test_ssd_selects_nothing_where_rows_to_forget_are_the_rows():
    of = rows(12, 1)
    module = plain()
    found = SSD(selection=1.5, batch=12).forget(module, of, of).module
    assert torch.equal(found[1].weight, module[1].weight)


def test_ct_swaps_height_and_width_and_nothing_else():
    module = convolutional()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    transpose(module)
    for name, value in module.state_dict().items():
        wanted = before[name].transpose(2, 3) if value.ndim == 4 else before[name]
        assert torch.equal(value, wanted)
    assert not torch.equal(module[0].weight, before["0.weight"])
    transpose(module)
    assert torch.equal(module[0].weight, before["0.weight"])


def test_ct_refuses_kernels_of_one_cell():
    with pytest.raises(ModuleUnsuitable, match="larger than 1 × 1"):
        transpose(convnet((1, 4, 4), 3, channels=(2,), kernel=1))


def test_a_fresh_network_remembers_nothing():
    module = convolutional()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(7.0)
        module[1].running_mean.fill_(7.0)
    with seeded(1):
        blank = layers.fresh(module, "bad-teacher")
    assert all((value != 7).all() for value in blank.state_dict().values())
    assert (module[0].weight == 7).all()


def test_a_bad_teacher_is_followed_on_rows_to_forget_alone():
    module, retain, forget = without_a_class()
    method = BadTeacher(lr=0.02, epochs=10, retained_share=1.0)
    found = method.forget(module, retain, forget).module
    with torch.no_grad():
        away, near = (distance(module(of.inputs), found(of.inputs)) for of in (forget, retain))
    assert away > 2 * near


def test_noise_climbs_the_loss_of_its_class():
    module = FineTuning(lr=0.1, epochs=20).forget(plain(), rows(60, 1), rows(6, 2)).module.eval()
    with seeded(3):
        noise = torch.randn(8, 4)
    targets = torch.zeros(8, dtype=torch.int64)
    moved = learn(module, noise, targets, Unsir(noise_decay=0.0))
    with torch.no_grad():
        before, after = (functional.cross_entropy(module(x), targets) for x in (noise, moved))
    assert after > before + 1


def test_noise_needs_inputs_that_can_move():
    of = Rows(torch.ones(3, 2, dtype=torch.int64), torch.tensor([0, 1, 0]))

    class Casting(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.float())

    with pytest.raises(InputError, match="floating point"):
        Unsir().forget(Casting(2, 2), of, of)


# Rewinding ------------------------------------------------------------------------------------------


def test_unseen_rows_are_weighted_to_the_classes_to_forget():
    weights = like(torch.tensor([0, 0, 0, 2]), torch.tensor([0, 2, 2, 1, 0]))
    assert weights.tolist() == [0.375, 0.125, 0.125, 0, 0.375]
    with pytest.raises(InputError, match="1 of the classes to forget have no unseen row"):
        like(torch.tensor([0, 1]), torch.tensor([0, 2]))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0, 1))
def test_closest_is_the_last_of_the_closest(errors, wanted):
    found = closest(errors, wanted)
    gaps = [abs(error - wanted) for error in errors]
    assert gaps[found] == min(gaps)
    assert all(gap > gaps[found] for gap in gaps[found + 1 :])


def test_scrub_r_returns_one_of_the_epochs_of_scrub():
    module, retain, forget, unseen = plain(), rows(30, 1), rows(9, 2), rows(30, 3)
    epochs: list[torch.Tensor] = []

    def watch(student: nn.Module) -> bool:
        epochs.append(student[-1].weight.detach().clone())
        return False

    knobs = {"lr": 0.01, "epochs": 5, "max_epochs": 4, "batch": 4}
    Scrub(**knobs).forget(module, retain, forget, seed=1, course=Course(watch=watch))
    found = ScrubR(**knobs).forget(module, retain, forget, seed=1, course=Course(unseen=unseen))
    assert sum(torch.equal(found.module[-1].weight, epoch) for epoch in epochs) == 1


def test_scrub_r_says_that_it_needs_unseen_rows():
    with pytest.raises(InputError, match="give `validation`"):
        ScrubR().forget(plain(), rows(6, 1), rows(3, 2))


# Rows -----------------------------------------------------------------------------------------------


@given(st.integers(2, 9), st.integers(1, 60), st.integers(0, 99))
def test_other_labels_are_others_and_all_of_them(classes, count, seed):
    targets = torch.arange(count) % classes
    found = other_labels(targets, classes, seed)
    assert (found != targets).all()
    assert ((found >= 0) & (found < classes)).all()
    many = other_labels(torch.zeros(2_000, dtype=torch.int64), classes, seed)
    assert set(many.tolist()) == set(range(1, classes))


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 99))
def test_batches_hold_every_row_once(count, size, seed):
    of = Rows(torch.arange(float(count))[:, None], torch.zeros(count, dtype=torch.int64))
    found = torch.cat([batch.inputs for batch in batches(of, size, seed)])
    assert sorted(found[:, 0].tolist()) == list(range(count))
    assert len(some(of, size, seed)) == min(size, count)


def test_pairs_begin_again_with_the_fewer_rows():
    one, other = rows(10, 1), rows(3, 2)
    found = list(pairs(one, other, 4, seed=1))
    assert [(len(a), len(b)) for a, b in found] == [(4, 3), (4, 3), (2, 3)]


def test_gradients_are_clipped_over_all_parameters():
    cut = clipped(1.0)
    assert cut is not None
    assert clipped(None) is None
    found = cut([torch.tensor([3.0]), torch.tensor([4.0])])
    assert [part.item() for part in found] == pytest.approx([0.6, 0.8])
    assert [part.item() for part in cut([torch.tensor([0.3]), torch.tensor([0.0])])] == [
        pytest.approx(0.3),
        0.0,
    ]


def test_a_sweep_sums_to_the_gradient_of_all_rows_whatever_the_batch():
    work = Work("ssd", convolutional(), rows(13, 1, (1, 4, 4)), rows(5, 2, (1, 4, 4)), 0, Course())
    whole, parts = (work.gradient(work.retain, size) for size in (100, 4))
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("inputs", "targets", "words"),
    [
        (np.ones((2, 3)), np.ones(2), "expected class codes"),
        (np.ones((2, 3)), np.ones((2, 1), dtype=int), "expected class codes"),
        (np.ones((2, 3)), np.ones(3, dtype=int), "as many inputs as targets"),
        (np.ones((0, 3)), np.ones(0, dtype=int), "at least one row"),
        (np.ones((2, 3)), np.array([0, -1]), "negative"),
    ],
)
def test_rows_that_are_none_are_refused(inputs, targets, words):
    with pytest.raises(InputError, match=words):
        given_rows("retain", inputs, targets)


def test_gradients_that_somebody_laid_out_otherwise_reach_their_own_cells():
    module = convnet((2, 4, 4), 3, channels=(3,)).to(memory_format=torch.channels_last)
    of = rows(8, 1, (2, 4, 4))
    found = []
    for regrade in (None, lambda gradients: [g.contiguous() for g in gradients]):
        work = Work("fine-tuning", module, of, of, 0, Course())
        work.walk(work.batches(of, 8), work.cross_entropy, work.sgd(0.1, 0.9), regrade)
        found.append(work.student[0].weight)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], module[0].weight)
