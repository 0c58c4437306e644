"""Documents in a directory store: `documents/<stem>.document`, a line that names it and the bytes."""

from __future__ import annotations

from sessionstore.sessions.directory import codec, names, walk
from sessionstore.sessions.directory.root import understood
from sessionstore.sessions.directory.shelf import DirectoryShelf
from sessionstore.sessions.exceptions import Unreadable
from sessionstore.sessions.plainfiles import Directory


def put(shelf: DirectoryShelf, name: str, body: bytes) -> None:
    """Keep a document."""
    with shelf.opened(create=True) as root:
        assert root is not None
        with root.directory.below(names.DOCUMENTS, create=True) as directory:
            assert directory is not None
            directory.replace(_file(name), codec.dump_document(name, body))


def get(shelf: DirectoryShelf, name: str) -> bytes | None:
    """Return a document, or None. Raises: Unreadable."""
    with shelf.opened(create=False) as root:
        if root is None:
            return None
        with root.directory.below(names.DOCUMENTS, create=False) as directory:
            found = _read(directory, _file(name)) if directory else None
    if found is not None and found[0] != name:
        raise Unreadable(f"document {name!r} cannot be read: its file is that of another one")
    return None if found is None else found[1]


def delete(shelf: DirectoryShelf, name: str) -> bool:
    """Forget a document; return whether there was one."""
    with shelf.opened(create=False) as root:
        if root is None:
            return False
        with root.directory.below(names.DOCUMENTS, create=False) as directory:
            if directory is None or directory.measure(_file(name)) is None:
                return False
            directory.remove(_file(name))
            directory.sync()
            return True


def names_of(shelf: DirectoryShelf) -> list[str]:
    """Return the names of all documents. What cannot be read is left out, and told by `health`."""
    found: list[str] = []
    with shelf.opened(create=False) as root:
        if root is None:
            return found
        with root.directory.below(names.DOCUMENTS, create=False) as directory:
            for file in walk.plain_files(directory, shelf.oddities, _is_ours) if directory else ():
                assert directory is not None
                stem = names.stem_before(file, names.DOCUMENT)
                if stem is None:
                    continue
                try:
                    name = names.text_of(stem) or (_read(directory, file) or (None,))[0]
                except Unreadable as error:
                    shelf.oddities.note(directory.path / file, str(error))
                    continue
                if name is not None:
                    found.append(name)
    return found


def _file(name: str) -> str:
    return names.stem_of(name) + names.DOCUMENT


def _is_ours(file: str) -> bool:
    return names.is_temporary(file) or names.stem_before(file, names.DOCUMENT) is not None


def _read(directory: Directory, file: str) -> tuple[str, bytes] | None:
    data = directory.read(file)
    return None if data is None else understood(lambda: codec.parse_document(data), str(directory.path / file))
