"""Extra redis.conf directives of a manifest: which are taken, and how they are written. Pure.

Taken is what tunes the server. Refused is what would open it, move its data or contradict another part of the
manifest; the message names the field that does it instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sessionstore import errors
from sessionstore.apis.v1alpha1.reasons import Reason

_USERS = "the operator makes the users; see spec.gateways and spec.auth"
_NETWORK = "probes and Services rely on the operator's value"
_FILES = "the data lies where the volume is mounted"
_CODE = "it would let a client run code in the server"
_TOPOLOGY = "see spec.redis.topology"
_LAUNCH = "Kubernetes runs the server and reads its output"

REFUSED: Mapping[str, str] = {
    **dict.fromkeys(
        ("aclfile", "user", "requirepass", "masteruser", "masterauth", "primaryuser", "primaryauth"), _USERS
    ),
    **dict.fromkeys(("acl-pubsub-default", "rename-command"), _USERS),
    **dict.fromkeys(("bind", "bind-source-addr", "port", "protected-mode", "unixsocket", "unixsocketperm"), _NETWORK),
    "socket-mark-id": _NETWORK,
    **dict.fromkeys(("dir", "dbfilename", "appendfilename", "appenddirname", "include"), _FILES),
    **dict.fromkeys(("loadmodule", "enable-debug-command", "enable-module-command", "enable-protected-configs"), _CODE),
    **dict.fromkeys(("replicaof", "slaveof", "min-replicas-to-write", "min-slaves-to-write"), _TOPOLOGY),
    **dict.fromkeys(("daemonize", "supervised", "pidfile", "logfile", "syslog-enabled"), _LAUNCH),
    **dict.fromkeys(("syslog-ident", "syslog-facility", "shutdown-on-sigterm", "set-proc-title"), _LAUNCH),
    "maxmemory": "it follows from spec.resources.limits.memory and spec.redis.maxMemoryPercent",
    "maxmemory-policy": "set spec.redis.evictionPolicy",
    "appendonly": "without it a restart loses every conversation",
    "aof-load-truncated": "a server that refuses a torn last write never starts again by itself",
    "databases": "sessions are in database 0, and no user may see another",
}
"""Directive -> what to do instead, or why not."""

_REFUSED_FAMILIES: Mapping[str, str] = {
    "tls-": "set spec.tls",
    "cluster-": _TOPOLOGY,
    "sentinel": _TOPOLOGY,
    "replica-announce-": _TOPOLOGY,
    "slave-announce-": _TOPOLOGY,
}
_DIRECTIVE = re.compile(r"[a-z][a-z0-9-]{0,63}")
# Quoting is redis.conf's own language, and an unbalanced quote keeps the server from starting.
_VALUE = re.compile(r"[^\x00-\x1f\x7f\"'\\]{0,1024}")


def extra_lines(config: Mapping[str, str]) -> tuple[str, ...]:
    """Write `spec.redis.config` as lines of redis.conf, sorted, so that the order in the manifest changes nothing.

    Raises: SpecError naming the directive.
    """
    return tuple(_line(directive, value) for directive, value in sorted(config.items()))


def _line(directive: str, value: str) -> str:
    if not _DIRECTIVE.fullmatch(directive):
        raise _refusal(directive, "is not the name of a directive: lower-case letters, digits and dashes")
    refusal = REFUSED.get(directive) or _family(directive)
    if refusal:
        raise _refusal(directive, f"is not yours to set: {refusal}")
    if not _VALUE.fullmatch(value) or value != value.strip():
        raise _refusal(
            directive,
            "has a value that cannot be written as one line: at most 1024 characters, no quotes, backslashes, line "
            "breaks or surrounding space; an empty value stands for itself",
        )
    return f"{directive} {value}" if value else f'{directive} ""'


def _family(directive: str) -> str | None:
    return next((why for prefix, why in _REFUSED_FAMILIES.items() if directive.startswith(prefix)), None)


def _refusal(directive: str, message: str) -> errors.SpecError:
    return errors.SpecError(Reason.CONFIG_REFUSED, f"spec.redis.config: {directive[:80]!r} {message}")
