"""Make the logs of this folder, one per attack: ``make.py`` writes them all again.

Each folder has ``log`` (as somebody would be shown it), ``attack.json`` (what is attacked, the
public key to check it with, and what must be found) and perhaps ``earlier``, a checkpoint that
the victim kept. Keys are derived from names and times are fixed, so that the files are the same
each time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from expunge.core import merkle
from expunge.ledger import files, tiles
from expunge.ledger.edge import Edge
from expunge.ledger.note import Checkpoint, Note, Signer

HERE = Path(__file__).parent
ORIGIN = "expunge/attacked"
SIZE = 260


def signer(name: str) -> Signer:
    return Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest()))


OWNER, SECOND, STRANGER = signer("owner"), signer("second"), signer("stranger")


def leaf(number: int, kind: str, body: dict[str, object]) -> bytes:
    at = f"2026-01-01T00:{number // 60:02}:{number % 60:02}.000000Z"
    return rfc8785.dumps({"v": 1, "at": at, "kind": kind, "body": body})


def entries(size: int = SIZE) -> list[bytes]:
    opened = {"origin": ORIGIN, "log_key": OWNER.verifier.vkey, "certificate_key": "00" * 32}
    rest = [leaf(n, "salt.destroyed", {"count": n}) for n in range(1, size)]
    return [leaf(0, "ledger.opened", opened), *rest]


def rotation(number: int, old: Signer = OWNER, new: Signer = SECOND) -> bytes:
    keys = {"key": "log", "new": new.verifier.vkey, "old": old.verifier.vkey}
    return leaf(number, "key.rotated", keys)


def root(leaves: Sequence[bytes]) -> bytes:
    return merkle.root([merkle.leaf_hash(one) for one in leaves])


def checkpoint(leaves: Sequence[bytes], *by: Signer, told: bytes | None = None) -> bytes:
    text = Checkpoint(ORIGIN, len(leaves), told or root(leaves)).text
    return Note(text, tuple(one.sign(text) for one in by or (OWNER,))).to_bytes()


def put(folder: Path, path: str, data: bytes) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(data)


def write(folder: Path, leaves: Sequence[bytes], *by: Signer) -> None:
    """An honest log."""
    edge = Edge()
    for start in range(0, len(leaves), 256):
        bundle = leaves[start : start + 256]
        put(folder, tiles.bundle_path(start // 256, len(bundle)), tiles.encode_bundle(bundle))
        for path, data in edge.append([*map(merkle.leaf_hash, bundle)]).items():
            put(folder, path, data)
    for path, data in edge.partial().items():
        put(folder, path, data)
    put(folder, files.CHECKPOINT, checkpoint(leaves, *by))


def honest(log: Path) -> list[str]:
    write(log, entries())
    return []


def flipped_entry(log: Path) -> list[str]:
    """One bit of one entry."""
    write(log, entries())
    path = log / "tile/entries/000"
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    return ["tile/entries/000: is not what the tree holds"]


def changed_entry_and_tile(log: Path) -> list[str]:
    """An entry is rewritten, and its hash in the lowest tile with it."""
    leaves = entries()
    write(log, leaves)
    leaves[7] = leaves[7].replace(b"7", b"8")
    put(log, "tile/entries/000", tiles.encode_bundle(leaves[:256]))
    put(log, "tile/0/000", b"".join(map(merkle.leaf_hash, leaves[:256])))
    return ["tile/1/000.p/1: is not what the entries give", "checkpoint: its root is not that"]


def rewritten_history(log: Path) -> list[str]:
    """An entry is rewritten and all tiles with it; the signature is the honest one."""
    leaves = entries()
    honest_one = checkpoint(leaves)
    leaves[7] = leaves[7].replace(b"7", b"8")
    write(log, leaves)
    put(log, files.CHECKPOINT, honest_one)
    return ["checkpoint: its root is not that of the entries"]


def forged_root(log: Path) -> list[str]:
    """A rewritten history, and the root in the checkpoint with it."""
    leaves = entries()
    signed = checkpoint(leaves)
    leaves[7] = leaves[7].replace(b"7", b"8")
    write(log, leaves)
    _, _, signatures = signed.decode().rpartition("\n\n")
    text = Checkpoint(ORIGIN, SIZE, root(leaves)).text
    put(log, files.CHECKPOINT, f"{text}\n{signatures}".encode())
    return ["checkpoint: The signature of 'expunge/attacked' does not fit the note"]


def other_key(log: Path) -> list[str]:
    """A rewritten history, signed by somebody else under the log's name."""
    leaves = entries()
    leaves[7] = leaves[7].replace(b"7", b"8")
    write(log, leaves, STRANGER)
    return [f"checkpoint: is not signed by {OWNER.verifier.vkey}"]


def truncated_log(log: Path) -> list[str]:
    """The last entries are cut off; the checkpoint still counts them."""
    write(log, entries(256))
    put(log, files.CHECKPOINT, checkpoint(entries()))
    return [
        "tile/0/001.p/4: is missing",
        "tile/entries/001.p/4: is missing",
    ]


def reordered_entries(log: Path) -> list[str]:
    """Two entries have changed places."""
    leaves = entries()
    write(log, leaves)
    leaves[8], leaves[9] = leaves[9], leaves[8]
    put(log, "tile/entries/000", tiles.encode_bundle(leaves[:256]))
    return ["tile/entries/000: is not what the tree holds"]


def doubled_entry(log: Path) -> list[str]:
    """An entry stands there twice, in the place of another."""
    leaves = entries()
    write(log, leaves)
    leaves[259] = leaves[258]
    put(log, "tile/entries/001.p/4", tiles.encode_bundle(leaves[256:]))
    return ["tile/entries/001.p/4: is not what the tree holds"]


def smuggled_bytes(log: Path) -> list[str]:
    """A bundle has one entry more than the tree."""
    leaves = entries()
    write(log, leaves)
    smuggled = tiles.encode_bundle([*leaves[256:], b"more"])
    put(log, "tile/entries/001.p/4", smuggled)
    return ["tile/entries/001.p/4: does not hold the entries that it should, and nothing else"]


def forked_checkpoint(log: Path) -> list[str]:
    """The owner itself shows another history of the same size, rightly signed."""
    leaves = entries()
    put(log.parent, "earlier", checkpoint(leaves))
    leaves[7] = leaves[7].replace(b"7", b"8")
    write(log, leaves)
    return ["checkpoint: is of another history than the earlier one of 260 entries"]


def forked_earlier(log: Path) -> list[str]:
    """The owner rewrote what was there, and appended."""
    leaves = entries(300)
    put(log.parent, "earlier", checkpoint(leaves[:SIZE]))
    leaves[258] = leaves[258].replace(b"258", b"999")
    write(log, leaves)
    return ["checkpoint: is of another history than the earlier one of 260 entries"]


def rolled_back_checkpoint(log: Path) -> list[str]:
    """The owner shows an old state, rightly signed."""
    put(log.parent, "earlier", checkpoint(entries(300)))
    write(log, entries())
    return ["checkpoint: was rolled back: the log had 300 entries before"]


def stale_tile_of_another_tree(log: Path) -> list[str]:
    """A partial tile, not needed any more, is of another history."""
    write(log, entries())
    put(log, "tile/0/001.p/2", b"".join(merkle.leaf_hash(b"%d" % n) for n in range(2)))
    return ["tile/0/001.p/2: is not how the full one begins"]


def tiles_beyond_the_checkpoint(log: Path) -> list[str]:
    """Files of entries that nobody signed."""
    write(log, entries(300))
    put(log, files.CHECKPOINT, checkpoint(entries()))
    write(log.parent / "part", entries())
    for path in ("tile/0/001.p/4", "tile/entries/001.p/4"):
        put(log, path, (log.parent / "part" / path).read_bytes())
    shutil.rmtree(log.parent / "part")
    return [
        "tile/0/001.p/44: does not belong to a log of 260 entries",
        "tile/entries/001.p/44: does not belong to a log of 260 entries",
    ]


def stolen_handover(log: Path) -> list[str]:
    """Somebody says that the log's key was replaced by theirs; the owner did not sign that."""
    leaves = [*entries(), rotation(SIZE, OWNER, STRANGER)]
    write(log, leaves, STRANGER)
    put(log, f"{files.HANDOVERS}/{SIZE + 1}", checkpoint(leaves, STRANGER))
    return [
        f"handover/{SIZE + 1}: is not signed by {OWNER.verifier.vkey}",
        "checkpoint: is of a log with another key",
        f"checkpoint: is not signed by {OWNER.verifier.vkey}",
    ]


def old_key_after_handover(log: Path) -> list[str]:
    """A replaced key, stolen later, signs for the log."""
    leaves = [*entries(), rotation(SIZE)]
    handover = checkpoint(leaves, OWNER, SECOND)
    leaves.append(leaf(262, "salt.destroyed", {"count": 262}))
    write(log, leaves, OWNER)
    put(log, f"{files.HANDOVERS}/{SIZE + 1}", handover)
    return [f"checkpoint: is not signed by {SECOND.verifier.vkey}"]


def key_out_of_nowhere(log: Path) -> list[str]:
    """An entry replaces a key that the log never had."""
    leaves = [*entries(), rotation(SIZE, STRANGER, SECOND)]
    write(log, leaves, STRANGER, SECOND)
    put(log, f"{files.HANDOVERS}/{SIZE + 1}", checkpoint(leaves, STRANGER, SECOND))
    return [
        "tile/entries/001.p/5: replaces a key that was not in force",
        "checkpoint: is of a log with another key",
    ]


def borrowed_name(log: Path) -> list[str]:
    """The log's key signs a checkpoint that names another log."""
    leaves = entries()
    write(log, leaves)
    text = Checkpoint("expunge/other", SIZE, root(leaves)).text
    put(log, files.CHECKPOINT, Note(text, (OWNER.sign(text),)).to_bytes())
    return ["checkpoint: names the log 'expunge/other'"]


ATTACKS: list[Callable[[Path], list[str]]] = [
    honest,
    flipped_entry,
    changed_entry_and_tile,
    rewritten_history,
    forged_root,
    other_key,
    truncated_log,
    reordered_entries,
    doubled_entry,
    smuggled_bytes,
    forked_checkpoint,
    forked_earlier,
    rolled_back_checkpoint,
    stale_tile_of_another_tree,
    tiles_beyond_the_checkpoint,
    stolen_handover,
    old_key_after_handover,
    key_out_of_nowhere,
    borrowed_name,
]


def main() -> None:
    for attack in ATTACKS:
        folder = HERE / attack.__name__.replace("_", "-")
        shutil.rmtree(folder, ignore_errors=True)
        problems = attack(folder / "log")
        said = (attack.__doc__ or "Nobody attacked this one.").strip()
        told = {"attack": said, "key": OWNER.verifier.vkey, "problems": problems}
        (folder / "attack.json").write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
