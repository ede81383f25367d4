"""Files of ids: read as they come, refused as a whole."""

from __future__ import annotations

import csv
import io
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.api.problems import Problem
from expunge.api.uploads import Reader

CSV = {"Content-Type": "text/csv"}
LINES = st.lists(
    st.text(
        st.characters(codec="utf-8", exclude_characters="\n\r\0", exclude_categories=["Cs"]),
        min_size=1,
        max_size=8,
    ),
    min_size=1,
    max_size=12,
)


def read(data, parts, **options):
    reader = Reader(1_000_000, **options)
    bounds = [0, *sorted(min(part, len(data)) for part in parts), len(data)]
    for start, stop in itertools.pairwise(bounds):
        reader.take(data[start:stop])
    reader.take(b"", is_last=True)
    return reader


@given(
    LINES, st.lists(st.integers(0, 80), max_size=6), st.sampled_from(["\n", "\r\n"]), st.booleans()
)
def test_whatever_is_written_as_csv_is_read_in_any_parts(ids, parts, end, ended):
    text = io.StringIO()
    csv.writer(text, lineterminator=end).writerows([one] for one in ids)
    data = text.getvalue() if ended else text.getvalue().removesuffix(end)
    assert read(data.encode(), parts, header="absent").ids == ids


@given(LINES, st.lists(st.integers(0, 80), max_size=6))
def test_a_header_says_what_the_ids_are_of(ids, parts):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([[one] for one in ("subject", *ids)])
    reader = read(text.getvalue().encode(), parts)
    assert (reader.column, reader.ids) == ("subject", ids)


@pytest.mark.parametrize(
    ("data", "ids"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"\xef\xbb\xbfa\r\nb", ["a", "b"]),
        (b"\n\na\n\n\nb\n\n", ["a", "b"]),
        (b"sample_id\na\n", ["a"]),
        (b"ID\na\n", ["a"]),
        (b'"sample_id"\n"a,b"\n"c""d"\n', ["a,b", 'c"d']),
        (b" a \n", [" a "]),
    ],
)
def test_known_answers(data, ids):
    assert read(data, []).ids == ids


@pytest.mark.parametrize(
    "data",
    [
        b"a,b\n",
        b'"a\n',
        b'"a"b\n',
        b'a"b"c,"\n',
        b"a\rb\n",
        b"\xff\xfe\n",
        b"x" * 513 + b"\n",
        b"x" * 100_000,
        b"a\n" * 5 + b"caf\xc3",
    ],
)
def test_what_is_no_list_of_ids(data):
    with pytest.raises(Problem) as caught:
        read(data, [])
    assert caught.value.status in (400, 422)


def test_the_line_is_named_and_never_what_stands_in_it(server):
    answer = server("POST", "/unlearn/bulk", content=b"s1\ns2\nanna,bert\n", headers=CSV)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "line 3"
    assert "anna" not in answer.text


def test_a_file_is_one_request(server):
    data = "sample_id\r\n" + "".join(f"s{n}\r\n" for n in range(50))
    answer = server("POST", "/unlearn/bulk", content=data.encode(), headers=CSV)
    assert (answer.status_code, answer.json()["samples"]) == (202, 50)
    assert len(server("GET", "/requests").json()["requests"]) == 1


def test_terms_stand_in_the_query(server):
    terms = {"column": "subject", "regime": "gdpr", "undo_s": "60", "models": ["wide"]}
    answer = server("POST", "/unlearn/bulk", content=b"p1\np2\n", headers=CSV, params=terms)
    assert (answer.status_code, answer.json()["samples"]) == (202, 4)
    shown = server("GET", answer.headers["location"]).json()
    assert shown["narrowed"]
    assert shown["deadline"]
    for wrong in ({"column": "row"}, {"surprise": "1"}, {"undo_s": "x"}, {"kind": "correct"}):
        answer = server("POST", "/unlearn/bulk", content=b"p1\n", headers=CSV, params=wrong)
        assert answer.status_code == 422, wrong


def test_the_media_type_says_whether_there_is_a_header(server):
    absent = {"Content-Type": "text/csv; header=absent"}
    answer = server("POST", "/unlearn/bulk", content=b"id\ns1\n", headers=absent)
    assert answer.json()["code"] == "samples-unknown"
    present = {"Content-Type": "text/csv; header=present"}
    answer = server("POST", "/unlearn/bulk", content=b"s1\ns2\n", headers=present)
    assert answer.status_code == 422
    for kind in ("application/json", "text/csv; header=maybe", "text/csv; charset=utf-16"):
        answer = server("POST", "/unlearn/bulk", content=b"s1\n", headers={"Content-Type": kind})
        assert answer.status_code == 415


def test_files_are_limited_by_bytes_and_by_ids(serve):
    server = serve(bulk_bytes=1000, bulk_ids=5)
    for data in (b"s1\n" * 6, b"s1\n" * 1000):
        assert server("POST", "/unlearn/bulk", content=data, headers=CSV).status_code == 413

    async def streamed():
        for _ in range(1000):
            yield b"\n" * 100

    assert server("POST", "/unlearn/bulk", content=streamed(), headers=CSV).status_code == 413
    for data in (b"", b"\n\n", b"sample_id\n"):
        answer = server("POST", "/unlearn/bulk", content=data, headers=CSV)
        assert (answer.status_code, answer.json()["code"]) == (422, "nothing-to-forget")


def test_an_upload_under_an_idempotency_key_is_one_request(server):
    headers = {**CSV, "Idempotency-Key": "upload"}
    first = server("POST", "/unlearn/bulk", content=b"s1\ns2\n", headers=headers)
    again = server("POST", "/unlearn/bulk", content=b"s1\ns2\n", headers=headers)
    assert first.json() == again.json()
    other = server("POST", "/unlearn/bulk", content=b"s1\n", headers=headers)
    assert other.json()["code"] == "idempotency-reused"
    terms = {"undo_s": "9"}
    other = server("POST", "/unlearn/bulk", content=b"s1\ns2\n", headers=headers, params=terms)
    assert other.json()["code"] == "idempotency-reused"
