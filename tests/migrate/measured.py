"""Runs the program, and writes down the most memory that it had: `python -m tests.migrate.measured FILE migrate …`.

Told by the process itself: what a parent is told of a child (`ru_maxrss`) begins with the parent's own size.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sessionstore.cli.main import main


def peak_kib() -> int:
    """Return the most memory that this process has had resident."""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])


if __name__ == "__main__":
    target = Path(sys.argv.pop(1))
    try:
        main()
    finally:
        target.write_text(str(peak_kib()))
