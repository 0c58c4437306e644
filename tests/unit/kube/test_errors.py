"""What the API server's refusals become."""

from __future__ import annotations

import json

import pytest

from sessionstore import errors
from sessionstore.kube import errors as kube_errors


def _status(message: str, **details: object) -> str:
    return json.dumps({"kind": "Status", "message": message, "details": details})


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (400, errors.Invalid),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (409, errors.Conflicted),
        (422, errors.Invalid),
        (429, errors.ServerUnavailable),
        (500, errors.ServerUnavailable),
        (0, errors.ServerUnavailable),
    ],
)
def test_each_code_has_its_class(code: int, expected: type[errors.KubeError]) -> None:
    error = kube_errors.translate(code, _status("because"))

    assert type(error) is expected
    assert str(error) == "because"


@pytest.mark.parametrize("body", [None, "", "<html>", "[]", '{"kind":"Secret","data":{"password":"aHVudGVyMg=="}}'])
def test_a_body_that_is_no_status_is_not_quoted(body: str | None) -> None:
    assert str(kube_errors.translate(503, body)) == "the API server answered 503"


def test_a_conflict_names_the_managers_and_their_fields() -> None:
    causes = [
        {"reason": "FieldManagerConflict", "message": 'conflict with "helm" using apps/v1', "field": ".spec.replicas"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "helm" using apps/v1', "field": ".spec.paused"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "argocd" with subresource "scale"', "field": ".x"},
    ]

    error = kube_errors.translate(409, _status("Apply failed with 3 conflicts", causes=causes))

    assert isinstance(error, errors.Conflicted)
    assert error.managers == {"helm": (".spec.replicas", ".spec.paused"), "argocd": (".x",)}
