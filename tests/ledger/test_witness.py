from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from expunge.core import merkle
from expunge.core.errors import InputError, NoteInvalid, WitnessRefused
from expunge.ledger import note, proof, sql, strict
from expunge.ledger.note import Checkpoint, Cosigner, Verifier

NOW = 1_790_000_000


@dataclass
class Witness:
    """A witness as c2sp.org/tlog-witness describes it, and ways in which it may misbehave.

    Attributes:
        logs: Origins with their public keys.
        seen: By origin, the last checkpoint that was cosigned.
        behave: What it does instead of answering as it should; "" as it should.
    """

    cosigner: Cosigner
    logs: dict[str, Verifier] = field(default_factory=dict)
    seen: dict[str, Checkpoint] = field(default_factory=dict)
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    behave: str = ""
    url: str = ""

    @property
    def vkey(self) -> str:
        return self.cosigner.verifier.vkey

    def answer(self, body: bytes) -> tuple[int, str, bytes]:
        """Status, content type, body."""
        head, _, signed = body.partition(b"\n\n")
        first, *lines = head.decode().split("\n")
        old = strict.number(first.removeprefix("old "))
        path = [strict.decode(line, 32) for line in lines]
        opened = note.parse(signed)
        tree = Checkpoint.parse(opened.text)
        is_read = first.startswith("old ") and None not in path and len(path) <= 63
        if old is None or not is_read or old > tree.size:
            return 400, "text/plain", b"malformed\n"
        if tree.origin not in self.logs:
            return 404, "text/plain", b"unknown log\n"
        try:
            known = note.verified(opened, [self.logs[tree.origin]])
        except NoteInvalid:
            known = ()
        return self.compare(opened, old, path) if known else (403, "text/plain", b"unknown key\n")

    def compare(self, opened, old, path) -> tuple[int, str, bytes]:
        tree = Checkpoint.parse(opened.text)
        last = self.seen.get(tree.origin, Checkpoint(tree.origin, 0, merkle.root([])))
        if old != last.size:
            return 409, "text/x.tlog.size", b"%d\n" % last.size
        if old == tree.size and last.root != tree.root:
            return 409, "text/plain", b"another tree\n"
        if not merkle.check_consistency(old, last.root, tree.size, tree.root, path):
            return 422, "text/plain", b"no proof\n"
        self.seen[tree.origin] = tree
        return 200, "text/plain", f"{self.cosigner.sign(opened.text, NOW).line}\n".encode()


class Handler(BaseHTTPRequestHandler):
    witness: Witness
    timeout = 20

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.witness.requests.append((self.path, body))
        misbehaviour = getattr(self, f"be_{self.witness.behave}", None)
        if misbehaviour is not None:
            misbehaviour(body)
            return
        if self.path != "/prefix/add-checkpoint":
            self.tell(404, "text/plain", b"")
            return
        self.tell(*self.witness.answer(body))

    def tell(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def be_silent(self, _body: bytes) -> None:
        time.sleep(3)

    def be_slow(self, _body: bytes) -> None:
        """One byte now and then, in the head and in the body."""
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + bytes(90000):
            try:
                self.wfile.write(bytes([byte]))
            except OSError:
                return
            time.sleep(0.02)

    def be_endless(self, _body: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(1000):
                self.wfile.write(b"\xe2\x80\x94 " * 1000)
        except OSError:
            return

    def be_no_http(self, _body: bytes) -> None:
        self.wfile.write(b"\0\1\2\n\n")

    def be_redirecting(self, _body: bytes) -> None:
        self.send_response(307)
        self.send_header("Location", self.witness.url + "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def be_wrong(self, body: bytes) -> None:
        """Cosigns another tree."""
        text = Checkpoint("expunge/test", 9, bytes(32)).text
        self.tell(200, "text/plain", f"{self.witness.cosigner.sign(text, NOW).line}\n".encode())

    def be_another(self, body: bytes) -> None:
        """Cosigns with a key that nobody asked for."""
        text = note.parse(body.partition(b"\n\n")[2]).text
        other = Cosigner("witness.example", Ed25519PrivateKey.generate())
        self.tell(200, "text/plain", f"{other.sign(text, NOW).line}\n".encode())

    def be_chatty(self, body: bytes) -> None:
        """Cosigns with several keys, the one that is asked for among them."""
        text = note.parse(body.partition(b"\n\n")[2]).text
        other = Cosigner("witness.example/old", Ed25519PrivateKey.generate())
        lines = [who.sign(text, NOW).line for who in (other, self.witness.cosigner)]
        self.tell(200, "text/plain", "".join(f"{line}\n" for line in lines).encode())

    def be_garbled(self, _body: bytes) -> None:
        self.tell(200, "text/plain", b"<html>thank you</html>\n")

    def be_confused(self, _body: bytes) -> None:
        self.tell(409, "text/x.tlog.size", b"many\n")

    def be_fickle(self, _body: bytes) -> None:
        self.tell(409, "text/x.tlog.size", b"%d\n" % len(self.witness.requests))

    def be_broken(self, _body: bytes) -> None:
        self.tell(500, "text/plain", b"")

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def witness() -> Iterator[Witness]:
    made = Witness(Cosigner("witness.example", Ed25519PrivateKey.generate()))
    handler = type("Bound", (Handler,), {"witness": made})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    made.url = f"http://127.0.0.1:{server.server_port}/prefix"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def ledger(desk, witness):
    made = desk.ledger()
    desk.record(3)
    made.sync()
    witness.logs["expunge/test"] = Verifier.parse(made.vkey)
    return made


def cosigned(ledger, witness, **options):
    return ledger.witness(witness.url, witness.vkey, **options)


def test_a_witness_cosigns_what_goes_on_from_what_it_saw(desk, ledger, witness):
    for count in (0, 1, 250, 300):
        desk.record(count)
        ledger.sync()
        data = cosigned(ledger, witness)
        log, other = Verifier.parse(ledger.vkey), witness.cosigner.verifier
        assert note.verified(note.parse(data), [log, other]) == (log, other)
        assert ledger.checkpoint == data
        assert ledger.witnesses == ("witness.example",)
        made = ledger.proof(2)
        assert proof.check(made, ledger.entries(2, 3)[0], log, [other]).witnesses == (other,)
        assert ledger.fsck().is_clean
    assert witness.seen["expunge/test"].size == ledger.size == 555
    # We knew what it had seen: never asked twice.
    assert len(witness.requests) == 4
    assert [body.split(b"\n")[0] for _, body in witness.requests] == [
        b"old 0",
        b"old 4",
        b"old 5",
        b"old 255",
    ]


def test_a_cosignature_stays_until_the_next_checkpoint(desk, ledger, witness):
    data = cosigned(ledger, witness)
    assert ledger.sync() == 4
    assert desk.ledger().checkpoint == data
    desk.record()
    ledger.sync()
    assert ledger.witnesses == ()
    assert len(note.parse(ledger.checkpoint).signatures) == 1
    # Proofs under the cosigned one can still be made.
    (made,) = ledger.proofs([1], data)
    known = [witness.cosigner.verifier]
    log = Verifier.parse(ledger.vkey)
    assert proof.check(made, ledger.entries(1, 2)[0], log, known).witnesses == tuple(known)


def test_several_witnesses_cosign_one_checkpoint(ledger, witness):
    cosigned(ledger, witness)
    witness.cosigner = Cosigner("witness.example/two", Ed25519PrivateKey.generate())
    witness.seen.clear()
    cosigned(ledger, witness)
    assert ledger.witnesses == ("witness.example", "witness.example/two")
    assert len(note.parse(ledger.checkpoint).signatures) == 3
    assert ledger.fsck().is_clean


def test_a_witness_that_saw_more_than_we_remember_is_asked_once_more(desk, ledger, witness):
    cosigned(ledger, witness)
    with desk.database.transaction() as transaction:
        transaction.execute(sql.COSIGNATURES.delete())  # a restored database
    desk.record(7)
    ledger.sync()
    cosigned(ledger, witness)
    assert [body.split(b"\n")[0] for _, body in witness.requests[1:]] == [b"old 0", b"old 4"]
    assert ledger.witnesses == ("witness.example",)


def test_a_witness_that_forgot_is_asked_once_more(desk, ledger, witness):
    cosigned(ledger, witness)
    witness.seen.clear()
    desk.record(7)
    ledger.sync()
    cosigned(ledger, witness)
    assert witness.requests[-1][1].startswith(b"old 0\n\nexpunge/test\n11\n")


def test_the_same_checkpoint_is_cosigned_again(ledger, witness):
    assert cosigned(ledger, witness) == cosigned(ledger, witness)
    assert witness.requests[1][1].startswith(b"old 4\n\n")


def test_a_busy_log_keeps_the_cosignature_of_what_was_sent(desk, ledger, witness):
    answer = witness.answer

    def meanwhile(body):
        desk.record()
        ledger.sync()
        return answer(body)

    witness.answer = meanwhile
    data = cosigned(ledger, witness)
    assert (Checkpoint.parse(note.parse(data).text).size, ledger.size) == (4, 5)
    assert ledger.witnesses == ()
    log, other = Verifier.parse(ledger.vkey), witness.cosigner.verifier
    (made,) = ledger.proofs([0], data)
    assert proof.check(made, ledger.entries(0, 1)[0], log, [other]).witnesses == (other,)


# Refusals


def refused(ledger, witness, match, **options):
    before = ledger.checkpoint
    with pytest.raises(WitnessRefused, match=match):
        cosigned(ledger, witness, **options)
    assert ledger.checkpoint == before
    assert ledger.witnesses == ()


def test_a_witness_that_does_not_know_the_log(ledger, witness):
    witness.logs.clear()
    refused(ledger, witness, r"answered 404\. It does not know the log: ask its operator to add")


def test_a_witness_that_does_not_know_the_key(ledger, witness):
    stranger = note.Signer("expunge/test", Ed25519PrivateKey.generate())
    witness.logs["expunge/test"] = stranger.verifier
    refused(ledger, witness, r"answered 403\. .* send its operator the log's public key")


def test_a_fork_is_not_cosigned(desk, ledger, witness):
    witness.seen["expunge/test"] = Checkpoint("expunge/test", 4, bytes(32))
    refused(ledger, witness, r"answered 409\. It holds another tree of this size")
    desk.record()
    ledger.sync()
    refused(ledger, witness, r"answered 422\. The proof does not lead from the tree")


def test_a_rolled_back_log_is_told(ledger, witness):
    witness.seen["expunge/test"] = Checkpoint("expunge/test", 40, bytes(32))
    refused(ledger, witness, "has cosigned a log of 40 entries; this one has 4: it was rolled back")


@pytest.mark.parametrize(
    ("behave", "match"),
    [
        ("wrong", "answer is no cosignature"),
        ("another", "without a cosignature by 'witness.example'"),
        ("garbled", "answer is no cosignature"),
        ("endless", "longer than 65,536 bytes"),
        ("no_http", "does not answer"),
        ("redirecting", "answered 307. Try again later"),
        ("confused", "answered 409"),
        ("fickle", "answered 409"),
        ("broken", "answered 500. Try again later, or ask its operator"),
    ],
)
def test_other_answers_count_for_nothing(ledger, witness, behave, match):
    witness.behave = behave
    refused(ledger, witness, match)
    assert len(witness.requests) <= 2


@pytest.mark.parametrize("behave", ["silent", "slow"])
def test_a_witness_that_hangs_is_left_in_time(ledger, witness, behave):
    witness.behave = behave
    begun = time.monotonic()
    refused(ledger, witness, "in time", timeout_s=0.3)
    assert time.monotonic() - begun < 25


def test_of_several_cosignatures_ours_is_taken(ledger, witness):
    witness.behave = "chatty"
    assert len(note.parse(cosigned(ledger, witness)).signatures) == 2
    assert ledger.witnesses == ("witness.example",)


def test_nobody_answers(ledger, witness):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(WitnessRefused, match="does not answer"):
        ledger.witness(url, witness.vkey)


@pytest.mark.parametrize(
    "url",
    [
        "http://witness.example/a",
        "ftp://witness.example",
        "file:///etc/passwd",
        "witness.example",
        "https://",
        "https://witness.example/?a=b",
        "https://witness.example/#a",
        "https://witness.example:many/",
        "http://localhost.witness.example/",
    ],
)
def test_other_addresses_are_refused(ledger, witness, url):
    with pytest.raises(InputError, match="must begin with https://"):
        ledger.witness(url, witness.vkey)


def test_a_cosignature_is_published_by_whoever_has_the_turn(ledger, witness):
    with ledger._writer.turn():
        data = cosigned(ledger, witness)
        assert ledger.checkpoint != data
    ledger.sync()
    assert ledger.checkpoint == data
