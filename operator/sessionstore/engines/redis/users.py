"""Who may do what in a Redis store: the users a spec asks for, and how they differ from the server's. Pure.

objects.py writes them into the ACL file that a starting server reads; next_step compares them with a running
server's `ACL LIST`, so that no change of users needs a restart. An allow-list of commands each, since `+@all
-@dangerous` still lets SCAN, RANDOMKEY and DBSIZE see other keyspaces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from sessionstore import errors
from sessionstore.apis.v1alpha1.reasons import Reason
from sessionstore.apis.v1alpha1.sessionstore import SessionStore
from sessionstore.engines.engine import Passwords, SyncUsers, User
from sessionstore.sessions import layout
from sessionstore.sessions.exceptions import ConfigurationError

OPERATOR = "_operator"
MIGRATION = "_migration"
HEALTH = "_health"
APP = "app"
"""The user of the generic binding. No gateway's user can have this name, or one with a leading underscore."""

# Off and without a password, nobody can be it. Yet Redis replays its append-only file as this user, and checks the
# rights of what a script or a transaction wrote: without these, a restart would drop every session, silently (tried on
# 7.0.15; redis/redis#14541 and valkey-io/valkey#3983, fixed in late releases). tests/redis/test_restart.py.
_DEFAULT = ("default", ("off", "~*", "&*", "+@all"))

# What the operator asks (probe.py) and changes (admin.py). It counts sessions and cannot read one.
_OPERATOR_COMMANDS = ("+auth", "+hello", "+ping", "+info", "+zcard", "+acl|list", "+acl|setuser", "+acl|deluser")
# Where a migration is, and what it found: documents of the store, and no conversation is among them.
_TOLD = "(%R~sst:*:d:migration/*/progress %R~sst:*:d:migration/*/report resetchannels -@all +get)"
_HEALTH_COMMANDS = ("+auth", "+ping")

# How `ACL LIST` spells what is the same for every user of ours: Redis 7 adds the first, Valkey 9 may add the second.
_INSIGNIFICANT = frozenset({"sanitize-payload", "alldbs"})


def gateway_user(gateway: str) -> str:
    """Return the user name of a gateway."""
    return f"gateway-{gateway}"


def user_names(store: SessionStore) -> tuple[str, ...]:
    """Return every user with a password, in the order of the ACL file."""
    return (OPERATOR, MIGRATION, HEALTH, APP, *(gateway_user(gateway.name) for gateway in store.spec.gateways))


def keyspaces(store: SessionStore) -> tuple[str, ...]:
    """Return the keyspaces of a store: its own, and those its gateways see; sorted, each once."""
    own = store.metadata.name
    return tuple(sorted({own, *(gateway.keyspace_or(own) for gateway in store.spec.gateways)}))


def make_users(store: SessionStore, passwords: Passwords) -> tuple[User, ...]:
    """Build the users that the server should have: `default`, which nobody may be, and `user_names`.

    Raises: KeyError for a user without a password; SpecError for a keyspace that cannot be one.
    """
    own = store.metadata.name
    gateways = {gateway_user(gateway.name): [gateway.keyspace_or(own)] for gateway in store.spec.gateways}
    sessions = {MIGRATION: keyspaces(store), APP: [own], **gateways}
    rules = {
        # `%R`: read only, and of the commands it has, only ZCARD takes a key.
        OPERATOR: ("%R~sst:*", *_OPERATOR_COMMANDS, _TOLD),
        HEALTH: _HEALTH_COMMANDS,
        **{name: (*_patterns(seen), *layout.GATEWAY_COMMANDS) for name, seen in sessions.items()},
    }
    users = (
        User(name, (*_login(live_passwords(passwords, name)), *_ordered(rules[name]))) for name in user_names(store)
    )
    return (User(*_DEFAULT), *users)


def acl_file(users: Iterable[User]) -> str:
    """Write the file that `aclfile` names: one line a user, from a clean slate each."""
    return "".join(f"user {user.name} reset {' '.join(user.rules)}\n" for user in users)


def make_sync(wanted: Iterable[User], found: Mapping[str, str]) -> SyncUsers | None:
    """Compare the users that should be with those that are; None where nothing differs.

    A user that the spec does not know is removed: it would be a way in that no manifest shows.

    Args:
        found: user name -> its line of `ACL LIST`.
    """
    by_name = {user.name: user for user in wanted}
    changed = tuple(user for user in by_name.values() if _significant(found.get(user.name, "")) != _words(user))
    removed = tuple(sorted(found.keys() - by_name.keys()))
    return SyncUsers(changed, removed) if changed or removed else None


def live_passwords(passwords: Passwords, user: str) -> tuple[str, ...]:
    """Return a user's live passwords, oldest to newest. Raises: KeyError where there is none."""
    found = passwords[user]
    return (found,) if isinstance(found, str) else found


def newest_password(passwords: Passwords, user: str) -> str:
    """Return the password to log in with. Raises: KeyError where there is none."""
    return live_passwords(passwords, user)[-1]


def _login(live: Iterable[str]) -> tuple[str, ...]:
    return ("on", *(f"#{hashlib.sha256(password.encode()).hexdigest()}" for password in live))


def _ordered(grants: Iterable[str]) -> tuple[str, ...]:
    """Put key patterns before the clean slate of commands, and what has keys of its own last, as `ACL LIST` does."""
    grants = tuple(grants)
    commands = [grant for grant in grants if grant.startswith("+")]
    apart = [grant for grant in grants if grant.startswith("(")]
    keys = (grant for grant in grants if grant not in (*commands, *apart))
    return (*keys, "resetchannels", "-@all", *commands, *apart)


def _patterns(seen: Iterable[str]) -> tuple[str, ...]:
    try:
        return tuple(f"~{layout.key_pattern(keyspace)}" for keyspace in seen)
    except ConfigurationError as error:
        raise errors.SpecError(Reason.CONFIG_REFUSED, str(error)) from error


def _words(user: User) -> set[str]:
    """Return a user's rules word by word: those in brackets are several."""
    return set(" ".join(user.rules).split())


def _significant(line: str) -> set[str]:
    """Return the rules of an `ACL LIST` line. Their order says nothing here: each is a grant after one `-@all`."""
    return set(line.split()[2:]) - _INSIGNIFICANT
