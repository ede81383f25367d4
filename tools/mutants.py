"""Break our rules one by one: each patch in mutants/ must fail the test that it names.

A patch begins with two comment lines, then a diff against the root of the tree::

    # breaks: 4.1 no tainted answers: publishing forgets to take the dataset's lock
    # test: tests/requests/test_locking.py::test_forget_and_publish_do_not_cross
    --- a/src/expunge/requests/publish.py
    +++ b/src/expunge/requests/publish.py

It is applied to a copy of the tree. A mutant is *killed* when its test, which passes on the
tree as it is, fails. A patch that does not apply, or that stops the test from being run at
all (an import or syntax error, a hang), shows nothing and counts as a failure of ours.

Usage: mutants.py [name …]   only the patches whose file names contain one of these
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 600.0

KILLED = "killed"
SURVIVED = "SURVIVED"
BROKEN = "BROKEN"

_HEADER = re.compile(r"\A# breaks: (?P<breaks>\S.*)\n# test: (?P<test>\S+)\n")
# A test that fails with one of these did not get as far as the rule.
_NOT_RUN = (
    "ImportError",
    "ModuleNotFoundError",
    "SyntaxError",
    "IndentationError",
    "NameError",
    "Failed: Timeout",
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One patch that breaks one rule.

    Attributes:
        breaks: The rule, in words.
        test: Node id of the test that must notice.
    """

    patch: Path
    breaks: str
    test: str

    @classmethod
    def read(cls, patch: Path) -> Mutant:
        """Read a patch's two header lines."""
        header = _HEADER.match(patch.read_text(encoding="utf-8"))
        if header is None:
            raise ValueError(f"{patch} must begin with `# breaks: <rule>` and `# test: <node id>`.")
        return cls(patch, header["breaks"], header["test"])


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a mutant."""

    mutant: Mutant
    verdict: str
    detail: str = ""


def run_all(root: Path, mutants: Sequence[Mutant], jobs: int = 2) -> list[Result]:
    """Try every mutant on a copy of the tree at ``root``, ``jobs`` at a time."""
    with ThreadPoolExecutor(jobs) as pool:
        tests = sorted({mutant.test for mutant in mutants})
        healthy = dict(zip(tests, pool.map(lambda t: _try(root, t, None), tests), strict=True))
        return list(pool.map(lambda m: _judge(root, m, healthy[m.test]), mutants))


def _judge(root: Path, mutant: Mutant, healthy: tuple[str, str]) -> Result:
    verdict, detail = healthy
    if verdict != SURVIVED:
        return Result(mutant, BROKEN, f"its test does not pass on the tree as it is: {detail}")
    return Result(mutant, *_try(root, mutant.test, mutant.patch))


def _try(root: Path, test: str, patch: Path | None) -> tuple[str, str]:
    """Run ``test`` on a copy, patched or not: a verdict and its detail."""
    with tempfile.TemporaryDirectory(prefix="expunge-mutant-") as folder:
        copy = Path(folder).resolve() / "tree"
        shutil.copytree(root, copy, ignore=_ignored)
        if patch is not None and (problem := _apply(copy, patch)):
            return BROKEN, f"the patch does not apply: {problem}"
        report = copy.parent / "report.xml"
        try:
            done = _pytest(copy, test, report)
        except subprocess.TimeoutExpired:
            return BROKEN, f"the test hangs for more than {LIMIT_S:.0f} s"
        if done.returncode == 0:
            return SURVIVED, "the test passes"
        return _read_report(report, done)


def _ignored(_folder: str, names: list[str]) -> set[str]:
    generated = {"__pycache__", "build", "dist", "site"}
    return {n for n in names if n.startswith(".") or n in generated or n.endswith(".egg-info")}


def _apply(copy: Path, patch: Path) -> str:
    """Apply a patch; what git said where it could not, else nothing."""
    # The ceiling keeps git from taking a repository above for the patch's root, in which
    # case it would skip all files without a word.
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(copy.parent)}
    command = ["git", "apply", "--whitespace=nowarn", str(patch.resolve())]
    done = subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    return _last_line(done.stderr) if done.returncode else ""


def _pytest(copy: Path, test: str, report: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PYTHONPATH": str(copy / "src"),  # goes before the installed, unbroken package
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "EXPUNGE_PROFILE": "ci",  # the same examples every time
    }
    environment.pop("PYTEST_ADDOPTS", None)
    # xunit1: tests may say how many cases they ran, which the other family refuses.
    options = ["-p", "no:cacheprovider", "-o", "junit_family=xunit1"]
    command = [sys.executable, "-m", "pytest", "-q", "-x", *options]
    return subprocess.run(
        [*command, f"--junitxml={report}", test],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def _read_report(report: Path, done: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    failures: list[ElementTree.Element] = []
    if done.returncode == 1 and report.exists():  # 1: tests ran and failed; 2 to 5: they did not
        suite = ElementTree.parse(report)  # noqa: S314 - pytest wrote it a moment ago
        failures = list(suite.iter("failure"))
    if not failures:
        return BROKEN, f"the test did not run: {_last_line(done.stdout + done.stderr)}"
    message = _first_line(failures[0].get("message", ""))
    if message.startswith(_NOT_RUN):
        return BROKEN, f"the test did not get to the rule: {message}"
    return KILLED, message


def _first_line(text: str) -> str:
    return text.partition("\n")[0].strip()


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "").strip()


def table(results: Iterable[Result]) -> str:
    """One block per mutant: verdict, patch, rule, test and why."""
    return "\n".join(
        f"{r.verdict:<9} {r.mutant.patch.stem}\n"
        f"          breaks  {r.mutant.breaks}\n"
        f"          test    {r.mutant.test}\n"
        f"          because {r.detail[:110]}"
        for r in results
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the mutants; 1 where one survives or is broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="only patches whose file names contain one")
    parser.add_argument("--root", type=Path, default=ROOT, help="the tree to break")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    options = parser.parse_args(arguments)
    patches = sorted((options.root / "mutants").glob("*.patch"))
    if options.names:
        patches = [p for p in patches if any(name in p.name for name in options.names)]
    if not patches:
        print("No mutants to try: no such file in mutants/.", file=sys.stderr)
        return 1
    results = run_all(options.root, [Mutant.read(patch) for patch in patches], options.jobs)
    killed = sum(result.verdict == KILLED for result in results)
    print(table(results))
    print(f"{killed} of {len(results)} mutants killed.")
    return int(killed != len(results))


if __name__ == "__main__":
    sys.exit(main())
