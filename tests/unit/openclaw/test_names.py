"""Which of OpenClaw's file names stands for what."""

from __future__ import annotations

import pytest

from sessionstore.openclaw import names
from sessionstore.openclaw.names import FileKind

ID = "6732d08c-b7c4-4713-8441-d87e624024a9"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sessions.json", FileKind.INDEX),
        (f"{ID}.jsonl", FileKind.TRANSCRIPT),
        (f"{ID}-topic-17.jsonl", FileKind.TRANSCRIPT),
        (f"2026-11-20T10-08-08-906Z_{ID}.jsonl", FileKind.TRANSCRIPT),
        (f"{ID}.jsonl.reset.2026-11-20T10-07-57.629Z", FileKind.ARCHIVE),
        (f"{ID}.jsonl.deleted.2026-11-20T10-07-57.629Z", FileKind.ARCHIVE),
        (f"{ID}.jsonl.bak.1795169290837", FileKind.ARCHIVE),
        (f"{ID}.trajectory.jsonl", FileKind.BESIDE),
        (f"{ID}.trajectory.jsonl.deleted.2026-11-20T10-07-57.629Z", FileKind.BESIDE),
        (f"{ID}.trajectory-path.json", FileKind.BESIDE),
        (f"{ID}.checkpoint.{ID}.jsonl", FileKind.BESIDE),
        ("sessions.json.4711.tmp", FileKind.BESIDE),
        (f"{ID}.jsonl.lock", FileKind.BESIDE),
        (".sessionstore-log", FileKind.BESIDE),
        ("skills-prompts", FileKind.BESIDE),
        (".jsonl", FileKind.UNKNOWN),
        ("sessions.json.bak.1795169290837", FileKind.ROTATED),
        (f"{ID}.jsonl.deleted.2026-11-20T10-07-57.629Z.db845d45889442d0a76056fe7e669856.zst", FileKind.ARCHIVE),
        ("notes.txt", FileKind.UNKNOWN),
    ],
)
def test_a_name_tells_what_the_file_is(name: str, kind: FileKind) -> None:
    assert names.kind_of(name) is kind


def test_a_transcript_id_is_the_stem_of_its_file() -> None:
    assert names.file_of(ID) == f"{ID}.jsonl"
