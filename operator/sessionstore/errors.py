"""The operator's own exception tree. The session library has its own (`sessions.exceptions`).

OperatorError
├── SpecError             the manifest asks for what cannot be; ends as a condition, never retried
└── KubeError             the API server said no; see `kube.errors` for the mapping
    ├── NotFound          404
    ├── Forbidden         403; `message` names the missing permission
    ├── Conflicted        409; carries the managers and fields where the server names them
    ├── Invalid           422 and 400; our object is wrong, or a webhook refused it
    └── ServerUnavailable everything else: 429, 5xx, no connection
"""

from __future__ import annotations


class OperatorError(Exception):
    """Anything the operator raises on purpose."""


class SpecError(OperatorError):
    """The manifest asks for what cannot be done.

    Attributes:
        reason: a reason of `apis.v1alpha1.reasons`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class KubeError(OperatorError):
    """The API server's answer, in our words."""


class NotFound(KubeError):
    """The object, or its kind, is not there."""


class Forbidden(KubeError):
    """We lack a permission; the message names it."""


class Conflicted(KubeError):
    """Someone else owns a field, or changed the object first.

    Attributes:
        managers: field manager -> the fields it owns, empty where the server names none.
    """

    def __init__(self, message: str, managers: dict[str, tuple[str, ...]] | None = None) -> None:
        super().__init__(message)
        self.managers = managers or {}


class Invalid(KubeError):
    """The object was refused by validation or by an admission webhook."""


class ServerUnavailable(KubeError):
    """The API server cannot serve us now; asking again later is right."""
