"""The demo's own reader of the archive: what it counts is what the demo proves."""

from __future__ import annotations

from examples import fixture


def test_the_archive_holds_what_the_demo_promises() -> None:
    found = fixture.read()

    assert (len(found.sessions), found.lines, len(found.archives)) == (11, 26, 3)
    assert all(line.startswith(b'{"type":"session"') for (line, *_) in found.sessions.values())
    assert sum(map(len, found.archives.values())) == 20


def test_a_line_is_kept_with_the_bytes_it_has() -> None:
    (header, *_) = fixture.read().sessions["agent:main:dashboard:über/ünïcode 空間"]

    assert header == (
        b'{"type":"session","version":3,"id":"0702a876-21b9-4e7b-89d4-41c0cf41117e",'
        b'"timestamp":"2026-11-20T10:07:29.381Z","cwd":"/app"}'
    )
