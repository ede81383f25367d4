"""Proof files: one spelling, and nothing shown by a changed one."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from expunge.core import merkle
from expunge.core.errors import ProofInvalid
from expunge.ledger import proof, strict
from expunge.ledger.note import Checkpoint, Cosigner, Note, Signer
from expunge.ledger.proof import TlogProof


def key(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


LOG = Signer("log.example/a", key(1))
WITNESSES = [Cosigner("witness.example/v", key(2)), Cosigner("witness.example/w", key(3))]
ENTRIES = [f'{{"v":1,"number":{i}}}'.encode() for i in range(11)]
HASHES = [merkle.leaf_hash(entry) for entry in ENTRIES]
TIME = 1_790_000_000

paths = st.lists(st.binary(min_size=32, max_size=32), max_size=63).map(tuple)
proofs = st.builds(
    TlogProof,
    st.integers(0, 2**63 - 1),
    paths,
    st.binary(min_size=1),
    st.none() | st.binary(min_size=1, max_size=50),
)


def signed(size: int, signer: Signer = LOG, origin: str = LOG.name) -> Note:
    text = Checkpoint(origin, size, merkle.root(HASHES[:size])).text
    return Note(text).with_signature(signer.sign(text))


def proved(index: int, size: int = 11, *, cosigned: int = 0) -> TlogProof:
    note = signed(size)
    for witness in WITNESSES[:cosigned]:
        note = note.with_signature(witness.sign(note.text, TIME))
    path = merkle.prove_inclusion(index, size, merkle.in_memory(HASHES))
    return TlogProof(index, tuple(path), note.to_bytes())


@given(proofs)
def test_a_proof_reads_back_as_it_was_written(whole: TlogProof) -> None:
    assert proof.parse(whole.to_bytes()) == whole


@given(st.binary() | st.binary().map(lambda data: proof.HEADER.encode() + b"\nindex " + data))
def test_bytes_are_a_proof_that_writes_them_or_none(data: bytes) -> None:
    assert_canonical(data)


@given(proofs, st.data())
def test_a_changed_proof_is_one_that_writes_the_change_or_none(
    whole: TlogProof, data: st.DataObject
) -> None:
    before = whole.to_bytes()
    at = data.draw(st.integers(0, len(before)))
    end = data.draw(st.integers(at, min(at + 3, len(before))))
    assert_canonical(before[:at] + data.draw(st.binary(max_size=3)) + before[end:])


@given(st.integers(1, 11), st.data())
def test_every_entry_of_every_tree_is_shown(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    read = proof.parse(proved(index, size).to_bytes())
    checked = proof.check(read, ENTRIES[index], LOG.verifier)
    assert checked.checkpoint == Checkpoint(LOG.name, size, merkle.root(HASHES[:size]))
    assert checked.witnesses == ()


@given(st.integers(0, 10), st.integers(0, 10), st.binary(max_size=40))
def test_another_entry_or_place_is_not_shown(index: int, other: int, entry: bytes) -> None:
    whole = proved(index)
    if other != index:
        with pytest.raises(ProofInvalid, match="does not show"):
            proof.check(whole, ENTRIES[other], LOG.verifier)
        moved = TlogProof(other, whole.path, whole.checkpoint)
        with pytest.raises(ProofInvalid, match="does not show"):
            proof.check(moved, ENTRIES[index], LOG.verifier)
    if entry != ENTRIES[index]:
        with pytest.raises(ProofInvalid, match="does not show"):
            proof.check(whole, entry, LOG.verifier)


def test_a_proof_file_by_hand() -> None:
    # A log of two entries, the first of them shown: its only sibling is the second.
    whole = proved(0, 2)
    text = whole.to_bytes().decode()
    head, _, checkpoint = text.partition("\n\n")
    assert head.split("\n") == [
        "c2sp.org/tlog-proof@v1",
        "index 0",
        strict.encode(HASHES[1]),
    ]
    assert checkpoint.startswith("log.example/a\n2\n")
    extra = TlogProof(0, whole.path, whole.checkpoint, b"a name")
    assert extra.to_bytes().decode().split("\n")[1] == "extra YSBuYW1l"
    assert proof.check(extra, ENTRIES[0], LOG.verifier).checkpoint.size == 2
    alone = proved(0, 1)
    assert alone.to_bytes().startswith(b"c2sp.org/tlog-proof@v1\nindex 0\n\nlog.example/a\n1\n")
    assert proof.parse(alone.to_bytes()) == alone


def test_a_file_with_any_bit_flipped_shows_less() -> None:
    whole = proved(6, cosigned=1)
    witness = WITNESSES[0].verifier
    data = whole.to_bytes()
    everything = proof.check(whole, ENTRIES[6], LOG.verifier, [witness])
    assert everything.witnesses == (witness,)
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            read = proof.parse(bytes(changed))
            shown = proof.check(read, ENTRIES[6], LOG.verifier, [witness])
        except ProofInvalid:
            continue
        # Only the witness's name or key id may have changed: it counts no more.
        assert shown.witnesses == (), bit
        assert bit // 8 > data.rindex(b"\n", 0, -1)


def test_witnesses_that_cosigned_are_named_and_others_are_not() -> None:
    first, second = (witness.verifier for witness in WITNESSES)
    shown = proof.check(proved(3, cosigned=2), ENTRIES[3], LOG.verifier, [second, first, second])
    assert shown.witnesses == (second, first)
    shown = proof.check(proved(3, cosigned=1), ENTRIES[3], LOG.verifier, [second, first])
    assert shown.witnesses == (first,)
    assert proof.check(proved(3, cosigned=2), ENTRIES[3], LOG.verifier).witnesses == ()


def test_a_forged_cosignature_spoils_the_proof() -> None:
    whole = proved(3, cosigned=1)
    impostor = Cosigner(WITNESSES[0].name, WITNESSES[0].private)
    text = signed(10).text
    note = signed(11).with_signature(impostor.sign(text, TIME))
    forged = TlogProof(whole.index, whole.path, note.to_bytes())
    with pytest.raises(ProofInvalid, match="cannot be trusted"):
        proof.check(forged, ENTRIES[3], LOG.verifier, [impostor.verifier])


def test_another_log_shows_nothing() -> None:
    whole = proved(3)
    stranger = Signer(LOG.name, key(9))
    with pytest.raises(ProofInvalid, match="not signed by"):
        proof.check(whole, ENTRIES[3], stranger.verifier)
    # A key of ours under another log's origin: the key signs, the log is not ours.
    other = TlogProof(3, whole.path, signed(11, origin="log.example/b").to_bytes())
    with pytest.raises(ProofInvalid, match=r"of the log 'log\.example/b'"):
        proof.check(other, ENTRIES[3], LOG.verifier)
    prose = Note("no checkpoint\n").with_signature(LOG.sign("no checkpoint\n"))
    with pytest.raises(ProofInvalid, match="cannot be trusted"):
        proof.check(TlogProof(3, whole.path, prose.to_bytes()), ENTRIES[3], LOG.verifier)
    with pytest.raises(ProofInvalid, match="cannot be trusted"):
        proof.check(TlogProof(3, whole.path, b"no note"), ENTRIES[3], LOG.verifier)


def test_the_hash_of_an_entry_is_not_the_entry() -> None:
    with pytest.raises(ProofInvalid, match="does not show"):
        proof.check(proved(3), HASHES[3], LOG.verifier)


HASH = strict.encode(bytes(32))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"wrong-header\nindex 0\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nextra !!notbase64!!\nindex 0\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nextra \nindex 0\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nextra YSBuYW1\nindex 0\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\n\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nindex notanumber\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nindex -5\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nindex 05\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nindex  5\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nindex 9223372036854775808\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\n!!notbase64!!\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\ncheckpoint\n",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{strict.encode(bytes(64))}\n\ncheckpoint\n".encode(),
        f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH} \n\ncheckpoint\n".encode(),
        f"c2sp.org/tlog-proof@v1\r\nindex 0\r\n{HASH}\r\n\r\ncheckpoint\n".encode(),
        f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH}\ncheckpoint\n".encode(),
        b"c2sp.org/tlog-proof@v1\nindex 0\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\nindex 0\n\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + (HASH + "\n").encode() * 64 + b"\ncheckpoint\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + bytes(proof.MOST_BYTES),
        "c2sp.org/tlog-proof@v1\nindex ٠\n\ncheckpoint\n".encode(),
    ],
    ids=lambda data: repr(data[:60]),
)
def test_what_is_no_proof_is_refused(data: bytes) -> None:
    # The first ones are those of the tests of transparency-dev/merkle.
    with pytest.raises(ProofInvalid, match="Expected"):
        proof.parse(data)


def assert_canonical(data: bytes) -> None:
    try:
        read = proof.parse(data)
    except ProofInvalid:
        return
    assert read.to_bytes() == data
