"""What file and store had in common of each transcript, kept over a restart in a log beside the files.

Without it a bridge that comes back could not tell a transcript that was compacted elsewhere from one that both sides
went on with, and would put old lines behind the new ones. A record that is out of date does no harm: both sides are
then walked along from an older place. It is not waited for until the log is on the disk; after a power failure, when
files may be older than the log, what does not fit its file any more is forgotten (`load`).
"""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from sessionstore.bridge.lines import Agreed
from sessionstore.bridge.transcript_file import TranscriptFile
from sessionstore.sessions.plainfiles import Directory, translated

LOG = ".sessionstore-bridge-transcripts"
SPARE_RECORDS = 1000
"""So many that are out of date may stand in the log before it is written anew."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")

_log = logging.getLogger(__name__)
_Name = tuple[str, str]


class Agreements:
    """The records of one sessions directory."""

    def __init__(self, directory: Directory, boot: str) -> None:
        """Start without any; `load` reads them."""
        self._directory, self._boot = directory, boot
        self._agreed: dict[_Name, Agreed] = {}
        self._archives: dict[str, int] = {}
        self._records = 0

    @classmethod
    def load(cls, directory: Directory, boot: str | None = None) -> Agreements:
        """Read the log, as far as it can be read, and write it anew. Raises: Unreadable, Unavailable.

        Args:
            boot: what tells one run of the machine from the next.
        """
        boot = boot if boot is not None else _BOOT.read_text().strip()
        made = cls(directory, boot)
        last_boot = made._read(directory.read(LOG) or b"")
        if last_boot != boot:
            made._forget_unfitting()
        made._write_anew()
        return made

    def of(self, key: str, transcript_id: str) -> Agreed | None:
        """Return what a session's copy and the file had in common."""
        return self._agreed.get((key, transcript_id))

    def agree(self, key: str, transcript_id: str, agreed: Agreed) -> None:
        """Keep what they have in common now."""
        if self._agreed.get((key, transcript_id)) != agreed:
            self._agreed[key, transcript_id] = agreed
            self._add(_record(key, transcript_id, agreed))

    def forget(self, transcript_id: str) -> None:
        """Forget a transcript that is none any more: it became an archive."""
        for name in [name for name in self._agreed if name[1] == transcript_id]:
            del self._agreed[name]
            self._add({"key": name[0], "id": name[1]})

    def archive(self, name: str) -> int | None:
        """Return how many lines an archive had that was here; OpenClaw may have removed it since."""
        return self._archives.get(name)

    def keep_archive(self, name: str, lines: int) -> None:
        """Remember that an archive is, or was, here."""
        if self._archives.get(name) != lines:
            self._archives[name] = lines
            self._add({"archive": name, "lines": lines})

    def _add(self, record: dict[str, object]) -> None:
        self._records += 1
        if self._records > 2 * (len(self._agreed) + len(self._archives)) + SPARE_RECORDS:
            self._write_anew()
            return
        with self._directory.file(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as file:
            assert file is not None
            with translated(self._directory.path / LOG):
                os.write(file, _line(record))

    def _write_anew(self) -> None:
        with self._directory.drafted(LOG) as draft:
            for record in self._all():
                draft.write(_line(record))
            draft.finished().publish()
        self._records = len(self._agreed) + len(self._archives)

    def _all(self) -> Iterator[dict[str, object]]:
        yield {"boot": self._boot}
        for (key, transcript_id), agreed in self._agreed.items():
            yield _record(key, transcript_id, agreed)
        for name, lines in self._archives.items():
            yield {"archive": name, "lines": lines}

    def _read(self, data: bytes) -> str | None:
        boot = None
        for line in data.split(b"\n"):
            try:
                record = json.loads(line)
                boot = record.get("boot", boot)
                self._take(record)
            except (ValueError, KeyError, TypeError, AttributeError):
                if line:
                    _log.warning("%s: a record cannot be read and is left out", self._directory.path / LOG)
        return boot

    def _take(self, record: dict[str, object]) -> None:
        if "archive" in record:
            self._archives[str(record["archive"])] = int(str(record["lines"]))
        elif "tail" in record:
            tail = base64.b64decode(str(record["tail"]))
            generation, lines, size = (int(str(record[name])) for name in ("generation", "lines", "size"))
            self._agreed[str(record["key"]), str(record["id"])] = Agreed(generation, lines, size, tail)
        elif "key" in record:
            self._agreed.pop((str(record["key"]), str(record["id"])), None)

    def _forget_unfitting(self) -> None:
        for (key, transcript_id), agreed in list(self._agreed.items()):
            with TranscriptFile.opened(self._directory, transcript_id) as file:
                if file is None or not is_kept(file, file.state().whole, agreed):
                    del self._agreed[key, transcript_id]


def is_kept(file: TranscriptFile, whole: int, agreed: Agreed) -> bool:
    """Return whether a file still begins as agreed."""
    return whole >= agreed.size and file.tail(agreed.size) == agreed.tail


def _record(key: str, transcript_id: str, agreed: Agreed) -> dict[str, object]:
    return {
        "key": key,
        "id": transcript_id,
        "generation": agreed.generation,
        "lines": agreed.lines,
        "size": agreed.size,
        "tail": base64.b64encode(agreed.tail).decode(),
    }


def _line(record: dict[str, object]) -> bytes:
    return json.dumps(record).encode() + b"\n"
