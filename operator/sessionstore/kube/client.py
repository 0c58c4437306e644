"""The door to the API server: get, list, apply, create, patch, delete. Plain dicts in and out.

Called by reconcile and by the Lease; nothing else speaks to the API server, but for kopf's own
watches. Reads are never cached: a decision about Secrets made on a stale read would replace
passwords that are in use.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio import dynamic
from kubernetes.aio.client.exceptions import ApiException

from sessionstore import errors
from sessionstore.kube import errors as kube_errors
from sessionstore.kube import kinds

REQUEST_TIMEOUT_S = 10.0
"""Longest wait for one answer: a reconcile is repeated anyway, so a slow answer is worth less than a fresh one."""


@dataclass(frozen=True, slots=True)
class Kube:
    """The API server, as one process uses it."""

    _dynamic: Any

    async def get(self, kind: kinds.Kind, namespace: str, name: str) -> dict[str, Any] | None:
        """Return an object, or None when there is none."""
        try:
            return await self._request("get", kind.path(namespace, name))
        except errors.NotFound:
            return None

    async def list(
        self, kind: kinds.Kind, namespace: str | None, *, labels: str = "", fields: str = ""
    ) -> list[dict[str, Any]]:
        """Return the objects that match the selectors; `namespace` None looks everywhere."""
        query = {"label_selector": labels or None, "field_selector": fields or None}
        items: list[dict[str, Any]] = (await self._request("get", kind.path(namespace), **query))["items"]
        # A list's items leave out what its head says once; every other function here wants it.
        return [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in items]

    async def apply(
        self, body: kinds.Manifest, *, manager: str, force: bool, subresource: str | None = None, dry_run: bool = False
    ) -> dict[str, Any]:
        """Server-side apply. Raises: Conflicted with the managers when not forced; Invalid; Forbidden."""
        meta = body["metadata"]
        path = kinds.kind_of(body).path(meta["namespace"], meta["name"], subresource)
        return await self._request(
            "patch",
            path,
            body=dict(body),
            content_type="application/apply-patch+yaml",
            field_manager=manager,
            force_conflicts="true" if force else "false",
            dry_run="All" if dry_run else None,
        )

    async def create(self, body: kinds.Manifest, *, manager: str) -> dict[str, Any]:
        """Create an object. Raises: Conflicted when it is there already."""
        path = kinds.kind_of(body).path(body["metadata"]["namespace"])
        return await self._request("post", path, body=dict(body), field_manager=manager)

    async def patch(
        self, target: kinds.Manifest, patch: Mapping[str, Any], *, manager: str, subresource: str | None = None
    ) -> dict[str, Any]:
        """Send a JSON merge patch for an object that was read before."""
        meta = target["metadata"]
        path = kinds.kind_of(target).path(meta["namespace"], meta["name"], subresource)
        content = {"content_type": "application/merge-patch+json", "field_manager": manager}
        return await self._request("patch", path, body=dict(patch), **content)

    async def replace(self, body: kinds.Manifest) -> dict[str, Any]:
        """Put a whole object; its resourceVersion guards against a change in between."""
        meta = body["metadata"]
        return await self._request("put", kinds.kind_of(body).path(meta["namespace"], meta["name"]), body=dict(body))

    async def delete(self, kind: kinds.Kind, namespace: str, name: str, *, uid: str | None = None) -> bool:
        """Delete an object and, in the background, what it owns; return whether it was there."""
        options: dict[str, Any] = {"propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            await self._request("delete", kind.path(namespace, name), body=options)
        except errors.NotFound:
            return False
        return True

    async def _request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            response = await self._dynamic.request(
                method, path, serialize=False, _request_timeout=REQUEST_TIMEOUT_S, **options
            )
            answer: dict[str, Any] = await response.json()
        except ApiException as error:
            raise kube_errors.translate(error.status or 0, error.body) from None
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise errors.ServerUnavailable(f"the API server cannot be reached: {type(error).__name__}") from error
        return answer


@asynccontextmanager
async def connect() -> AsyncIterator[Kube]:
    """Connect with the pod's service account, else with the kubeconfig of whoever runs this."""
    configuration = kubernetes_client.Configuration()
    try:
        kubernetes_config.load_incluster_config(client_configuration=configuration)
    except kubernetes_config.ConfigException:
        await kubernetes_config.load_kube_config(client_configuration=configuration)
    async with kubernetes_client.ApiClient(configuration) as api:
        yield Kube(dynamic.DynamicClient(api))
