"""Catalogues: our own entries and those of plug-ins, imported when asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest

from expunge.core.catalogue import Catalogue
from expunge.core.errors import UnknownName

OURS = {"ordered": "collections:OrderedDict", "broken": "no.such.module:Thing"}


def test_an_entry_is_imported_when_it_is_asked_for() -> None:
    things: Catalogue[type] = Catalogue("thing", "expunge.test", OURS)
    assert things["ordered"] is OrderedDict
    assert sorted(things) == ["broken", "ordered"]
    assert len(things) == 2
    with pytest.raises(ModuleNotFoundError):
        things["broken"]


def test_listing_imports_nothing() -> None:
    code = (
        "import sys; from expunge.core.catalogue import Catalogue;"
        "c = Catalogue('thing', 'expunge.test', {'a': 'wave:Wave_read'});"
        "list(c), len(c), 'a' in dict.fromkeys(c);"
        "assert 'wave' not in sys.modules; c['a']; assert 'wave' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_says_what_there_is() -> None:
    things: Catalogue[type] = Catalogue("thing", "expunge.test", OURS)
    with pytest.raises(
        UnknownName, match=r"No thing 'x'\. There are: 'broken', 'ordered'"
    ) as caught:
        things["x"]
    assert isinstance(caught.value, LookupError)
    assert caught.value.known == ["broken", "ordered"]


def test_a_plug_in_adds_a_name_and_cannot_take_ours(tmp_path: Path) -> None:
    (tmp_path / "their_module.py").write_text("class Theirs: ...\nclass Stolen: ...\n")
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[expunge.test]\ntheirs = their_module:Theirs\nordered = their_module:Stolen\n"
    )
    code = (
        "from expunge.core.catalogue import Catalogue;"
        f"c = Catalogue('thing', 'expunge.test', {OURS!r});"
        "assert sorted(c) == ['broken', 'ordered', 'theirs'], sorted(c);"
        "assert c['theirs'].__name__ == 'Theirs';"
        "assert c['ordered'].__name__ == 'OrderedDict'"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": path})


def test_a_thing_knows_its_name() -> None:
    things: Catalogue[type] = Catalogue("thing", "expunge.test", OURS)
    assert things.name_of(OrderedDict) == "ordered"
    with pytest.raises(UnknownName):
        things.name_of(dict)
