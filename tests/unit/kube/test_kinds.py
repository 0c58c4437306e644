"""Where the API server keeps what we speak of."""

from __future__ import annotations

import pytest

from sessionstore.kube import kinds


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param(kinds.POD.path("ns"), "/api/v1/namespaces/ns/pods", id="a collection"),
        pytest.param(kinds.POD.path(None), "/api/v1/pods", id="of all namespaces"),
        pytest.param(kinds.POD.path("ns", "a"), "/api/v1/namespaces/ns/pods/a", id="an object"),
        pytest.param(kinds.JOB.path("ns", "a"), "/apis/batch/v1/namespaces/ns/jobs/a", id="of a named group"),
        pytest.param(
            kinds.DEPLOYMENT.path("ns", "a", "scale"),
            "/apis/apps/v1/namespaces/ns/deployments/a/scale",
            id="a subresource",
        ),
        pytest.param(
            kinds.SESSION_STORE.path("ns", "a", "status"),
            "/apis/sessionstore.dev/v1alpha1/namespaces/ns/sessionstores/a/status",
            id="of our own group",
        ),
    ],
)
def test_a_path_is_as_the_api_server_has_it(path: str, expected: str) -> None:
    assert path == expected


KINDS = [value for value in vars(kinds).values() if isinstance(value, kinds.Kind)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_kind_is_found_by_its_objects(kind: kinds.Kind) -> None:
    assert kinds.kind_of({"apiVersion": kind.api_version, "kind": kind.kind}) is kind


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param({"apiVersion": "v1", "kind": "Node"}, id="a kind that is none of ours"),
        pytest.param({"apiVersion": "apps/v1beta1", "kind": "Deployment"}, id="another version"),
    ],
)
def test_what_we_do_not_speak_of_is_an_error(manifest: dict[str, str]) -> None:
    with pytest.raises(KeyError):
        kinds.kind_of(manifest)
