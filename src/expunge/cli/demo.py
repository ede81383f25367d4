"""The demonstration: real people's rows, a model, a few who leave, and the proof."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from expunge.cli import common
from expunge.cli.common import AsJson, count, finish, seconds
from expunge.cli.endings import Exit, keeps
from expunge.core.errors import InputError

if TYPE_CHECKING:
    from expunge.cli.demo_run import Chain, Demo

_WIDTH: Final = 96
_LABEL: Final = 11
_NUMBER: Final = 10
_CHAINS: Final = 3


class Data(StrEnum):
    """Whose rows."""

    PATIENTS = "patients"
    DIGITS = "digits"


def demo(
    data: Annotated[Data, typer.Option("--data", help="Whose rows.")] = Data.PATIENTS,
    people: Annotated[int, typer.Option("--people", min=1, max=50, help="How many leave.")] = 3,
    shards: Annotated[int, typer.Option("--shards", min=1, help="S.")] = 10,
    slices: Annotated[int, typer.Option("--slices", min=1, help="R.")] = 5,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="Keep the home, in this new folder."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Watch it work: train on real rows, let people leave, and compare bytes.

    Half a minute, offline, in a temporary folder; the rows ship with scikit-learn, the ids are
    made up. Every number is measured while you watch. Exit code 1 if anything of the forgotten
    is left, or a byte differs.
    """
    from expunge.cli.demo_data import STORIES
    from expunge.cli.demo_run import Demo
    from expunge.execution import progress

    console = Console(quiet=True) if as_json else common.out()
    live = console.is_terminal and not as_json
    with keeps("Nothing was kept."), _folder(keep) as folder:
        with _waiting(console, live, "reading real rows"):
            story = STORIES[data.value]()
        shown = progress.Live() if live else progress.Silent()
        told = Demo(story, folder, common.executor(0), shown)
        try:
            body = _Teller(console, told, live).tell(people, shards, slices)
        finally:
            told.close()
    finish(as_json, body, *([f"[dim]Look around: expunge status --home {keep}[/]"] if keep else []))
    if not body["proved"]:
        raise typer.Exit(int(Exit.NO))


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="expunge-demo-") as folder:
            yield Path(folder)
        return
    if keep.exists() and any(keep.iterdir()):
        raise InputError(f"--keep {str(keep)!r} is there already and not empty. Name a new folder.")
    yield keep


def _waiting(console: Console, live: bool, what: str) -> AbstractContextManager[Any]:
    return console.status(f"[dim]{what}[/]", spinner="dots") if live else nullcontext()


class _Teller:
    def __init__(self, console: Console, told: Demo, live: bool) -> None:
        self._console, self._demo, self._live = console, told, live
        self._body: dict[str, Any] = {}

    def tell(self, people: int, shards: int, slices: int) -> dict[str, Any]:
        self._title()
        with _waiting(self._console, self._live, "starting worker processes"):
            self._demo.warm()
        self._train(shards, slices)
        self._forget(people, shards)
        self._rebuild()
        self._destroyed()
        self._verified()
        return self._body

    def _title(self) -> None:
        story = self._demo.story
        kind = "A neural network learns from them" if story.network else "A forest learns from them"
        self._print("")
        self._print(
            Panel(
                f"[bold]{story.about}[/]\nReal rows, made-up ids. {kind}; then some of the "
                f"{story.people} want to be forgotten.",
                title="[bold]Expunge[/]",
                title_align="left",
                width=_WIDTH,
                padding=(0, 2),
                border_style="cyan",
            )
        )

    def _train(self, shards: int, slices: int) -> None:
        told = self._demo
        told.train(shards, slices)
        right = told.accuracy()
        people, rows = self._trained_on()
        checkpoints = (
            sum(told.model.version.constituents[i].depth for i in range(shards))
            if told.model.version
            else 0
        )
        held = len(told.story.held_out[told.story.target])
        self._step(
            "train",
            told.clock.seconds["train"],
            f"{people:,} {told.story.people}{'' if rows == people else f', {rows:,} rows'}, in {shards} shards × {slices} slices: {checkpoints} checkpoints",
            f"right for [bold]{right:.1%}[/] of {held:,} rows held out",
        )
        self._body |= {
            "people": people,
            "rows": rows,
            "shards": shards,
            "slices": slices,
            "checkpoints": checkpoints,
            "train_s": told.clock.seconds["train"],
            "accuracy": right,
        }

    def _trained_on(self) -> tuple[int, int]:
        learnt = self._demo.story.learnt
        return len(set(learnt["person"].tolist())), len(learnt["row"])

    def _forget(self, people: int, shards: int) -> None:
        told = self._demo
        receipt = told.forget(people)
        touched = sum(
            not c.whole
            for change in receipt.changes
            if change.after
            for c in change.after.constituents
        )
        right = told.accuracy()
        rows = receipt.accepted.samples
        self._step(
            "forget",
            receipt.seconds,
            f"{count(len(told.leaving), told.story.people[:-1])} ({count(rows, 'row')}) asked to be forgotten: [bold green]clean[/]",
            f"{touched} of {shards} shards stepped back to a checkpoint that never saw them;",
            f"answers go on meanwhile, right for [bold]{right:.1%}[/]",
        )
        self._body |= {
            "forgotten": len(told.leaving),
            "forgotten_rows": rows,
            "time_to_forget_s": receipt.seconds,
            "touched": touched,
            "accuracy_just_after": right,
        }

    def _rebuild(self) -> None:
        told = self._demo
        done = told.rebuild()
        took = told.clock.seconds["rebuild"]
        right = told.accuracy()
        plain = told.retrain()
        otherwise = told.clock.seconds["retrain"]
        self._step(
            "rebuild",
            took,
            f"whole again: {count(done['built'], 'checkpoint')} built, {self._body['checkpoints'] - done['frames']} kept; right for [bold]{right:.1%}[/]",
        )
        self._step(
            "",
            otherwise,
            f"[dim]instead of one unsharded model trained again on everyone else "
            f"(right for {told.accuracy(plain):.1%}): [/][bold]{otherwise / took:.1f}×[/][dim] the time[/]",
            above=False,
        )
        self._body |= {
            "rebuilt_checkpoints": done["built"],
            "rebuild_s": took,
            "accuracy_rebuilt": right,
            "retrain_s": otherwise,
            "accuracy_unsharded": told.accuracy(plain),
        }

    def _destroyed(self) -> None:
        checkpoints, before, left = self._demo.look()
        found = len(left.found)
        verdict = "[bold green]none[/]" if not found else f"[bold red]{found:,}[/]"
        self._step(
            "destroy",
            None,
            f"{count(self._body['forgotten_rows'], 'row')} and {count(checkpoints, 'checkpoint')} "
            f"that saw them; searched {left.files:,} files ({left.bytes / 1e6:.1f} MB):",
            f"of {left.needles:,} byte strings of theirs {verdict} is left "
            f"[dim](before: {before:,})[/]",
        )
        self._body |= {
            "destroyed_checkpoints": checkpoints,
            "needles": left.needles,
            "needles_found_before": before,
            "needles_found": found,
            "files": left.files,
        }

    def _verified(self) -> None:
        told = self._demo
        chains = told.chains()
        changed = sum(len(chain.after) - chain.kept for chain in chains)
        replay = told.verify()
        self._step(
            "verify",
            told.clock.seconds["verify"],
            f"all {count(replay.frames, 'checkpoint')} built once more, in an empty folder, from the rows that remain",
        )
        self._print(Padding(_names(chains), (1, 0, 1, 2)))
        self._body |= {
            "verify_s": told.clock.seconds["verify"],
            "names_changed": changed,
            "exact": replay.exact,
            "proved": replay.exact and not self._body["needles_found"],
        }
        self._print(_verdict(self._body, changed, replay.frames))

    def _step(self, label: str, took: float | None, *lines: str, above: bool = True) -> None:
        table = Table.grid(padding=(0, 2))
        table.add_column(width=_LABEL, no_wrap=True)
        table.add_column(width=_NUMBER, justify="right", no_wrap=True)
        table.add_column(width=_WIDTH - _LABEL - _NUMBER - 6)
        table.add_row(
            f"[bold cyan]{label}[/]",
            f"[bold]{seconds(took)}[/]" if took is not None else "",
            "\n".join(lines),
        )
        self._print(Padding(table, (int(above), 0, 0, 2)))

    def _print(self, what: Any) -> None:  # noqa: ANN401 - what rich can print
        self._console.print(what)


def _names(chains: list[Chain]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(width=_LABEL, style="dim")
    table.add_column(no_wrap=True)
    for chain in chains[:_CHAINS]:
        table.add_row(f"shard {chain.shard}", _chain(chain))
    if len(chains) > _CHAINS:
        table.add_row("", f"[dim]… and {count(len(chains) - _CHAINS, 'shard')} more[/]")
    return table


def _chain(chain: Chain) -> Text:
    """Names of checkpoints, shortened: what changed stands out."""
    text = Text()
    for names, style in ((chain.before, "red"), (chain.after, "bold green")):
        for place, name in enumerate(names):
            text.append(name[:6], style=style if place >= chain.kept else "dim")
            text.append(" ")
        if names is chain.before:
            text.append(" →  ")
    return text


def _verdict(body: dict[str, Any], changed: int, frames: int) -> Panel:
    answer = "[bold green]yes[/]" if body["exact"] else "[bold red]no[/]"
    return Panel(
        f"Same bytes as never having seen them: {answer}\n"
        f"{changed} of {frames} checkpoints have a new name, because what shaped them changed; all "
        f"others kept\ntheirs, and their bytes.\n"
        f"[dim]This says nothing about copies of the same facts under other ids, exported models, "
        f"or\nsomebody who kept the old model and compares.[/]",
        width=_WIDTH,
        padding=(0, 2),
        border_style="green" if body["proved"] else "red",
    )
