"""Sessions in a directory of their own, one file each: for the processes of one machine."""

from sessionstore.sessions.directory.store import DirectoryStore

__all__ = ["DirectoryStore"]
