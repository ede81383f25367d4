"""The command `predict`, asked of a server: block by block, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from expunge.cli.predicting import Done, sink
from expunge.cli.remote import connected
from expunge.core.errors import InputError
from expunge.data.sources import open_source

_AT_ONCE: Final = 1_000


def run(server: str, name: str, file: Path, to: Path | None, *, proba: bool, collect: bool) -> Done:
    """Predict for all rows of ``file``; print them, write them to ``to``, or collect them."""
    done = Done()
    with connected(server) as client, sink(to, done if collect else None) as into:
        model = client.model(name)
        if proba and not model["classes"]:
            raise InputError(f"Model {name!r} is a regression: it has no probabilities.")
        for rows in _rows(file, model["features"]):
            answer = client.predict(name, rows)
            into.write(_named(model, answer, proba))
            done.rows += len(rows)
            if answer["version"] not in done.versions:
                done.versions.append(answer["version"])
    return done


def _rows(file: Path, features: list[str]) -> Iterator[list[dict[str, Any]]]:
    for block in open_source(file, {}).blocks:
        missing = [name for name in features if name not in block.schema.names]
        if missing:
            raise InputError(f"The file lacks columns of the model: {', '.join(missing)}.")
        table = pa.Table.from_batches([block]).select(features)
        for start in range(0, table.num_rows, _AT_ONCE):
            yield table.slice(start, _AT_ONCE).to_pylist()


def _named(model: dict[str, Any], answer: dict[str, Any], proba: bool) -> dict[str, list[Any]]:
    if proba:
        columns = zip(*answer["outputs"], strict=True)
        named = zip(answer["classes"], columns, strict=True)
        return {str(one): list(column) for one, column in named}
    if answer["classes"]:
        return {"prediction": answer["predictions"]}
    columns = zip(*answer["outputs"], strict=True)
    return {one: list(column) for one, column in zip(model["targets"], columns, strict=True)}
