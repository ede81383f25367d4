"""Signed notes and checkpoints: one spelling each, and signatures that count or do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import KeyInvalid, NoteInvalid
from expunge.ledger import note, signatures, strict
from expunge.ledger.note import Checkpoint, Cosigner, Note, Signature, Signer, Verifier

VECTORS = json.loads((Path(__file__).parent / "vectors/notes.json").read_text("utf-8"))["cases"]
# A short one and the post-quantum one apart: exhaustive tests run over the former.
PUBLISHED = {case["name"]: case for case in VECTORS}

# c2sp.org/tlog-cosignature, the example of its first section.
SOFA = """\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""
# c2sp.org/signed-note, the example of its first section: a text with an empty line.
QUASIMODO = """\
Ognuno sta solo sul cuor della terra
trafitto da un raggio di sole:

ed è subito sera.

— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=
"""
TEXT = Checkpoint("log.example/a", 17, bytes(range(32))).text


def key(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


LOG = Signer("log.example/a", key(1))
WITNESS = Cosigner("witness.example/w", key(2))
TIME = 1_790_000_000

names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1
).filter(lambda name: "+" not in name)
found = st.builds(
    Signature, names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=90)
)
texts = st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])), min_size=1).map(
    lambda lines: "\n".join(lines) + "\n"
)
notes = st.builds(Note, texts, st.lists(found, min_size=1, max_size=20).map(tuple))


@given(notes)
def test_a_note_reads_back_as_it_was_written(whole: Note) -> None:
    assert note.parse(whole.to_bytes()) == whole


@given(st.binary())
def test_bytes_are_a_note_that_writes_them_or_none(data: bytes) -> None:
    assert_canonical(data)


@given(notes, st.data())
def test_a_changed_note_is_one_that_writes_the_change_or_none(
    whole: Note, data: st.DataObject
) -> None:
    before = whole.to_bytes()
    at = data.draw(st.integers(0, len(before)))
    end = data.draw(st.integers(at, min(at + 3, len(before))))
    assert_canonical(before[:at] + data.draw(st.binary(max_size=3)) + before[end:])


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1),
    st.integers(0, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
)
def test_a_checkpoint_reads_back_as_it_was_written(origin: str, size: int, root: bytes) -> None:
    checkpoint = Checkpoint(origin, size, root)
    assert Checkpoint.parse(checkpoint.text) == checkpoint


@given(st.text() | st.just(TEXT).flatmap(lambda text: st.permutations(text).map("".join)))
def test_a_text_is_a_checkpoint_that_writes_it_or_none(text: str) -> None:
    try:
        checkpoint = Checkpoint.parse(text)
    except NoteInvalid:
        return
    assert checkpoint.text == text


@given(names, st.integers(0, 255))
def test_keys_read_back_as_they_were_published(name: str, seed: int) -> None:
    for verifier in (Signer(name, key(seed)).verifier, Cosigner(name, key(seed)).verifier):
        assert Verifier.parse(verifier.vkey) == verifier


@given(st.text(st.characters()) | st.text("PeterNeumann+c74f20a3+ARpc2Qc=/", max_size=90))
def test_a_text_is_a_key_that_writes_it_or_none(vkey: str) -> None:
    try:
        verifier = Verifier.parse(vkey)
    except KeyInvalid:
        return
    assert verifier.vkey == vkey


@given(texts)
def test_what_a_key_signs_it_verifies_and_nothing_else(text: str) -> None:
    signature = LOG.sign(text)
    assert LOG.verifier.verify(text, signature)
    assert not LOG.verifier.verify(text + "\n", signature)
    assert not Signer(LOG.name, key(9)).verifier.verify(text, signature)
    assert not Signer("log.example/b", LOG.private).verifier.verify(text, signature)


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: str(case["name"]))
def test_published_notes_have_the_signatures_that_they_should(case: dict[str, Any]) -> None:
    opened = note.parse(case["note"].encode())
    verifiers = [Verifier.parse(vkey) for vkey in case["vkeys"]]
    assert opened.to_bytes() == case["note"].encode()
    assert [verifier.vkey for verifier in verifiers] == case["vkeys"]
    assert [verifier.name for verifier in note.verified(opened, verifiers)] == case["signed"]


@pytest.mark.parametrize("text", [SOFA, QUASIMODO], ids=["tlog-cosignature", "signed-note"])
def test_the_examples_of_the_specifications_read_back(text: str) -> None:
    opened = note.parse(text.encode())
    assert opened.to_bytes() == text.encode()
    assert note.verified(opened, [LOG.verifier, WITNESS.verifier]) == ()


def test_the_example_of_a_checkpoint_says_what_it_should() -> None:
    opened = note.parse(SOFA.encode())
    checkpoint = Checkpoint.parse(opened.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert checkpoint.root.hex().startswith("0ac5186a91863e8e")
    log, witness = opened.signatures
    assert (log.name, log.key_id.hex(), len(log.value)) == (checkpoint.origin, "033de0ae", 64)
    assert (witness.name, witness.key_id.hex()) == ("witness.example.com/w1", "8d66cf3f")
    assert int.from_bytes(witness.value[:8], "big") == 1_679_315_147
    assert note.parse(QUASIMODO.encode()).text.count("\n") == 4


def test_a_cosignature_signs_what_the_specification_prints() -> None:
    text = note.parse(SOFA.encode()).text
    assert signatures.cosignature(text, 1_679_315_147).decode() == (
        "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n"
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )
    assert signatures.subtree("w", 5, "log", 258, bytes(range(32))) == (
        b"subtree/v1\n\0\x01w\0\0\0\0\0\0\0\x05\x03log"
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02" + bytes(range(32))
    )


def test_the_library_of_go_writes_the_same_signature() -> None:
    # Its documentation's signer key: kind 0x01 and the seed.
    seed = strict.decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")
    assert seed is not None
    signer = Signer("PeterNeumann", Ed25519PrivateKey.from_private_bytes(seed[1:]))
    case = PUBLISHED["go, one known"]
    opened = note.parse(case["note"].encode())
    assert signer.verifier.vkey == case["vkeys"][0]
    assert signer.sign(opened.text) == opened.signatures[0]


def test_a_note_with_any_bit_flipped_has_not_all_its_signers() -> None:
    whole = Note(TEXT).with_signature(LOG.sign(TEXT)).with_signature(WITNESS.sign(TEXT, TIME))
    data, signers = whole.to_bytes(), (LOG.verifier, WITNESS.verifier)
    assert note.verified(note.parse(data), signers) == signers
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            assert note.verified(note.parse(bytes(changed)), signers) != signers, bit
        except NoteInvalid:
            continue


def test_unknown_signatures_are_kept_and_count_for_nothing() -> None:
    stranger = Signature("log.example/a", b"\1\2\3\4", b"no signature")
    whole = Note(TEXT, (stranger, LOG.sign(TEXT), stranger))
    assert note.verified(whole, [LOG.verifier]) == (LOG.verifier,)
    assert note.verified(whole, [WITNESS.verifier]) == ()
    assert note.parse(whole.to_bytes()).signatures == whole.signatures


def test_a_wrong_signature_by_a_known_key_spoils_the_note() -> None:
    forged = Signature(WITNESS.name, WITNESS.verifier.key_id, bytes(72))
    whole = Note(TEXT, (LOG.sign(TEXT), WITNESS.sign(TEXT, TIME), forged))
    with pytest.raises(NoteInvalid, match="does not fit the note"):
        note.verified(whole, [LOG.verifier, WITNESS.verifier])
    assert note.verified(whole, [LOG.verifier]) == (LOG.verifier,)


def test_a_known_key_counts_once_in_the_order_asked_for() -> None:
    twice = Note(TEXT, (WITNESS.sign(TEXT, 1), LOG.sign(TEXT), WITNESS.sign(TEXT, 2)))
    asked = [LOG.verifier, WITNESS.verifier, LOG.verifier]
    assert note.verified(twice, asked) == (LOG.verifier, WITNESS.verifier)


def test_a_newer_signature_takes_the_place_of_an_older_one() -> None:
    whole = Note(TEXT, (WITNESS.sign(TEXT, 1), LOG.sign(TEXT)))
    newer = whole.with_signature(WITNESS.sign(TEXT, 2))
    assert [s.name for s in newer.signatures] == [LOG.name, WITNESS.name]
    assert newer.signatures[-1].value[:8] == (2).to_bytes(8, "big")


def test_sixteen_post_quantum_signatures_are_read() -> None:
    large = Signature("pq", b"1234", bytes(5_000))
    assert len(note.parse(Note(TEXT, (large,) * 16).to_bytes()).signatures) == 16
    small = Signature("pq", b"1234", b"1")
    note.parse(Note(TEXT, (small,) * note.MOST_SIGNATURES).to_bytes())
    for too_many in (
        Note(TEXT, (small,) * (note.MOST_SIGNATURES + 1)),
        Note("x" * note.MOST_BYTES + "\n", (small,)),
    ):
        with pytest.raises(NoteInvalid, match="read"):
            note.parse(too_many.to_bytes())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        "text\n— a AAAAAAA=\n".encode(),
        "text\n\n— a AAAAAAA=".encode(),
        b"text\n\n- a AAAAAAA=\n",
        "text\n\n—  AAAAAAA=\n".encode(),
        "text\n\n— a b AAAAAAA=\n".encode(),
        "text\n\n— a\u00a0b AAAAAAA=\n".encode(),
        "text\n\n— a+b AAAAAAA=\n".encode(),
        "text\n\n— a AAAA\n".encode(),
        "text\n\n— a AAAAAAA\n".encode(),
        "text\n\n— a AAAAAAB=\n".encode(),
        "text\n\n— a AAAAAAA= \n".encode(),
        "text\n\n— a AAAA_AA=\n".encode(),
        "text\r\n\n— a AAAAAAA=\n".encode(),
        "te\txt\n\n— a AAAAAAA=\n".encode(),
        b"te\xffxt\n\n\xe2\x80\x94 a AAAAAAA=\n",
        "text\n\n— a AAAAAAA=\nmore\n".encode(),
    ],
    ids=repr,
)
def test_what_is_no_note_is_refused(data: bytes) -> None:
    with pytest.raises(NoteInvalid):
        note.parse(data)


ROOT = strict.encode(bytes(32))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n1\n",
        f"a\n1\n{ROOT}",
        f"\n1\n{ROOT}\n",
        f"a\n01\n{ROOT}\n",
        f"a\n-1\n{ROOT}\n",
        f"a\n+1\n{ROOT}\n",
        f"a\n1 \n{ROOT}\n",
        f"a\n١\n{ROOT}\n",
        f"a\n{2**63}\n{ROOT}\n",
        f"a\n1\n{ROOT[:-1]}\n",
        f"a\n1\n{strict.encode(bytes(31))}\n",
        f"a\n1\n{strict.encode(bytes(48))}\n",
        f"a\n1\n{ROOT}\n\n",
    ],
    ids=repr,
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteInvalid, match="Expected"):
        Checkpoint.parse(text)


def test_extension_lines_are_kept_and_signed_but_no_post_quantum_key_vouches_for_them() -> None:
    text = f"{TEXT}timestamp 5\n"
    assert Checkpoint.parse(text).extensions == ("timestamp 5",)
    assert Checkpoint.parse(text).text == text
    assert WITNESS.verifier.verify(text, WITNESS.sign(text, TIME))
    assert not WITNESS.verifier.verify(TEXT, WITNESS.sign(text, TIME))
    verifier, sign = post_quantum("pq.example/w")
    assert verifier.verify(TEXT, sign(TEXT, TIME))
    assert not verifier.verify(text, sign(TEXT, TIME))


def test_post_quantum_cosignatures_bind_name_time_origin_size_and_root() -> None:
    verifier, sign = post_quantum("pq.example/w")
    signature = sign(TEXT, TIME)
    assert verifier.verify(TEXT, signature)
    later = Signature(signature.name, signature.key_id, bytes(8) + signature.value[8:])
    assert not verifier.verify(TEXT, later)
    assert not verifier.verify(TEXT.replace("17", "18"), signature)
    assert not verifier.verify(TEXT.replace("log.example/a", "log.example/b"), signature)
    assert not verifier.verify(Checkpoint("log.example/a", 17, bytes(32)).text, signature)
    assert not verifier.verify("no checkpoint\n", signature)
    assert not verifier.verify(TEXT.replace("log.example/a", "a" * 256), signature)
    other = Verifier("pq.example/v", verifier.kind, verifier.public)
    moved = Signature(other.name, other.key_id, signature.value)
    assert not other.verify(TEXT, moved)


def test_cosignatures_are_over_checkpoints_alone_and_bind_their_time() -> None:
    signature = WITNESS.sign(TEXT, TIME)
    earlier = Signature(signature.name, signature.key_id, bytes(8) + signature.value[8:])
    assert not WITNESS.verifier.verify(TEXT, earlier)
    forever = (2**63).to_bytes(8, "big") + WITNESS.private.sign(signatures.cosignature(TEXT, 2**63))
    assert not WITNESS.verifier.verify(TEXT, Signature(signature.name, signature.key_id, forever))
    for time in (-1, 2**63):
        with pytest.raises(ValueError, match="times"):
            WITNESS.sign(TEXT, time)
    with pytest.raises(NoteInvalid, match="no checkpoint"):
        WITNESS.sign("no checkpoint\n", TIME)
    prose = WITNESS.private.sign(signatures.cosignature("no checkpoint\n", TIME))
    stamped = Signature(WITNESS.name, WITNESS.verifier.key_id, TIME.to_bytes(8, "big") + prose)
    assert not WITNESS.verifier.verify("no checkpoint\n", stamped)


def test_short_signatures_verify_nothing() -> None:
    for verifier in (LOG.verifier, WITNESS.verifier, post_quantum("pq.example/w")[0]):
        for length in (1, 7, 8, 63, 64, 65, 72, 73, 2_428):
            assert not verifier.verify(
                TEXT, Signature(verifier.name, verifier.key_id, bytes(length))
            )


def test_a_mangled_key_is_refused() -> None:
    # The manglings of golang.org/x/mod's tests: all parts of a key, each byte one up, and two
    # whose id was adjusted to a wrong length and to an unknown kind.
    vkey = PUBLISHED["go, one known"]["vkeys"][0]
    parts = {vkey[i:j] for i in range(len(vkey) + 1) for j in range(i, len(vkey) + 1)} - {vkey}
    parts |= {vkey[:i] + chr(ord(vkey[i]) + 1) + vkey[i + 1 :] for i in range(len(vkey))}
    parts |= {
        vkey + "\n",
        " " + vkey,
        vkey.replace("c74f20a3", "C74F20A3"),
        "a\ud800+00000000+AQ==",
    }
    parts.add("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==")
    parts.add("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    for part in parts:
        with pytest.raises(KeyInvalid):
            Verifier.parse(part)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\tb", "a\u2003b", "a\nb", "\ud800", "a\0"])
def test_keys_have_names_that_a_signature_line_can_carry(name: str) -> None:
    with pytest.raises(KeyInvalid, match="name"):
        Verifier(name, signatures.ED25519, bytes(32))


def test_keys_of_another_length_or_kind_are_refused() -> None:
    for kind, length in ((0x01, 31), (0x04, 33), (0x06, 1311), (0x02, 91), (0x05, 32), (0xFF, 32)):
        with pytest.raises(KeyInvalid, match="Expected"):
            Verifier("a", kind, bytes(length))


def test_texts_that_no_note_can_have_are_not_signed() -> None:
    for text in ("", "no newline", "tab\t\n", "return\r\n", "\ud800\n"):
        with pytest.raises(NoteInvalid, match="lines of plain text"):
            LOG.sign(text)


def test_an_installation_without_post_quantum_keys_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    vkey = PUBLISHED["one witness with two kinds of keys"]["vkeys"][1]
    monkeypatch.setitem(
        __import__("sys").modules, "cryptography.hazmat.primitives.asymmetric.mldsa", None
    )
    with pytest.raises(KeyInvalid, match="ML-DSA-44"):
        Verifier.parse(vkey)


def assert_canonical(data: bytes) -> None:
    try:
        opened = note.parse(data)
    except NoteInvalid:
        return
    assert opened.to_bytes() == data


def post_quantum(name: str) -> tuple[Verifier, Any]:
    """A witness with an ML-DSA-44 key; we sign with none ourselves."""
    private = MLDSA44PrivateKey.from_seed_bytes(bytes(32))
    verifier = Verifier(name, signatures.SUBTREE, private.public_key().public_bytes_raw())

    def sign(text: str, time: int) -> Signature:
        checkpoint = Checkpoint.parse(text)
        tree = (checkpoint.origin, checkpoint.size, checkpoint.root)
        message = signatures.subtree(name, time, *tree)
        assert message is not None
        return Signature(name, verifier.key_id, time.to_bytes(8, "big") + private.sign(message))

    return verifier, sign
