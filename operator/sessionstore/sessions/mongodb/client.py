"""The connection to the server: who we are to it, how long we try, and what its failures are in our words.

pymongo keeps the connections, and finds the primary of a replica set. What may be repeated is the caller's to say.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any, TypeVar

import pymongo
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError, WriteConcernError, WriteError

from sessionstore.sessions import clock, retry
from sessionstore.sessions.config import SessionStorage
from sessionstore.sessions.exceptions import ConfigurationError, Unavailable
from sessionstore.sessions.mongodb.failures import Failure, failure_of, translate
from sessionstore.sessions.record import Health

T = TypeVar("T")
Document = dict[str, Any]
Database = AsyncDatabase[Document]
Work = Callable[[Database], Awaitable[T]]

CONNECTIONS = 50
"""As many as FerretDB has to its PostgreSQL by default; callers beyond wait for one."""
CLOCK_S = 60.0
"""How long a measured difference of clocks is believed."""

MAJORITY = {"w": "majority"}
DUPLICATE = 11000
"""The error code of a key that is there already."""
NO_PRIMARY = "member without a primary"


@dataclass(frozen=True, slots=True)
class Server:
    """What the server said of itself."""

    name: str
    version: str
    role: str
    offset_ms: int
    """Its clock's time less ours."""
    measured: float
    """When, on the event loop's clock."""


class Client:
    """One store's way to its server. Used from one event loop."""

    def __init__(self, config: SessionStorage) -> None:
        """Connect to nothing yet. Raises: ConfigurationError."""
        if config.mongodb_ca_file and not Path(config.mongodb_ca_file).is_file():
            raise ConfigurationError(f"mongodb_ca_file {config.mongodb_ca_file} is not there")
        self._config = config
        self._database: Database | None = None
        self._replaced: list[Database] = []
        self._login: tuple[str | None, str | None] = (None, None)
        self._server: Server | None = None
        self._measuring = asyncio.Lock()

    @property
    def where(self) -> str:
        """Names the server in messages."""
        return f"MongoDB at {self._config.mongodb_host}"

    def deadline(self) -> float:
        """Return when an operation that begins now must be over, on the event loop's clock."""
        return asyncio.get_running_loop().time() + self._config.operation_timeout

    async def now_ms(self, deadline: float) -> int:
        """Return the server's time in milliseconds since the epoch. Raises: Unavailable."""
        server = self._server
        if server is None or asyncio.get_running_loop().time() - server.measured > CLOCK_S:
            server = await self._measured(deadline)
        return clock.now_ms() + server.offset_ms

    async def server(self) -> Server:
        """Ask the server what it is. Raises: Unavailable."""
        return await self._measured(self.deadline(), anew=True)

    async def orders(self) -> bool:
        """Return whether the server sorts by an index. FerretDB does by `_id` alone. Raises: Unavailable."""
        server = self._server or await self._measured(self.deadline())
        return server.name != "FerretDB"

    async def health(self) -> Health:
        """Say whether we are let in, and what the server is."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            server = await self.server()
            # Anybody may ask a server what it is; this is only told to who may read.
            await self.again(lambda database: database.meta.find_one({}, {"_id": 1}))
        except Unavailable as error:
            return Health(ok=False, message=str(error), reason=error.reason)
        latency = (loop.time() - began) * 1000
        facts = (("server", f"{server.name} {server.version}"), ("role", server.role))
        if server.role == NO_PRIMARY:
            text = f"{self.where} has no primary: nothing can be written; see the members of the replica set"
            return Health(ok=False, message=text, reason="readonly", latency_ms=latency, facts=facts)
        return Health(ok=True, message=f"{self.where} answers", latency_ms=latency, facts=facts)

    async def again(self, work: Work[T], deadline: float | None = None, *, writes: bool = False) -> T:
        """Do work that may be repeated, until it succeeds or the time is over.

        Raises: Unavailable; DuplicateKeyError and BulkWriteError, which are answers.
        """
        end = deadline or self.deadline()
        pauses: Iterator[float] | None = None
        while True:
            try:
                return await self.once(work, end)
            except Failure as failure:
                pauses = pauses or retry.pauses(end, asyncio.get_running_loop().time)
                pause = next(pauses, None) if failure.passing else None
                if pause is None:
                    raise translate(failure, self.where, writes=writes) from failure
                await asyncio.sleep(pause)

    async def once(self, work: Work[T], deadline: float) -> T:
        """Do work once; only where we were refused for our credentials, and they have changed, again with the new.

        Raises: Failure; DuplicateKeyError and BulkWriteError, which are answers.
        """
        database = self._connected()
        try:
            return await self._attempt(database, work, deadline)
        except Failure as failure:
            if failure.reason != "auth" or not self._renewed(database):
                raise
        while len(self._replaced) > 1:
            await self._replaced.pop(0).client.close()
        return await self._attempt(self._connected(), work, deadline)

    async def close(self) -> None:
        """Let go of all connections."""
        databases, self._database, self._replaced = [*self._replaced, self._database], None, []
        for database in databases:
            if database is not None:
                await database.client.close()

    async def _attempt(self, database: Database, work: Work[T], deadline: float) -> T:
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            raise Failure("no time was left", "timeout", unknown=False, passing=False)
        try:
            with pymongo.timeout(left):
                return await work(database)
        except (DuplicateKeyError, BulkWriteError):
            raise
        except PyMongoError as error:
            raise failure_of(error) from error

    async def _measured(self, deadline: float, *, anew: bool = False) -> Server:
        async with self._measuring:
            loop = asyncio.get_running_loop()
            server = self._server
            if server is not None and not anew and loop.time() - server.measured <= CLOCK_S:
                return server
            self._server = await self.again(_look, deadline)
            return self._server

    def _connected(self) -> Database:
        if self._database is None:
            self._login = self._credentials()
            self._database = self._made(self._login)[self._config.mongodb_database]
        return self._database

    def _renewed(self, refused: Database) -> bool:
        """Return whether there are credentials that were not refused yet, and go on with them from now."""
        if self._database is not refused:
            return True
        login = self._credentials()
        if login == self._login:
            return False
        # Who is still at work on the old one's connections is let go on: they are logged in.
        self._replaced.append(refused)
        self._login, self._database = login, self._made(login)[self._config.mongodb_database]
        return True

    def _credentials(self) -> tuple[str | None, str | None]:
        config = self._config
        user = _secret(config.mongodb_username_file) if config.mongodb_username_file else config.mongodb_username
        password = _secret(config.mongodb_password_file) if config.mongodb_password_file else None
        if config.mongodb_password_env:
            password = os.environ.get(config.mongodb_password_env, "")
        return user, password

    def _made(self, login: tuple[str | None, str | None]) -> AsyncMongoClient[Document]:
        config, (user, password) = self._config, login
        options: dict[str, Any] = {"tlsCAFile": config.mongodb_ca_file} if config.mongodb_ca_file else {}
        if user:
            options |= {"username": user, "password": password, "authSource": config.mongodb_auth_source}
        try:
            return AsyncMongoClient(
                config.mongodb_hosts,
                tls=config.mongodb_tls,
                replicaSet=config.mongodb_replica_set,
                connectTimeoutMS=round(config.connect_timeout * 1000),
                serverSelectionTimeoutMS=round(config.operation_timeout * 1000),
                maxPoolSize=CONNECTIONS,
                # What must not happen twice carries its own token (documents.new_token); FerretDB would do it twice.
                retryWrites=False,
                w="majority",
                appname="sessionstore",
                **options,
            )
        except (PyMongoError, ValueError) as error:
            raise ConfigurationError(f"the mongodb settings cannot be used: {error}") from error


async def find_one(
    database: Database, collection: str, document_id: str, fields: Document | None = None
) -> Document | None:
    """Return a document, or None. As the driver's own, without the cursor that it makes for one."""
    command: Document = {"find": collection, "filter": {"_id": document_id}, "limit": 1, "singleBatch": True}
    answer = await database.command(command | ({"projection": fields} if fields else {}))
    found: list[Document] = answer["cursor"]["firstBatch"]
    return found[0] if found else None


async def insert_one(database: Database, collection: str, document: Document) -> None:
    """Insert a document. As the driver's own, and a tenth cheaper. Raises: as that does."""
    command = {"insert": collection, "documents": [document], "writeConcern": MAJORITY}
    _check_written(await database.command(command))


async def update_one(database: Database, collection: str, chosen: Document, update: Document) -> bool:
    """Update the document that is chosen; return whether there was one. As the driver's own, and a sixth cheaper."""
    command = {"update": collection, "updates": [{"q": chosen, "u": update}], "writeConcern": MAJORITY}
    answer = await database.command(command)
    _check_written(answer)
    return bool(answer["n"])


def _check_written(answer: Document) -> None:
    """Raise the driver's errors for a write that was refused, or that a majority did not acknowledge."""
    for error in answer.get("writeErrors", ()):
        kind = DuplicateKeyError if error["code"] == DUPLICATE else WriteError
        raise kind(error["errmsg"], error["code"], error)
    if error := answer.get("writeConcernError"):
        raise WriteConcernError(error.get("errmsg", ""), error.get("code"), error)


def _secret(path: str) -> str:
    try:
        # A trailing line feed comes from editors and `echo`, and belongs to no generated password.
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        text = f"the credentials file {path} cannot be read: {error}"
        raise Failure(text, "auth", unknown=False, passing=False) from error


async def _look(database: Database) -> Server:
    admin = database.client.admin
    before = clock.now_ms()
    hello = await admin.command("hello")
    after = clock.now_ms()
    build = await admin.command("buildInfo")
    ferretdb = build.get("ferretdb")
    return Server(
        name="FerretDB" if ferretdb else "MongoDB",
        version=str(ferretdb.get("version", "") if ferretdb else build.get("version", "")),
        role=_role(hello),
        offset_ms=round(hello["localTime"].replace(tzinfo=UTC).timestamp() * 1000 - (before + after) / 2),
        measured=asyncio.get_running_loop().time(),
    )


def _role(hello: Document) -> str:
    if "setName" in hello:
        return f"primary of replica set {hello['setName']}" if hello.get("isWritablePrimary") else NO_PRIMARY
    return "sharded cluster" if hello.get("msg") == "isdbgrid" else "single server"
