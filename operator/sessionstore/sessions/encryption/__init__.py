"""Encryption over any Store, by keys from files: `EncryptedStore`, `Keyring`, `rekey`. docs/design/0013-encryption.md.

Imported by its own name, and by `open_store` where `encryption_key_files` is set: it needs the package `cryptography`.
"""

from sessionstore.sessions.encryption.keyring import Keyring
from sessionstore.sessions.encryption.rekey import Progress, rekey
from sessionstore.sessions.encryption.sealing import TITLE, TRANSCRIPT
from sessionstore.sessions.encryption.store import EncryptedStore

__all__ = ["TITLE", "TRANSCRIPT", "EncryptedStore", "Keyring", "Progress", "rekey"]
