"""Check everything in a log's folder: every signature, every entry, every hash, every file.

Needs the folder and the log's public key alone, so that anybody can run it over a copy.

References:
    c2sp.org/tlog-tiles; c2sp.org/tlog-checkpoint; RFC 6962 section 2.1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from expunge.core.errors import KeyInvalid, NoteInvalid
from expunge.ledger import files, note, tiles
from expunge.ledger.derive import Problem, Tree
from expunge.ledger.note import Checkpoint, Note, Verifier


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found.

    Attributes:
        problems: What is wrong; nothing where all is well.
        entries: How many entries the log has.
        files: How many files were checked.
    """

    problems: tuple[Problem, ...]
    entries: int
    files: int

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def fsck(
    folder: Path,
    vkey: str,
    *,
    earlier: bytes | None = None,
    witnesses: Sequence[str] | None = None,
) -> Report:
    """Check the log in ``folder`` exhaustively. Costs two hashes per entry; writes nothing.

    Args:
        folder: Holds ``checkpoint`` and ``tile/``; nobody writes there meanwhile.
        vkey: Public key of the log. One that was replaced since will do: the log's handovers
            lead from it to the present one.
        earlier: A checkpoint that the log published before, of your own keeping. It tells a log
            that was rolled back or rewritten under its own key, which nothing in it can tell.
        witnesses: Public keys of all that may have cosigned; a signature by anybody else is a
            problem then. By default other signatures count for nothing, and are not checked.

    Raises:
        KeyInvalid: A public key is none.
        NoteInvalid: The earlier checkpoint is none, or not of this log.
    """
    return _Check(folder, Verifier.parse(vkey), witnesses).run(earlier)


class _Check:
    def __init__(self, folder: Path, verifier: Verifier, witnesses: Sequence[str] | None) -> None:
        self._folder, self._trusted = folder, [verifier]
        self._witnesses = None if witnesses is None else [*map(Verifier.parse, witnesses)]
        self._problems: list[Problem] = []
        found = folder.rglob("*") if folder.is_dir() else iter(())
        self._files = {p.relative_to(folder).as_posix() for p in found if not p.is_dir()}
        # What entries say about the log's keys, by their numbers.
        self._keys: dict[int, tuple[Verifier | None, Verifier]] = {}
        self._handovers: dict[str, tuple[Verifier, Verifier]] = {}

    def run(self, earlier: bytes | None) -> Report:
        head = self._opened(files.CHECKPOINT)
        is_trusted = head is not None and self._is_by(head[0], self._trusted[0])
        # Whoever changed the checkpoint may have changed the size in it.
        size = head[1].size if head and is_trusted else self._guess()
        root = head[1].root if head and is_trusted else None
        tree = Tree(self._folder, size, root, self._see)
        self._problems += tree.problems
        self._check_keys(tree)
        if head is not None:
            self._check_head(*head, tree)
        if earlier is not None:
            self._check_earlier(earlier, size, tree)
        self._check_others(size, tree)
        return Report(tuple(dict.fromkeys(self._problems)), size, len(self._files))

    def _say(self, file: str, where: str, what: str) -> None:
        self._problems.append(Problem(file, where, what))

    def _opened(self, file: str) -> tuple[Note, Checkpoint] | None:
        """The checkpoint in a file; None, and a problem, where it is none."""
        try:
            opened = note.parse((self._folder / file).read_bytes())
            return opened, Checkpoint.parse(opened.text)
        except (OSError, NoteInvalid) as error:
            missing = isinstance(error, OSError)
            self._say(file, "", "is missing, or cannot be read" if missing else str(error))
            return None

    def _is_by(self, signed: Note, verifier: Verifier) -> bool:
        with suppress(NoteInvalid):
            return verifier in note.verified(signed, [verifier])
        return False

    def _guess(self) -> int:
        """The size of a log whose checkpoint is of no help."""
        places = (place for place in map(files.place, self._files) if place and place.level is None)
        return max((place.index * tiles.WIDTH + place.width for place in places), default=0)

    def _see(self, number: int, leaf: bytes) -> None:
        """Note what an entry says about the log's keys."""
        if b'"ledger.opened"' not in leaf and b'"key.rotated"' not in leaf:
            return
        # Logs of others hold what they like.
        with suppress(ValueError, KeyError, TypeError, AttributeError, KeyInvalid):
            said = json.loads(leaf)
            kind, body = said["kind"], said["body"]
            if kind == "ledger.opened" and number == 0:
                self._keys[number] = (None, Verifier.parse(body["log_key"]))
            if kind == "key.rotated" and body["key"] == "log":
                self._keys[number] = (Verifier.parse(body["old"]), Verifier.parse(body["new"]))

    def _check_keys(self, tree: Tree) -> None:
        """Follow the log's keys from the first to the present one."""
        present = None
        for number, (old, new) in sorted(self._keys.items()):
            # Where the first entry cannot be read, nothing says which key was the first.
            if old != present and (present is not None or not tree.problems):
                file = tree.bundle(number)
                self._say(file, f"entry {number:,}", "replaces a key that was not in force")
            if old is not None:
                self._check_handover(number + 1, old, new, tree)
            present = new
        if present is not None and present not in self._trusted and not tree.problems:
            self._say(files.CHECKPOINT, "", f"is of a log with another key: {present.vkey}")

    def _check_handover(self, size: int, old: Verifier, new: Verifier, tree: Tree) -> None:
        """Check the head that an old and a new key signed; then the new one is trusted too."""
        file = f"{files.HANDOVERS}/{size}"
        self._handovers[file] = (old, new)
        found = self._opened(file)
        if found is None or not self._is_signed(file, found[0], (old, new)):
            return
        root = tree.root(size)
        if found[1].size != size or (root is not None and found[1].root != root):
            self._say(file, "", f"is not of this log's first {size:,} entries")
        elif old in self._trusted:
            self._trusted.append(new)

    def _is_signed(self, file: str, signed: Note, by: Sequence[Verifier]) -> bool:
        try:
            missing = [v for v in by if v not in note.verified(signed, by)]
        except NoteInvalid as error:
            self._say(file, "", str(error))
            return False
        for verifier in missing:
            self._say(file, "", f"is not signed by {verifier.vkey}")
        return not missing

    def _check_head(self, signed: Note, checkpoint: Checkpoint, tree: Tree) -> None:
        file, size, root = files.CHECKPOINT, checkpoint.size, tree.root(checkpoint.size)
        by = self._handovers.get(f"{files.HANDOVERS}/{size}", self._trusted[-1:])
        if self._is_signed(file, signed, by) and checkpoint.origin != by[0].name:
            self._say(file, "line 1", f"names the log {checkpoint.origin!r}")
        if root is not None and root != checkpoint.root:
            self._say(file, "line 3", "its root is not that of the entries")
        if self._witnesses is not None:
            self._check_witnesses(signed, [*by, *self._witnesses])

    def _check_witnesses(self, signed: Note, known: Sequence[Verifier]) -> None:
        names = {(verifier.name, verifier.key_id) for verifier in known}
        for line, signature in enumerate(signed.signatures, signed.text.count("\n") + 2):
            if (signature.name, signature.key_id) not in names:
                self._say(files.CHECKPOINT, f"line {line}", "is by nobody who may sign")
        try:
            note.verified(signed, known)
        except NoteInvalid as error:
            self._say(files.CHECKPOINT, "", str(error))

    def _check_earlier(self, data: bytes, size: int, tree: Tree) -> None:
        """Compare with a checkpoint that was kept elsewhere."""
        signed = note.parse(data)
        checkpoint = Checkpoint.parse(signed.text)
        # Older keys too: the present one signed the entries that name them.
        named = [key for pair in self._handovers.values() for key in pair]
        if not note.verified(signed, [*self._trusted, *named]):
            raise NoteInvalid(
                "The earlier checkpoint is not signed by a key of this log. Name one that you "
                "got from this log."
            )
        if checkpoint.size > size:
            what = f"was rolled back: the log had {checkpoint.size:,} entries before"
            self._say(files.CHECKPOINT, "line 2", what)
        elif tree.root(checkpoint.size) not in (None, checkpoint.root):
            what = f"is of another history than the earlier one of {checkpoint.size:,} entries"
            self._say(files.CHECKPOINT, "line 3", what)

    def _check_others(self, size: int, tree: Tree) -> None:
        """Look at the files that need not be there: shorter tiles are right, or do not belong."""
        needed = {files.CHECKPOINT, *self._handovers, *(p.path for p in files.places(size))}
        for path in sorted(self._files - needed):
            place = files.place(path)
            if place is None or place.width > place.width_at(size):
                # What cannot be read may name it: one fault is told once.
                if not (path.startswith(files.HANDOVERS) and tree.problems):
                    self._say(path, "", f"does not belong to a log of {size:,} entries")
            elif not tree.begins(place, (self._folder / path).read_bytes()):
                self._say(path, "", "is not how the full one begins")
