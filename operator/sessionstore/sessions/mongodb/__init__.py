"""Sessions in MongoDB, or in FerretDB, which speaks its wire. docs/design/0009-mongodb.md is the layout.

Asked of the server: single documents that change atomically, and unique keys. Not asked: transactions, change streams,
retryable writes and sorting by an index other than `_id`, of which FerretDB has none.
"""

from sessionstore.sessions.mongodb.store import MongoStore

__all__ = ["MongoStore"]
