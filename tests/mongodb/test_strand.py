"""Where lines lie, tried without a server: whatever is appended in whatever pieces is found again by its number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sessionstore.sessions.mongodb import strand
from sessionstore.sessions.mongodb.strand import Strand

OWNER = strand.owner_of("k/main:a")
SIZES = st.sampled_from([0, 1, 100, 3_000, 30_000, 40_000, strand.CHUNK_BYTES + 1, strand.PART_BYTES + 1])
BATCHES = st.lists(st.lists(SIZES, max_size=6) | st.just([0] * 700), max_size=8)


@given(BATCHES, st.booleans(), st.integers(-5, 2_000), st.integers(0, 600))
def test_lines_are_found_by_their_numbers(batches: list[list[int]], tidy: bool, first: int, length: int) -> None:
    kept, written, lines = Strand(), [], ()
    for number, sizes in enumerate(batches):
        added = tuple(b"%d" % number * (size > 0) + b"x" * size for size in sizes)
        change = strand.grown(kept, added, OWNER, number)
        if tidy:
            tidied = strand.tidied(change.strand, OWNER, number)
            change = strand.Change(tidied.strand, change.chunks + tidied.chunks)
        kept, lines = change.strand, lines + added
        written += change.chunks
        assert strand.weigh(kept.loose) == kept.weight <= strand.LOOSE_BYTES
    assert kept.count == len(lines)
    assert strand.decoded(strand.encoded(kept)) == kept

    written.sort(key=lambda chunk: chunk["_id"])
    start, stop, _ = slice(first, first + length).indices(len(lines))
    found = dict(enumerate(kept.loose, kept.loose_from))
    looked = 0
    for low, high in strand.runs(kept, OWNER, start, stop):
        chosen = [chunk for chunk in written if low <= chunk["_id"] < high]
        looked += len(chosen)
        found |= strand.unpacked(chosen)
    assert tuple(found[index] for index in range(start, stop)) == lines[start:stop]
    assert all(len(chunk["b"]) <= strand.PART_BYTES for chunk in written)


def test_two_who_move_the_same_lines_leave_what_both_can_read() -> None:
    lines = tuple(b"%d" % number for number in range(100))
    base = strand.tidied(Strand(50, 0, strand.weigh(lines[:50]), (), lines[:50]), OWNER, 1)
    short = strand.tidied(Strand(80, 50, strand.weigh(lines[50:80]), base.strand.segments, lines[50:80]), OWNER, 2)
    long = strand.tidied(Strand(100, 50, strand.weigh(lines[50:]), base.strand.segments, lines[50:]), OWNER, 3)
    for written in ((short, long), (long, short)):
        every = sorted((*base.chunks, *written[0].chunks, *written[1].chunks), key=lambda chunk: chunk["_id"])
        assert strand.unpacked(every) == dict(enumerate(lines))


def test_a_tombstone_takes_what_was_made_before_it() -> None:
    low, below = strand.all_before(OWNER, 7)
    for revision in (0, 6):
        assert low <= OWNER + strand.new_nonce(revision) < below
    assert OWNER + strand.new_nonce(7) >= below
