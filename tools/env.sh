#!/bin/sh
# Creates or refreshes the environment .venv: tools/env.sh [extras], by default all,dev.
# Called by the Makefile, which knows when it is needed. PYTHON=… picks the interpreter.
set -eu
cd "$(dirname "$0")/.."
extras=${1:-all,dev}
log=.venv/install.log

say() { printf '%s\n' "$*" >&2; }

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
  for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3}; do
    if fits "$candidate"; then command -v "$candidate"; return; fi
  done
  say "Expunge needs Python 3.11 or newer, and found none${PYTHON:+ at PYTHON=$PYTHON}."
  say "Install it (Debian, Ubuntu: apt-get install python3-venv), or name one: make PYTHON=/path/to/python3"
  exit 1
}

if fits .venv/bin/python; then
  say "Refreshing .venv ($extras) …"
else
  python=$(find_python)
  if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    say "Python at $python cannot create environments: its venv module is not installed."
    say "On Debian or Ubuntu: apt-get install python$version-venv"
    exit 1
  fi
  say "Installing Expunge and what constraints.txt pins ($extras) into .venv: once, a few minutes …"
  "$python" -m venv --clear .venv
fi

pip() {
  .venv/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt "$@" \
    >"$log" 2>&1 || { tail -n 20 "$log" >&2; say "Installing failed; all of it is in $log."; exit 1; }
}
# The build backend first and without isolation, so that a later refresh needs no network.
pip setuptools
pip --no-build-isolation --editable ".[$extras]"
say "Installed: $(.venv/bin/python --version), $(du -sh .venv | cut -f1 | tr -d ' ')."

if ! .venv/bin/python -c 'import lightgbm' >/dev/null 2>&1; then
  say "LightGBM cannot be loaded: it needs the OpenMP library of the system."
  say "Debian, Ubuntu: apt-get install libgomp1; macOS: brew install libomp. All else works without."
fi
