"""A log as static files: paths, bundles, and proofs that read few tiles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core import merkle
from expunge.core.errors import LedgerError
from expunge.ledger import tiles


def grown(n: int) -> list[bytes]:
    return [merkle.leaf_hash(i.to_bytes(4, "big")) for i in range(n)]


def written(leaves: list[bytes]) -> dict[str, bytes]:
    """All tiles over leaf hashes, by path: each level holds the roots of full tiles below."""
    files, row, level = dict[str, bytes](), leaves, 0
    while row:
        parts = [row[at : at + 256] for at in range(0, len(row), 256)]
        for index, part in enumerate(parts):
            files[tiles.tile_path(level, index, len(part))] = b"".join(part)
        row = [merkle.root(part) for part in parts if len(part) == 256]
        level += 1
    return files


LARGE = grown(70_000)
FILES = written(LARGE)
READ = merkle.in_memory(LARGE)


@given(st.integers(0, 69_999), st.integers(0, 70_000))
def test_proofs_from_tiles_are_those_from_memory(index: int, first: int) -> None:
    read = tiles.reader(70_000, FILES.__getitem__)
    assert merkle.prove_inclusion(index, 70_000, read) == merkle.prove_inclusion(
        index, 70_000, READ
    )
    assert merkle.prove_consistency(first, 70_000, read) == merkle.prove_consistency(
        first, 70_000, READ
    )


@given(st.integers(1, 1_100), st.data())
def test_tiles_of_any_size_serve_every_perfect_subtree(size: int, data: st.DataObject) -> None:
    read = tiles.reader(size, written(LARGE[:size]).__getitem__)
    level = data.draw(st.integers(0, size.bit_length() - 1))
    index = data.draw(st.integers(0, (size >> level) - 1))
    start = index << level
    assert read(level, index) == merkle.root(LARGE[start : start + (1 << level)])


@given(st.integers(0, 10**12), st.integers(1, 256))
def test_no_two_files_have_one_path_and_none_is_a_folder(index: int, width: int) -> None:
    path = tiles.tile_path(3, index, width)
    name, _, partial = path.partition(".p/")
    groups = name.split("/")[2:]
    assert all(group[0] == "x" for group in groups[:-1])
    assert int("".join(group.lstrip("x") for group in groups)) == index
    assert partial == ("" if width == 256 else str(width))


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_a_bundle_reads_back_as_it_was_written(leaves: list[bytes]) -> None:
    assert tiles.decode_bundle(tiles.encode_bundle(leaves)) == leaves


@given(st.binary() | st.lists(st.binary(max_size=3)).map(lambda parts: b"\0\1".join(parts)))
def test_bytes_are_a_bundle_that_writes_them_or_none(data: bytes) -> None:
    try:
        leaves = tiles.decode_bundle(data)
    except LedgerError:
        return
    assert tiles.encode_bundle(leaves) == data


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (tiles.tile_path(0, 1_234_067), "tile/0/x001/x234/067"),
        (tiles.tile_path(0, 1_234_067, 1), "tile/0/x001/x234/067.p/1"),
        (tiles.tile_path(63, 0), "tile/63/000"),
        (tiles.tile_path(0, 999), "tile/0/999"),
        (tiles.tile_path(2, 1_000, 255), "tile/2/x001/000.p/255"),
        (tiles.bundle_path(0), "tile/entries/000"),
        (tiles.bundle_path(1_234_067, 8), "tile/entries/x001/x234/067.p/8"),
    ],
)
def test_paths_are_those_of_the_specification(path: str, expected: str) -> None:
    assert path == expected


def test_a_tree_of_70_000_has_the_tiles_of_the_specification() -> None:
    assert len([path for path in FILES if path.startswith("tile/0/") and ".p" not in path]) == 273
    assert [path for path in FILES if path.startswith("tile/0/") and ".p" in path] == [
        "tile/0/273.p/112"
    ]
    assert [path for path in FILES if not path.startswith("tile/0/")] == [
        "tile/1/000",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    ]
    assert {path: len(data) // 32 for path, data in written(grown(256)).items()} == {
        "tile/0/000": 256,
        "tile/1/000.p/1": 1,
    }
    assert [tiles.width(0, index, 70_000) for index in (0, 272, 273, 274)] == [256, 256, 112, 0]
    assert [tiles.width(1, index, 70_000) for index in (0, 1, 2)] == [256, 17, 0]


def test_a_proof_reads_few_tiles() -> None:
    fetched: list[str] = []

    def fetch(path: str) -> bytes:
        fetched.append(path)
        return FILES[path]

    merkle.prove_inclusion(12_345, 70_000, tiles.reader(70_000, fetch))
    # Its own tile and those above it, and the right edge, which is the sibling of all of them.
    assert sorted(fetched) == ["tile/0/048", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17"]


def test_one_reader_fetches_a_tile_once() -> None:
    fetched: list[str] = []

    def fetch(path: str) -> bytes:
        fetched.append(path)
        return FILES[path]

    read = tiles.reader(70_000, fetch)
    for index in range(1_000):
        merkle.prove_inclusion(index, 70_000, read)
    assert len(fetched) == len(set(fetched)) == 4 + 3


def test_an_older_tree_is_read_from_its_own_partial_tiles() -> None:
    # Those of the newer tree may be there, and are not asked for.
    older = written(LARGE[:300])
    read = tiles.reader(300, older.__getitem__)
    assert read(0, 299) == LARGE[299]
    with pytest.raises(KeyError, match=r"tile/0/001.p/45"):
        tiles.reader(301, older.__getitem__)(0, 299)


def test_there_is_no_subtree_beyond_the_tree() -> None:
    read = tiles.reader(300, written(LARGE[:300]).__getitem__)
    for level, index in ((0, 300), (8, 1), (9, 0), (0, -1)):
        with pytest.raises(ValueError, match="No subtree"):
            read(level, index)


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"\0", lambda _: b""]
)
def test_a_tile_of_another_length_is_refused(change: object) -> None:
    assert callable(change)
    read = tiles.reader(70_000, lambda path: change(FILES[path]))
    with pytest.raises(LedgerError, match=r"tile/0/273.p/112 has .* expected 3,584"):
        read(0, 69_999)


def test_bundles_have_limits() -> None:
    tiles.encode_bundle([bytes(65_535)] * 256)
    for leaves in ([], [b""] * 257, [bytes(65_536)]):
        with pytest.raises(LedgerError):
            tiles.encode_bundle(leaves)
    whole = tiles.encode_bundle([b"one", b"", b"three"])
    assert whole == b"\0\3one\0\0\0\5three"
    for data, problem in (
        (b"", "0 entries"),
        (whole[:-1], "entry 2 of it, at byte 7"),
        (whole + b"\0", "entry 3 of it, at byte 14"),
        (whole[:6], "entry 1 of it, at byte 5"),
        (tiles.encode_bundle([b""] * 256) + b"\0\0", "256 entries and 2 bytes more"),
    ):
        with pytest.raises(LedgerError, match=problem):
            tiles.decode_bundle(data)


def test_there_are_no_tiles_of_other_levels_widths_or_numbers() -> None:
    for level, index, width in ((64, 0, 1), (-1, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)):
        with pytest.raises(ValueError, match=r"[Tt]ile"):
            tiles.tile_path(level, index, width)
