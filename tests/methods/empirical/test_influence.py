"""Influence corrections: what all solvers share, then each alone, then steps that are refused."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from expunge.core.errors import (
    CorrectionFailed,
    CorrectionRejected,
    CurvatureIndefinite,
    InputError,
    MemoryCapTooSmall,
    PrecisionTooLow,
    SolverStopped,
)
from expunge.learners.seeding import seeded_torch
from expunge.methods.empirical.influence import (
    Conjugate,
    Curvature,
    Exact,
    Lissa,
    Objective,
    Problem,
    Samples,
    conjugate,
    correct,
    cross_entropy,
    describe,
    exact,
    first_order,
    half_squared,
    lissa,
    newton,
    refit,
)
from expunge.methods.empirical.influence import problem as problems
from expunge.methods.empirical.influence.problem import Convention, curve, pull, value

SOLVERS: dict[str, Any] = {
    "exact": Exact,
    "conjugate": lambda **knobs: Conjugate(tolerance=1e-11, **knobs),
    "plain conjugate": lambda **knobs: Conjugate(rank=0, tolerance=1e-11, **knobs),
    "lissa": lambda **knobs: Lissa(tolerance=1e-11, iterations=20_000, **knobs),
}
SOFTMAX = Objective(cross_entropy, penalty=0.05)
FEW, MANY, MOST = torch.tensor([3]), torch.arange(20), torch.arange(40)


def samples(n: int = 60, features: int = 4, classes: int = 3, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    return Samples(
        torch.from_numpy(rng.normal(size=(n, features))),
        torch.from_numpy(rng.integers(0, classes, n)),
    )


def linear(features: int = 4, outputs: int = 3) -> nn.Module:
    with seeded_torch(1):
        return nn.Linear(features, outputs).double()


def network() -> nn.Module:
    with seeded_torch(2):
        return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3)).double()


def minimum(of: Problem, leaving: Tensor | None = None) -> Tensor:
    """Train to the minimum: Newton's method over a curvature that is positive."""
    stay = of.everybody if leaving is None else of.staying(leaving)
    kept = Samples(of.samples.inputs[stay], of.samples.targets[stay])
    if of.samples.weights is not None:
        kept = dataclasses.replace(kept, weights=of.samples.weights[stay])
    there = describe(of.module, kept, of.objective)
    at = there.parameters
    for _ in range(30):
        slope = there.gradient(at, there.everybody) / there.share(there.everybody)
        slope += there.penalty * at
        if float(slope.norm()) < 1e-13 * (1 + float(at.norm())):
            break
        at = at - Exact(0.0).solve(there, at, slope).direction
    return at


@pytest.mark.parametrize("leaving", [None, FEW, MANY, MOST], ids=["nobody", "few", "many", "most"])
@pytest.mark.parametrize("make", [linear, network])
@pytest.mark.parametrize("name", SOLVERS)
def test_all_solvers_agree_and_say_the_truth_about_it(
    name: str, make: Any, leaving: Tensor | None
) -> None:
    of = describe(make(), samples(), SOFTMAX)
    at = of.parameters
    rhs = pull(of, at, torch.arange(5))

    found = SOLVERS[name](damping=0.01).prepare(of, at).solve(rhs, leaving)
    columns = [curve(of, at, leaving)(unit) + 0.01 * unit for unit in torch.eye(of.size).double()]
    wanted = torch.linalg.solve(torch.stack(columns), rhs)

    torch.testing.assert_close(found.direction, wanted, rtol=1e-7, atol=1e-9)
    true = rhs - curve(of, at, leaving)(found.direction) - 0.01 * found.direction
    assert found.residual == pytest.approx(float(true.norm() / rhs.norm()), abs=1e-12)
    assert found.residual <= 1e-9
    assert found.step_norm == pytest.approx(float(wanted.norm()))
    assert found.damping == 0.01
    if found.least_eigenvalue is not None:
        assert (
            found.least_eigenvalue >= float(torch.linalg.eigvalsh(torch.stack(columns))[0]) - 1e-9
        )


@pytest.mark.parametrize("name", SOLVERS)
def test_solving_is_a_function_of_its_arguments(name: str) -> None:
    def once() -> Tensor:
        of = describe(network(), samples(), SOFTMAX)
        rhs = pull(of, of.parameters, FEW)
        return SOLVERS[name]().solve(of, of.parameters, rhs).direction

    assert torch.equal(once(), once())


@pytest.mark.parametrize("name", ["exact", "conjugate"])
def test_default_damping_is_a_tenth_of_the_mean_eigenvalue(name: str) -> None:
    of = describe(linear(), samples(), SOFTMAX)
    matrix = sum(rows.T @ rows for rows in of.rows(of.parameters, of.everybody)) / 60
    assert isinstance(matrix, Tensor)

    found = SOLVERS[name]().prepare(of, of.parameters).damping

    assert found == pytest.approx(0.1 * float(matrix.trace()) / of.size)


def test_default_damping_is_estimated_where_probes_do_not_span_the_space() -> None:
    of = describe(linear(40, 3), samples(features=40), SOFTMAX)
    true = Exact().prepare(of, of.parameters).damping

    for solver in (Conjugate(rank=0), Conjugate(rank=40), Lissa()):
        assert solver.prepare(of, of.parameters).damping == pytest.approx(true, rel=0.4)


@pytest.mark.parametrize("name", SOLVERS)
def test_nothing_to_solve_is_no_step(name: str) -> None:
    of = describe(linear(), samples(), SOFTMAX)
    found = SOLVERS[name]().solve(of, of.parameters, torch.zeros_like(of.parameters))
    assert not found.direction.any()
    assert found.residual == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", SOLVERS)
def test_what_is_not_finite_is_refused(name: str, bad: float) -> None:
    given = samples()
    given.inputs[7, 0] = bad
    of = describe(linear(), given, SOFTMAX)
    with pytest.raises(CorrectionFailed):
        newton(SOLVERS[name](damping=0.1).prepare(of, of.parameters), torch.tensor([7]))


@pytest.mark.parametrize("name", ["exact", "conjugate", "plain conjugate"])
def test_a_curvature_that_is_not_positive_is_refused(name: str) -> None:
    # A saddle: the loss -½o² curves downwards.
    objective = Objective(lambda outputs, _: -0.5 * outputs.square().sum(1))
    of = describe(linear(), samples(), objective, curvature="hessian")
    with pytest.raises(CurvatureIndefinite, match="not positive definite"):
        SOLVERS[name](damping=0.01).prepare(of, of.parameters).solve(torch.ones(of.size).double())
    with pytest.raises(CurvatureIndefinite):
        Exact().prepare(describe(linear(), samples(), objective), of.parameters)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_loss_that_does_not_curve_leaves_the_ridge_alone(name: str) -> None:
    of = describe(linear(), samples(), Objective(lambda outputs, _: outputs.sum(1)))
    rhs = torch.ones_like(of.parameters)
    found = SOLVERS[name](damping=0.5).solve(of, of.parameters, rhs)
    torch.testing.assert_close(found.direction, 2 * rhs)
    with pytest.raises(CurvatureIndefinite):
        SOLVERS[name](damping=0.0).solve(of, of.parameters, rhs)


@pytest.mark.parametrize("name", ["exact", "conjugate", "lissa"])
def test_the_hessian_where_it_is_asked_for(name: str) -> None:
    of = describe(network(), samples(), SOFTMAX, curvature="hessian")
    at = of.parameters

    def whole(p: Tensor) -> Tensor:
        losses = cross_entropy(of.outputs(p, of.samples.inputs), of.samples.targets)
        return losses[20:].mean() + 0.025 * p.square().sum()

    rhs = pull(of, at, MANY)
    # Damped beyond the most negative eigenvalue.
    wanted = torch.func.jacrev(torch.func.jacrev(whole))(at) + torch.eye(of.size)
    found = SOLVERS[name](damping=1.0).prepare(of, at).solve(rhs, MANY)
    torch.testing.assert_close(wanted @ found.direction, rhs, rtol=1e-6, atol=1e-8)


def test_lissa_stops_when_it_diverges() -> None:
    of = describe(linear(), samples(), SOFTMAX)
    rhs = torch.ones(of.size).double()
    with pytest.raises(SolverStopped, match="diverged") as stopped:
        Lissa(damping=0.01, scale=0.02).solve(of, of.parameters, rhs)
    assert stopped.value.iterations < 100
    with pytest.raises(SolverStopped, match="did not reach"):
        Lissa(damping=0.01, scale=1e4, iterations=10).solve(of, of.parameters, rhs)


def test_lissa_over_batches_gets_near() -> None:
    of = describe(linear(), samples(400), SOFTMAX)
    rhs = torch.ones(of.size).double()
    wanted = Exact(0.1).solve(of, of.parameters, rhs).direction

    scale = 20 * Lissa(0.1).prepare(of, of.parameters).scale
    found = Lissa(0.1, scale=scale, batch=32, tolerance=0.2, iterations=600)

    direction = found.solve(of, of.parameters, rhs).direction
    assert float((direction - wanted).norm() / wanted.norm()) < 0.2


def test_conjugate_gradients_say_when_they_run_out() -> None:
    of = describe(linear(), samples(), SOFTMAX)
    with pytest.raises(SolverStopped, match="did not reach"):
        Conjugate(damping=1e-6, rank=0, tolerance=1e-12, iterations=2).solve(
            of, of.parameters, torch.arange(of.size).double()
        )


def test_a_sketch_makes_for_fewer_iterations() -> None:
    given = samples(200, 40)
    given.inputs.mul_(torch.logspace(0, 2, 40))  # an eigenvalue for every taste
    of = describe(linear(40, 3), given, Objective(cross_entropy, 1e-3))
    at = torch.zeros_like(of.parameters)
    rhs = pull(of, at, MANY)

    plain, sketched = (Conjugate(1e-3, rank, 1e-8, 5_000).solve(of, at, rhs) for rank in (0, 100))

    assert sketched.iterations < plain.iterations / 3


# A case done by hand: one parameter, x = (1, 2), y = (1, 4), half squared error, λ = 1, total.
# θ = (1·1 + 2·4) / (1² + 2² + 1) = 1.5. Without the second sample, θ = 1 / (1 + 1) = 0.5.
# g₂ = x(xθ − y) = 2(3 − 4) = −2. Newton: −2 / (1 + 1) = −1. First order: −2 / (5 + 1) = −1/3.
# With means and λ = ½ the minimum of both is the same, as ½(1+8)/(½(1+4)+½) = 1.5; without the
# second, 1/(1 + ½) = 2/3. It takes its share of the penalty along: −2 + ½·1.5 = −1.25, and
# −1.25 / (1 + ½) = −5/6. First order: ½ · −1.25 / (½·5 + ½) = −5/24.
@pytest.mark.parametrize(
    ("convention", "penalty", "whole_step", "linear_step"),
    [("total", 1.0, -1.0, -1 / 3), ("mean", 0.5, -5 / 6, -5 / 24)],
)
@pytest.mark.parametrize("name", SOLVERS)
def test_known_answer(
    name: str, convention: Convention, penalty: float, whole_step: float, linear_step: float
) -> None:
    x = torch.tensor([[1.0], [2.0]]).double()
    y = torch.tensor([1.0, 4.0]).double()
    line = nn.Linear(1, 1, bias=False).double()
    of = describe(line, Samples(x, y), Objective(half_squared, penalty, convention))
    prepared = SOLVERS[name](damping=0.0).prepare(of, torch.tensor([1.5]).double())

    assert newton(prepared, torch.tensor([1])).direction.item() == pytest.approx(whole_step)
    assert first_order(prepared, torch.tensor([1])).direction.item() == pytest.approx(linear_step)


@settings(max_examples=25)
@given(
    st.tuples(st.integers(2, 30), st.integers(1, 20), st.integers(1, 6), st.integers(1, 2)),
    st.sampled_from(["mean", "total"]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 99),
)
def test_a_newton_step_of_ridge_equals_retraining(
    shape: tuple[int, int, int, int],
    convention: Convention,
    weighted: bool,
    uneven: bool,
    seed: int,
) -> None:
    stay, leave, features, outputs = shape
    rng = np.random.default_rng(seed)
    n = stay + leave
    weights = torch.from_numpy(rng.uniform(0.5, 2, n)) if weighted else None
    x, y = rng.normal(size=(n, features)), rng.normal(size=(n, outputs))
    given = Samples(torch.from_numpy(x), torch.from_numpy(y), weights)
    penalty = torch.from_numpy(rng.uniform(0.1, 0.5, outputs * (features + 1)))
    objective = Objective(half_squared, penalty if uneven else 0.3, convention)
    of = describe(linear(features, outputs), given, objective)
    leaving = torch.from_numpy(rng.permutation(n)[:leave])

    found = correct(Exact(0.0).prepare(of, minimum(of)), leaving)

    torch.testing.assert_close(found.parameters, minimum(of, leaving), rtol=1e-10, atol=1e-10)
    assert found.retain_loss_after <= found.retain_loss_before + 1e-12


@pytest.mark.parametrize("leaving", [FEW, MANY], ids=["few", "many"])
def test_a_newton_step_is_nearer_to_retraining_than_the_first_order(leaving: Tensor) -> None:
    of = describe(linear(), samples(), SOFTMAX)
    prepared = Exact(0.0).prepare(of, minimum(of))
    retrained = minimum(of, leaving)
    errors = [
        float((correct(prepared, leaving, step).parameters - retrained).norm())
        for step in (newton, first_order)
    ]
    assert errors[0] < errors[1] / 2
    assert errors[0] < 0.1 * float((prepared.at - retrained).norm())


def test_the_first_order_is_linear_in_who_leaves() -> None:
    of = describe(network(), samples(), SOFTMAX)
    prepared = Exact().prepare(of, of.parameters)
    one, other, both = (torch.tensor(who) for who in ([1, 2], [5], [1, 2, 5]))
    parts = [first_order(prepared, who).direction for who in (one, other)]
    torch.testing.assert_close(parts[0] + parts[1], first_order(prepared, both).direction)


def test_a_step_that_raises_the_loss_of_those_that_stay_is_rejected() -> None:
    of = describe(network(), samples(), Objective(cross_entropy, 1e-9))
    # Undamped and far from any minimum, a Gauss-Newton step overshoots.
    prepared = Exact(1e-9).prepare(of, 3 * of.parameters)
    with pytest.raises(CorrectionRejected, match="would raise the objective") as rejected:
        correct(prepared, MANY)
    assert rejected.value.after > rejected.value.before
    assert rejected.value.step_norm > 0


def test_a_refit_is_a_newton_step_at_a_minimum_and_goes_on_training_elsewhere() -> None:
    of = describe(linear(), samples(), SOFTMAX)
    there = Exact(0.0).prepare(of, minimum(of))
    torch.testing.assert_close(
        refit(there, MANY).direction, newton(there, MANY).direction, rtol=1e-9, atol=1e-12
    )

    early = Exact().prepare(describe(network(), samples(), SOFTMAX), network_parameters())
    with pytest.raises(CorrectionRejected):
        correct(early, FEW)
    found = correct(early, FEW, refit)
    assert found.retain_loss_after < found.retain_loss_before


def network_parameters() -> Tensor:
    return describe(network(), samples(), SOFTMAX).parameters


def test_a_step_back_to_where_it_came_from_is_rejected() -> None:
    of = describe(linear(), samples(), SOFTMAX)
    prepared = Exact(0.0).prepare(of, minimum(of))

    def backwards(prepared: Any, leaving: Tensor) -> Any:
        found = newton(prepared, leaving)
        return dataclasses.replace(found, direction=-found.direction)

    with pytest.raises(CorrectionRejected):
        correct(prepared, MANY, backwards)


@pytest.mark.parametrize("make", [linear, network])
def test_streaming_equals_all_at_once(make: Any) -> None:
    whole = describe(make(), samples(), SOFTMAX)
    tight = dataclasses.replace(whole, memory_bytes=11_500)
    at, everybody = whole.parameters, whole.everybody
    vector = torch.ones_like(at)
    sizes = [len(block.weights) for block in tight.blocks(everybody, tight._product_bytes)]

    assert len(sizes) > 2
    assert sum(sizes) == 60
    products = [of.product(at, everybody)(vector) for of in (whole, tight)]
    torch.testing.assert_close(products[0], products[1])
    torch.testing.assert_close(tight.gradient(at, everybody), whole.gradient(at, everybody))
    assert tight.losses(at, everybody) == pytest.approx(whole.losses(at, everybody))
    rows = [torch.cat(list(of.rows(at, everybody))) for of in (whole, tight)]
    torch.testing.assert_close(rows[0].T @ rows[0], rows[1].T @ rows[1])


def peak_bytes(run: Any) -> int:
    """The most that PyTorch held at a time while ``run()``, from its allocator's own events."""
    with torch.profiler.profile(profile_memory=True) as profile:
        run()
    events = profile.profiler.kineto_results.events()  # type: ignore[union-attr]
    held = np.cumsum([event.nbytes() for event in events if event.name() == "[memory]"])
    return int(held.max())


@pytest.mark.parametrize("leave", [0, 3, 1_000])
@pytest.mark.parametrize("name", ["exact", "conjugate", "lissa"])
def test_the_peak_stays_under_the_cap(name: str, leave: int) -> None:
    n, features = 4_000, 30
    given = samples(n, features)
    cap = 2**20  # the samples alone take as much
    of = describe(linear(features, 3), given, SOFTMAX, memory_bytes=cap)
    roomy = dataclasses.replace(of, memory_bytes=2**30)
    rhs = torch.ones_like(of.parameters)
    solver = dataclasses.replace(SOLVERS[name](damping=0.05), tolerance=1e-3)
    Exact(0.1).solve(of, of.parameters, rhs)  # what is loaded once is nobody's

    def solve(of: Problem) -> None:
        solver.prepare(of, of.parameters).solve(rhs, torch.arange(leave) if leave else None)

    held, free = (peak_bytes(lambda of=of: solve(of)) for of in (of, roomy))

    assert held <= cap
    assert free > cap  # so the test could have failed


def test_a_cap_that_holds_no_sample_or_no_matrix_is_refused() -> None:
    of = describe(linear(), samples(), SOFTMAX, memory_bytes=1_500)
    with pytest.raises(MemoryCapTooSmall, match="Raise `memory_bytes`"):
        of.gradient(of.parameters, of.everybody)
    wide = describe(linear(200, 3), samples(features=200), SOFTMAX, memory_bytes=2**20)
    with pytest.raises(MemoryCapTooSmall, match="Conjugate"):
        Exact().prepare(wide, wide.parameters)
    # The same cap does for who holds no matrix, with as large a sketch as there is room for.
    prepared = Conjugate(damping=0.1, rank=64).prepare(wide, wide.parameters)
    assert prepared.sketch is not None
    assert prepared.sketch.vectors.shape[1] < 64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused(dtype: torch.dtype) -> None:
    with pytest.raises(PrecisionTooLow, match="float32"):
        describe(linear().to(dtype), samples(), SOFTMAX)
    mixed = nn.Sequential(linear(4, 4), nn.Linear(4, 3))
    with pytest.raises(PrecisionTooLow, match="float32 and float64"):
        describe(mixed, samples(), SOFTMAX)


def test_float32_gets_as_near_as_it_can() -> None:
    fine = describe(network(), samples(), SOFTMAX)
    coarse = describe(network().float(), samples(), SOFTMAX)
    wanted = newton(Exact(0.01).prepare(fine, fine.parameters), MANY).direction
    for solver in (Exact(0.01), Conjugate(0.01)):
        found = newton(solver.prepare(coarse, coarse.parameters), MANY).direction
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-4)


def test_the_module_is_left_alone() -> None:
    module = network()
    module[0].weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}

    of = describe(module, samples(), SOFTMAX)
    corrected = of.parameters + newton(Exact().prepare(of, of.parameters), FEW).direction

    assert module.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    named = of.named(corrected)
    assert set(named) == set(before) - {"0.weight"}
    module.load_state_dict(named, strict=False)
    again = describe(module, samples(), SOFTMAX)
    assert torch.equal(again.parameters, corrected)


@pytest.mark.parametrize(
    "who", [[], [1, 1], [60], [-1], list(range(60))], ids=["none", "twice", "60", "-1", "all"]
)
@pytest.mark.parametrize("step", [newton, first_order, correct])
def test_who_cannot_leave_is_refused(who: list[int], step: Any) -> None:
    of = describe(linear(), samples(), SOFTMAX)
    with pytest.raises(InputError, match="leave"):
        step(Exact().prepare(of, of.parameters), torch.tensor(who, dtype=torch.int64))


def test_a_loss_that_is_a_mean_already_is_refused() -> None:
    of = describe(linear(), samples(), Objective(nn.functional.cross_entropy))
    with pytest.raises(InputError, match="reduction='none'"):
        of.gradient(of.parameters, of.everybody)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Exact(damping=-1.0),
        lambda: Exact(tolerance=0.0),
        lambda: Conjugate(damping=math.nan),
        lambda: Conjugate(rank=-1),
        lambda: Conjugate(iterations=0),
        lambda: Lissa(scale=0.0),
        lambda: Lissa(batch=0),
        lambda: Objective(penalty=-1.0),
        lambda: Objective(penalty=math.nan),
        lambda: Samples(torch.zeros(2, 1), torch.zeros(3)),
        lambda: Samples(torch.zeros(0, 1), torch.zeros(0)),
        lambda: Samples(torch.zeros(1, 1), torch.zeros(1), torch.tensor([-1.0])),
        lambda: describe(linear().requires_grad_(False), samples(), SOFTMAX),
        lambda: describe(linear(), samples(), Objective(penalty=torch.ones(3))),
        lambda: Exact().prepare(describe(linear(), samples(), SOFTMAX), torch.zeros(3)),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any) -> None:
    with pytest.raises(InputError):
        make()


def test_memory_mapped_samples_are_read_in_blocks(tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", samples().inputs.numpy().astype(np.float32))
    mapped = torch.from_numpy(np.load(tmp_path / "x.npy", mmap_mode="c"))
    given = Samples(mapped, samples().targets)
    of = describe(linear(), given, SOFTMAX)
    assert value(of, of.parameters, of.everybody) == pytest.approx(
        value(describe(linear(), samples(), SOFTMAX), of.parameters, of.everybody), rel=1e-6
    )


def test_a_sample_of_weight_two_is_two_samples() -> None:
    given = samples()
    twice = torch.cat([torch.arange(60), torch.tensor([9])])
    weights = torch.ones(60).double()
    weights[9] = 2
    of = describe(network(), dataclasses.replace(given, weights=weights), SOFTMAX)
    plain = describe(network(), Samples(given.inputs[twice], given.targets[twice]), SOFTMAX)
    at = of.parameters
    found = newton(Exact(0.01).prepare(of, at), torch.tensor([9]))
    wanted = newton(Exact(0.01).prepare(plain, at), torch.tensor([9, 60]))
    torch.testing.assert_close(found.direction, wanted.direction)


def test_solvers_are_frozen_and_cite_their_sources() -> None:
    for module, solver in ((exact, Exact), (conjugate, Conjugate), (lissa, Lissa)):
        made: Curvature = solver()
        with pytest.raises(dataclasses.FrozenInstanceError):
            made.damping = 1.0  # type: ignore[attr-defined]
        assert "References:" in (module.__doc__ or "")


def test_a_saturated_softmax_is_no_saddle_in_float32() -> None:
    of = describe(linear().float(), samples(), SOFTMAX)
    found = newton(Exact(0.01).prepare(of, 30 * of.parameters), FEW)
    assert math.isfinite(found.step_norm)


def test_several_blocks_are_kept_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    of = describe(network(), samples(), SOFTMAX)
    vector = torch.ones_like(of.parameters)
    wanted = of.product(of.parameters, of.everybody)(vector)
    monkeypatch.setattr(problems, "_ENOUGH", 5_000)
    multiply = of.product(of.parameters, of.everybody)
    for _ in range(2):
        torch.testing.assert_close(multiply(vector), wanted)


def test_the_examples_of_the_page_run(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).parents[3] / "docs" / "influence.md"
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, names)
    assert "pearson" in capsys.readouterr().out
    assert names["found"].seeds == 2
