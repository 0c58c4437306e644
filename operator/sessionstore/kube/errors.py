"""The API server's refusals in our words, and nothing secret in them.

The client library's exceptions print response bodies and headers; a body may quote an object, and an
object may be a Secret. So only the `message` of a `kind: Status` goes on.
"""

from __future__ import annotations

import json
import re
from typing import Any

from sessionstore import errors

_CLASSES: dict[int, type[errors.KubeError]] = {
    400: errors.Invalid,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflicted,
    422: errors.Invalid,
}
_MANAGER = re.compile(r'conflicts? with "([^"]+)"')


def translate(status: int, body: Any) -> errors.KubeError:
    """Make our error from an HTTP status and a response body."""
    answer = _status_of(body)
    message = answer.get("message") or f"the API server answered {status}"
    if status == 409:
        return errors.Conflicted(message, _managers(answer))
    return _CLASSES.get(status, errors.ServerUnavailable)(message)


def _status_of(body: Any) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (TypeError, ValueError):
        return {}
    return answer if isinstance(answer, dict) and answer.get("kind") == "Status" else {}


def _managers(answer: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Collect manager -> fields from the causes of a server-side apply conflict.

    Source: causes of reason FieldManagerConflict, `conflict with "kubectl-edit" using apps/v1`, as
    seen on Kubernetes 1.34; checked by tests/kind/test_injection.py.
    """
    found: dict[str, list[str]] = {}
    for cause in answer.get("details", {}).get("causes", []):
        match = _MANAGER.search(cause.get("message", ""))
        if cause.get("reason") == "FieldManagerConflict" and match:
            found.setdefault(match.group(1), []).append(cause.get("field", ""))
    return {manager: tuple(fields) for manager, fields in found.items()}
