"""Whatever is asked, decided and waited for, in any order: it comes out as a simple model says.

The model knows nothing of tombstones, shards and units: for each request its rows, and which of
them are gone or destroyed. After each step the models' grounds and all served versions are
compared with it; after each rebuild, the states and the erased rows too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from expunge.core.errors import (
    ExpungeError,
    RequestMoveRefused,
    SamplesUnknown,
    UndoRefused,
)
from expunge.execution.local import Inline
from expunge.execution.progress import Silent
from expunge.home import Home
from expunge.methods import METHODS
from expunge.requests import life
from expunge.requests.finding import Wanted
from expunge.requests.kinds import Kind
from expunge.requests.terms import Terms
from expunge.testing.fakes import Tiny, people
from expunge.training import plan as plans
from expunge.training.recipe import Sharded

ROWS = [f"s{n}" for n in range(24)]
MODELS = {"m": "", "offers": "offers"}
WINDOW_S = 1000.0
ACTIVE = ("forgotten", "held", "done")
WAITING = ("submitted", "scheduled")


@dataclass
class Asked:
    """A request, as the simple model knows it."""

    terms: Terms
    rows: set[str]
    state: str
    until: float = 0.0
    moment: float = 0.0

    @property
    def scope(self) -> str | None:
        """The one model that it is about, or None for all."""
        return self.terms.models[0] if self.terms.models else self.terms.purpose

    @property
    def destroys(self) -> bool:
        return self.scope is None and self.terms.kind in (Kind.ERASE, Kind.EXPIRE, Kind.CORRECT)


@dataclass
class Play:
    """A home and the simple model, side by side."""

    home: Home
    chance: Random
    told: list[str] = field(default_factory=list)
    asked: dict[str, Asked] = field(default_factory=dict)
    destroyed: set[str] = field(default_factory=set)
    holds: dict[str, set[str]] = field(default_factory=dict)
    forms: dict[str, list[str]] = field(default_factory=dict)
    names: dict[Any, str] = field(default_factory=dict)
    ahead: float = 0.0
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))

    def clock(self, _: Any) -> float:
        return self.now().timestamp()

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    # Steps

    def step(self) -> None:
        steps: list[tuple[int, Callable[[], None]]] = [
            (6, self.ask),
            (2, self.ask_many),
            (2, self.decide),
            (3, self.take_back),
            (1, self.hold),
            (4, self.correct),
            (1, self.release),
            (2, self.wait),
            (2, self.build_one),
            (2, self.settle),
        ]
        act = self.chance.choices([s for _, s in steps], [w for w, _ in steps])[0]
        act()
        self.check()

    def terms(self) -> Terms:
        chance, kind = self.chance, self.chance.choice([*Kind, Kind.ERASE, Kind.ERASE])
        kind = Kind.ERASE if kind is Kind.CORRECT else kind
        narrow = kind is Kind.OBJECT or chance.random() < 0.2
        by_name = narrow and chance.random() < 0.6
        late = chance.random() < 0.2
        return Terms(
            kind=kind,
            models=(chance.choice(list(MODELS)),) if by_name else None,
            purpose="offers" if narrow and not by_name else None,
            undo_s=WINDOW_S if kind is not Kind.RESTRICT and chance.random() < 0.5 else 0.0,
            approval=chance.random() < 0.15,
            effective=datetime.now(UTC) + timedelta(seconds=3000) if late else None,
            submitter="a",
        )

    def some(self) -> tuple[str, ...]:
        return tuple(self.chance.sample(ROWS, self.chance.choice([1, 1, 2, 5])))

    def ask(self) -> None:
        wanted, terms = Wanted(self.some()), self.terms()
        self.take_in([(wanted, terms)])

    def ask_many(self) -> None:
        self.take_in(
            [(Wanted(self.some()), self.terms()) for _ in range(self.chance.randint(2, 5))]
        )

    def take_in(self, asked: list[tuple[Wanted, Terms]]) -> None:
        for (wanted, terms), answer in zip(asked, self.home.forget_all(asked), strict=True):
            assert not isinstance(answer, ExpungeError), answer
            state = str(answer.state)
            one = Asked(terms, self.forms_of(wanted.samples), state)
            one.until = WINDOW_S if terms.undo_s else 0.0
            one.moment = 3000.0 if terms.effective else 0.0
            self.asked[answer.request] = one
            self.told.append(f"ask {wanted.samples} {terms} -> {answer.request[:4]} {state}")
            expected = "submitted" if terms.approval else "scheduled" if terms.effective else None
            assert state == expected or (expected is None and state in ("forgotten", "done"))

    def in_state(self, *states: str) -> str | None:
        found = [r for r, one in self.asked.items() if one.state in states]
        return self.chance.choice(found) if found else None

    def decide(self) -> None:
        if (request := self.in_state("submitted", "scheduled")) is None:
            return
        one, way = self.asked[request], self.chance.choice(["approve", "cancel", "refuse"])
        self.told.append(f"{way} {request[:4]}")
        if way == "cancel":
            one.state = str(self.home.cancel(request).state)
        elif way == "refuse":
            one.state = str(self.home.refuse(request, "no").state)
        elif one.state == "submitted":
            one.state = str(self.home.approve(request, "b").state)
            assert one.state in (("scheduled",) if one.moment else ("forgotten", "done"))
        else:
            with pytest.raises(RequestMoveRefused):
                self.home.approve(request, "b")

    def take_back(self) -> None:
        if (request := self.in_state(*ACTIVE)) is None:
            return
        one = self.asked[request]
        self.told.append(f"take back {request[:4]} ({one.state})")
        lifts = one.terms.kind is Kind.RESTRICT
        try:
            if lifts:
                self.home.lift(request)
            else:
                life.undo(self.home.site, request, self.clock)
        except RequestMoveRefused:
            assert one.state == "done"
        except UndoRefused:
            assert not lifts
            assert not one.until or self.ahead >= one.until
        else:
            assert one.state in ("forgotten", "held")
            assert lifts or self.ahead < one.until
            one.state = "undone"

    def hold(self) -> None:
        rows, name = self.some(), f"case-{len(self.told)}"
        kept = self.forms_of(rows) - self.destroyed
        self.told.append(f"hold {rows} {name}")
        if kept:
            assert self.home.hold(name, rows).rows == len(kept)
            self.holds[name] = kept
        else:
            with pytest.raises(SamplesUnknown):
                self.home.hold(name, rows)

    def correct(self) -> None:
        """What becomes of a row is meant by all that meant the row."""
        every = [o.rows for o in self.asked.values() if o.state in (*ACTIVE, *WAITING)]
        meant = [*every, *self.holds.values()]
        alive = [row for row in ROWS if not self.is_gone(self.forms[row][-1])]
        worth = [row for row in alive if any(self.forms[row][-1] in rows for rows in meant)]
        row = self.chance.choice(self.chance.choice([worth, worth, worth, alive, ROWS]) or ROWS)
        old, new = self.forms[row][-1], f"{row} again {len(self.told)}"
        self.told.append(f"correct {old}")
        cells = {name: of[[ROWS.index(row)]] for name, of in people(len(ROWS)).items()}
        cells["x0"] = people(len(ROWS))["x0"][[self.chance.randrange(len(ROWS))]]
        if self.is_gone(old):
            with pytest.raises(SamplesUnknown):
                self.home.correct(cells)
            return
        request = self.home.correct(cells).request
        for rows in meant:
            rows |= {new} if old in rows else set()
        self.asked[request] = Asked(Terms(Kind.CORRECT), {old}, "forgotten")
        self.forms[row].append(new)
        (key,) = {key for key, _ in self.read()} - {key for key, _ in self.names}
        self.names[key, 0] = new

    def is_gone(self, form: str) -> bool:
        """Whether a row is gone for all models."""
        return any(
            one.state in ACTIVE and one.scope is None and form in one.rows
            for one in self.asked.values()
        )

    def forms_of(self, rows: Iterable[str]) -> set[str]:
        """What these ids stand for: rows, and what became of them by corrections."""
        return {form for row in rows for form in self.forms[row]}

    def release(self) -> None:
        if self.holds:
            name = self.chance.choice(list(self.holds))
            self.told.append(f"release {name}")
            self.home.release(name)
            del self.holds[name]

    def wait(self) -> None:
        self.ahead += self.chance.choice([300.0, 700.0])
        self.told.append(f"wait until {self.ahead}")
        taken = life.take_effect(self.home.site, self.now())
        due = {
            r for r, o in self.asked.items() if o.state == "scheduled" and o.moment <= self.ahead
        }
        assert set(taken) == due
        for request in taken:
            one = self.asked[request]
            one.until = self.ahead + WINDOW_S if one.terms.undo_s else 0.0
            one.state = str(self.home.request(request).state)
            assert one.state in ("forgotten", "done")

    def build_one(self) -> None:
        """Have one shard rebuilt as a worker would, and tidy up behind it."""
        name, shard = self.chance.choice(list(MODELS)), self.chance.randrange(2)
        self.told.append(f"build {name} {shard}")
        row = self.home.model(name)._row
        METHODS["rebuild"]().build(self.home.site, row, shard, Inline(), Silent())
        life.tend(self.home.site, self.clock)
        self.read_states()

    def read_states(self) -> None:
        """Take over what a part of the work has led to, if it may."""
        for request, one in self.asked.items():
            state = str(self.home.request(request).state)
            assert state == one.state or (one.state, state) in {
                ("forgotten", "held"),
                ("forgotten", "done"),
                ("held", "done"),
            }, (request, one, state)
            one.state = state
        self.destroyed |= self.erased()

    def settle(self) -> None:
        self.told.append("settle")
        self.home.recover()
        life.tend(self.home.site, self.clock)
        life.tend(self.home.site, self.clock)  # a restriction whose last row went just now
        kept = {row for rows in self.holds.values() for row in rows}
        due = [one for one in self.asked.values() if one.state in ("forgotten", "held")]
        for one in due:
            if one.destroys and self.ahead >= one.until:
                self.destroyed |= one.rows - kept
        for one in sorted(due, key=lambda one: one.terms.kind is Kind.RESTRICT):
            one.state = self.ending(one, kept)
        found = {r: str(self.home.request(r).state) for r in self.asked}
        assert found == {r: o.state for r, o in self.asked.items()}, "\n".join(self.told)
        assert self.erased() == self.destroyed

    def ending(self, one: Asked, kept: set[str]) -> str:
        if self.ahead < one.until:
            return "held"
        if one.terms.kind is Kind.RESTRICT:
            return "held" if self.restricts(one) else "done"
        return "held" if one.destroys and one.rows & kept - self.destroyed else "done"

    def restricts(self, one: Asked) -> bool:
        """Whether something is left for it: what is not destroyed, nor objected to for good."""
        left = one.rows - self.destroyed
        for other in self.asked.values():
            if other.state == "done" and self.same_scope(one, other):
                left -= other.rows
        return bool(left)

    def same_scope(self, one: Asked, other: Asked) -> bool:
        return (one.terms.models, one.terms.purpose) == (other.terms.models, other.terms.purpose)

    # What must always hold

    def gone(self, model: str) -> set[str]:
        return {
            row
            for one in self.asked.values()
            if one.state in ACTIVE and one.scope in (None, model)
            for row in one.rows
        } | self.destroyed

    def check(self) -> None:
        with self.home.site.database.reading() as transaction:
            models = self.home.site.all_models(transaction)
            grounds = [self.home.site.ground_of(transaction, model) for model in models]
        for model, ground in zip(models, grounds, strict=True):
            gone = {
                self.name(key, ordinal)
                for key, ordinals in ground.gone.items()
                for ordinal in ordinals.tolist()
            }
            assert gone == self.gone(model.name), model.name
            version = self.home.model(model.name).version
            for c in version.constituents:
                names = plans.make(model.recipe, ground, c.shard).names
                assert c.frame is None or c.frame.name == names[c.depth - 1]
                is_planned = version.batches == len(ground.batches)
                assert not is_planned or c.whole <= (c.depth == len(names))
        assert self.erased() <= self.gone("m") & self.gone("offers")
        assert not self.erased() & {r for rows in self.holds.values() for r in rows}

    def name(self, key: tuple[int, int], ordinal: int) -> str:
        return self.names[key, ordinal]

    def erased(self) -> set[str]:
        with self.home.site.database.reading() as transaction:
            ground = self.home.site.ground(transaction, 1)
        return {
            self.name(key, at)
            for key, batch in ground.batches.items()
            for at, is_erased in enumerate(batch.erased(0, batch.rows).tolist())
            if is_erased
        }

    def __post_init__(self) -> None:
        self.names = self.read()
        self.forms = {row: [row] for row in ROWS}

    def read(self) -> dict[Any, str]:
        """Ids by where they stand."""
        with self.home.site.database.reading() as transaction:
            ground = self.home.site.ground(transaction, 1)
        return {
            (key, at): name
            for key, batch in ground.batches.items()
            for at, name in enumerate(batch.read(["id"], 0, batch.rows)["id"].tolist())
        }


SEEDS = (0, 8, 26, 63)
"""Some of these have found something before."""

STEPS = 40


@pytest.mark.parametrize("seed", SEEDS)
def test_any_life_comes_out_as_the_simple_model_says(place, opened, seed):
    home = opened(**place)
    home.ingest("people", people(len(ROWS)), id="id", subject="who", values=["y"])
    for name, purpose in MODELS.items():
        view = home.dataset("people").view("y", purpose=purpose)
        home.train(name, view, Sharded(Tiny(), shards=2, slices=2))
    play = Play(home, Random(seed))
    for _ in range(STEPS):
        play.step()
    play.settle()
    play.check()
    assert all(home.verify(name).exact for name in MODELS), "\n".join(play.told)
