"""Sessions in OpenClaw's own files: the default, and what a gateway has before it has a store."""

from sessionstore.sessions.file.store import FileStore

__all__ = ["FileStore"]
