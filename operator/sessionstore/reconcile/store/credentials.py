"""The Secret `<store>-credentials`: what is in it beside passwords, and what follows when it is lost. Pure."""

from __future__ import annotations

import hashlib

from sessionstore.kube import kinds

EPOCH = "_epoch"
"""A random value drawn with the first password.

When someone deletes the Secret, all passwords are drawn anew, and nobody can log in to the running server to tell it
so, we included. Another epoch then rolls its pod, which reads the new users when it starts. A rotation leaves it alone.
"""

ANNOTATION = "sessionstore.dev/credentials-epoch"


def with_epoch(manifest: kinds.Manifest, epoch: str) -> kinds.Manifest:
    """Mark a StatefulSet's pod template with the epoch of the passwords; leave other kinds as they are."""
    if manifest["kind"] != kinds.STATEFUL_SET.kind:
        return manifest
    spec, template = manifest["spec"], manifest["spec"]["template"]
    mark = {ANNOTATION: hashlib.sha256(epoch.encode()).hexdigest()[:12]}
    metadata = {**template["metadata"], "annotations": {**template["metadata"].get("annotations", {}), **mark}}
    return {**manifest, "spec": {**spec, "template": {**template, "metadata": metadata}}}
