"""What the operator process is told from outside: one class, read once, handed on as an argument.

The chart sets these variables; docs/reference/settings.md is checked against this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """Settings of `sessionstore operator`."""

    operator_image: str
    """Image of the migration Jobs. Env SESSIONSTORE_OPERATOR_IMAGE; required, since a guess would run other code."""

    redis_image: str
    """Image of a store whose `spec.redis.image` is empty. Env SESSIONSTORE_REDIS_IMAGE; required."""

    pod_name: str
    """Our identity in the Lease. Env POD_NAME (downward API); required."""

    pod_namespace: str
    """Where the Lease lies. Env POD_NAMESPACE (downward API); required."""

    image_pull_policy: str = "IfNotPresent"
    """Pull policy of the migration Jobs. Env SESSIONSTORE_OPERATOR_IMAGE_PULL_POLICY."""

    watch_namespaces: tuple[str, ...] = ()
    """Namespaces to serve, comma-separated; empty serves all. Env SESSIONSTORE_WATCH_NAMESPACES."""

    log_level: str = "INFO"
    """Lowest level that is logged: DEBUG, INFO, WARNING or ERROR. Env SESSIONSTORE_LOG_LEVEL."""

    health_port: int = 8080
    """Port of /healthz and /readyz. Env SESSIONSTORE_HEALTH_PORT."""

    workers: int = 4
    """Stores reconciled at once; each waits on the network for most of its time. Env SESSIONSTORE_WORKERS."""

    resync_s: float = 30.0
    """Seconds between two looks at a store that is in sync, so that drift nobody announced is put back. Env
    SESSIONSTORE_RESYNC_SECONDS."""

    lease_duration_s: float = 15.0
    """Seconds after which a Lease that is not renewed may be taken over. It is renewed every third of this."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> OperatorSettings:
        """Read the settings.

        Raises: ValueError naming every variable that is missing, or else the first that cannot be read.
        """
        required = {
            "operator_image": "SESSIONSTORE_OPERATOR_IMAGE",
            "redis_image": "SESSIONSTORE_REDIS_IMAGE",
            "pod_name": "POD_NAME",
            "pod_namespace": "POD_NAMESPACE",
        }
        missing = [variable for variable in required.values() if not environ.get(variable)]
        if missing:
            raise ValueError(f"set {', '.join(missing)}; the chart does so, see docs/reference/settings.md")
        return cls(
            operator_image=environ[required["operator_image"]],
            redis_image=environ[required["redis_image"]],
            pod_name=environ[required["pod_name"]],
            pod_namespace=environ[required["pod_namespace"]],
            image_pull_policy=environ.get("SESSIONSTORE_OPERATOR_IMAGE_PULL_POLICY") or "IfNotPresent",
            watch_namespaces=tuple(
                name.strip() for name in environ.get("SESSIONSTORE_WATCH_NAMESPACES", "").split(",") if name.strip()
            ),
            log_level=_level(environ),
            health_port=_number(environ, "SESSIONSTORE_HEALTH_PORT", 8080),
            workers=_number(environ, "SESSIONSTORE_WORKERS", 4),
            resync_s=float(_number(environ, "SESSIONSTORE_RESYNC_SECONDS", 30)),
        )


def _level(environ: Mapping[str, str]) -> str:
    level = (environ.get("SESSIONSTORE_LOG_LEVEL") or "INFO").upper()
    if level not in LOG_LEVELS:
        raise ValueError(f"SESSIONSTORE_LOG_LEVEL={level!r} is none of {', '.join(LOG_LEVELS)}")
    return level


def _number(environ: Mapping[str, str], variable: str, default: int) -> int:
    text = environ.get(variable) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{variable}={text!r} is not a whole number above 0")
    return int(text)
