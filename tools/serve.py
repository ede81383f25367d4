"""Serve a small home of made-up people, to try the service: `make serve`.

The home is made once, in ``build/demo-home``, with a model and a key that may do everything.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import expunge
from expunge.cli import app
from expunge.service import keys
from expunge.testing.fakes import people

HOME = Path(__file__).resolve().parent.parent / "build/demo-home"
KEY = HOME / "key"
PORT = "8000"


def prepare() -> str:
    """Make the home unless it is there. Returns the key."""
    with expunge.open(HOME, background=False) as home:
        if not home.datasets():
            home.ingest("people", people(4_000), id="id", subject="who")
        if not home.models():
            recipe = expunge.Sharded(expunge.XGBoost(rounds=20), shards=8, slices=4)
            home.train("jobs", home.dataset("people").view("y"), recipe)
        if not KEY.exists():
            KEY.touch(mode=0o600)
            KEY.write_text(keys.create(home.site, "demo", ["admin"])[1])
    return KEY.read_text()


def main() -> None:
    """Prepare, say how to ask, and serve until Ctrl-C."""
    key = prepare()
    print("In another terminal:\n")
    print(f"  export EXPUNGE_SERVER=http://127.0.0.1:{PORT} EXPUNGE_API_KEY={key}")
    print("  expunge status")
    print("  expunge forecast --subject p17")
    print('  curl $EXPUNGE_SERVER/unlearn -H "Authorization: Bearer $EXPUNGE_API_KEY" \\')
    print(
        '    -H \'Content-Type: application/json\' -d \'{"sample_id": "s42", "method": "sisa"}\'\n'
    )
    os.environ.pop("EXPUNGE_SERVER", None)
    sys.argv[1:] = ["serve", "--home", str(HOME), "--port", PORT, *sys.argv[1:]]
    app(prog_name="expunge")


if __name__ == "__main__":
    main()
