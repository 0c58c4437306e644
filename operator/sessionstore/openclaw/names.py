"""What OpenClaw's file names say: of the files era (up to 2026.7.1-2), and beside the databases since 2026.8. Pure.

Source: state directories that OpenClaw 2026.7.1-2 and 2026.9.6 wrote; tests/fixtures/openclaw holds some.
"""

from __future__ import annotations

import re
from enum import Enum

INDEX = "sessions.json"
TRANSCRIPT_SUFFIX = ".jsonl"

COLD = "cold"
"""A directory of transcripts that OpenClaw 2026.9 moved out of its database."""

# From 2026.8 on the generation of the transcript stands behind the time, and the file may be compressed.
_ARCHIVE = re.compile(r".+\.jsonl\.(?:reset|deleted|bak)\.\d[\dTZ:.\-]*(?:\.[0-9a-f]{32})?(?:\.zst)?", re.DOTALL)
_ROTATED = re.compile(r"sessions\.json\.bak\.\d+")
_HAS_READER = re.compile(
    rf"sessions\.json(?:\.bak\.\d+)?|sessions\.d(?:\..+)?|archived|archived-store\.json|{COLD}", re.DOTALL
)
_BESIDE = re.compile(
    r"""
    .+\.trajectory\.jsonl(?:\..+)?           # what an agent run did, for debugging; not the conversation
    | .+\.trajectory-path\.json
    | .+\.checkpoint\.[0-9a-fA-F-]{36}\.jsonl   # the state before a compaction
    | .+\.tmp | .+\.lock                     # of a write that is under way, or died
    | \.sessionstore-.+                      # our own file backend's
    | skills-prompts                         # rebuilt from the skills
    """,
    re.DOTALL | re.VERBOSE,
)


class FileKind(Enum):
    """What a name in a sessions directory stands for."""

    INDEX = "index"
    TRANSCRIPT = "transcript"
    ARCHIVE = "archive"
    BESIDE = "beside"
    """OpenClaw's own, and no part of a conversation: neither carried nor counted."""
    ROTATED = "rotated"
    """An index that OpenClaw put aside when it became too large."""
    UNKNOWN = "unknown"


def kind_of(name: str) -> FileKind:
    """Tell what a file or directory of this name is. The order matters: `x.trajectory.jsonl` is no transcript."""
    if name.endswith(TRANSCRIPT_SUFFIX) and 0 < name.find(".") == len(name) - len(TRANSCRIPT_SUFFIX):
        # What nearly every file is. Whatever else ends like it has another dot.
        return FileKind.TRANSCRIPT
    if name == INDEX:
        return FileKind.INDEX
    if _ROTATED.fullmatch(name):
        return FileKind.ROTATED
    if _BESIDE.fullmatch(name):
        return FileKind.BESIDE
    if _ARCHIVE.fullmatch(name):
        return FileKind.ARCHIVE
    if name.endswith(TRANSCRIPT_SUFFIX) and name != TRANSCRIPT_SUFFIX:
        return FileKind.TRANSCRIPT
    return FileKind.UNKNOWN


def has_reader(name: str) -> bool:
    """Tell whether a name beside transcripts has a reader of its own, which reports on it: an index of any layout."""
    return _HAS_READER.fullmatch(name) is not None


def file_of(transcript_id: str) -> str:
    """Return the file name of a transcript: its id is the stem."""
    return transcript_id + TRANSCRIPT_SUFFIX
