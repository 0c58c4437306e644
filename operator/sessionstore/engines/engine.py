"""What the operator asks of every engine; one package here per engine carries it out.

The reconcile calls `objects` and `next_step` while it plans, `probe` while it observes, `perform` for the one step
of a plan, and `binding` for the Secrets that gateways read. Nothing here knows the API server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from sessionstore.apis.v1alpha1.sessionstore import SessionStore

Manifest = dict[str, Any]
"""A Kubernetes object in plain JSON types, ready for server-side apply."""

Passwords = Mapping[str, str | tuple[str, ...]]
"""User name -> its password, or its live passwords, oldest to newest: all are accepted, the last is used to log in."""


@dataclass(frozen=True, slots=True)
class EngineDefaults:
    """What a manifest need not say, from the operator's settings."""

    redis_image: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where clients reach a store."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Why a store did not answer. A value: a store that is away is nothing unusual.

    Attributes:
        reason: `connection` (no connection: not started, no address, refused), `timeout` (connected, no answer),
            `auth` (our user or password is refused), `loading` (it reads its data), `protocol` (it answers, but not as
            this engine does).
        message: for a person; names the endpoint, never a password.
    """

    reason: Literal["connection", "timeout", "auth", "loading", "protocol"]
    message: str


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What a store that answers says about itself.

    Attributes:
        version: `7.0.15`, or `valkey 9.1.2` where the product is not the engine's namesake.
        role: of the member that answered.
        limit_bytes: what its data may take; 0 is no limit.
        evicted: records it dropped for want of memory since its start; above 0 means conversations were lost.
        sessions: keyspace -> sessions in it, one per keyspace of the spec, 0 where nothing was written yet.
        users: user name -> its rules in the engine's own words, every user of the server, ours or not.
        persistence_fault: why what is written may not survive a restart; None where it will.
    """

    version: str
    role: Literal["primary", "replica"]
    used_bytes: int
    limit_bytes: int
    evicted: int
    sessions: Mapping[str, int]
    users: Mapping[str, str] = field(repr=False)
    persistence_fault: str | None = None


@dataclass(frozen=True, slots=True)
class User:
    """A user as the server should have it. `rules` hold digests of passwords, so they stay out of logs."""

    name: str
    rules: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class SyncUsers:
    """Make the server's users what the spec wants: set some, remove those it does not know."""

    changed: tuple[User, ...]
    removed: tuple[str, ...]

    def __str__(self) -> str:
        parts = {"set": [user.name for user in self.changed], "remove": self.removed}
        return "users: " + "; ".join(f"{verb} {', '.join(names)}" for verb, names in parts.items() if names)


class Engine(Protocol):
    """How one kind of store is run."""

    def user_names(self, store: SessionStore) -> tuple[str, ...]:
        """Return the users whose passwords must exist before `objects` is called."""

    def objects(self, store: SessionStore, passwords: Passwords, defaults: EngineDefaults) -> tuple[Manifest, ...]:
        """Build the children, in the order to apply them; the same bytes for the same arguments.

        Namespace and owner reference are the caller's to add.

        Raises: SpecError for what the manifest must not ask; KeyError for a user without a password.
        """

    def endpoint(self, store: SessionStore) -> Endpoint:
        """Return where gateways in the cluster reach the store."""

    async def probe(
        self, store: SessionStore, passwords: Passwords, endpoint: Endpoint | None = None
    ) -> EngineFacts | Unreachable:
        """Ask the store about itself, within 3 seconds. Writes nothing; what can be expected to fail is a value.

        Args:
            endpoint: instead of the store's own, for a caller outside the cluster.
        """

    async def documents(
        self,
        store: SessionStore,
        passwords: Passwords,
        keyspace: str,
        names: Sequence[str],
        endpoint: Endpoint | None = None,
    ) -> Mapping[str, str] | Unreachable:
        """Read what a migration tells in the store, `migration/<source>/progress` and `…/report`, within 3 seconds.

        Returns: name -> text, those left out that are not there. The operator can read no other document.
        """

    def next_step(self, store: SessionStore, facts: EngineFacts, passwords: Passwords) -> SyncUsers | None:
        """Decide what must change inside a store that answers; None when it is as the spec wants it. Pure."""

    async def perform(
        self, step: SyncUsers, store: SessionStore, passwords: Passwords, endpoint: Endpoint | None = None
    ) -> Unreachable | None:
        """Carry out a step of `next_step`; safe to repeat, or to stop half-way. None when it is done."""

    def binding(self, store: SessionStore, user: str, keyspace: str) -> dict[str, str]:
        """Return the keys of a servicebinding.io Secret for `user`, all but the password."""
