"""The operator, installed from its Helm chart as a platform team would, with the images of this tree."""

from __future__ import annotations

from dataclasses import dataclass

from . import images, machine, progress
from .cluster import Cluster

CHART = machine.ROOT / "charts" / "sessionstore"
NAMESPACE = "sessionstore-system"
RELEASE = "sessionstore"
INSTALL_DEADLINE_S = 180
# The operator keeps to the strictest profile itself; the namespace, as manifests/install.yaml makes it, says so.
NAMESPACE_MANIFEST = f"""
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels: {{pod-security.kubernetes.io/enforce: restricted}}
"""


@dataclass(frozen=True, slots=True)
class Release:
    """An installed chart. `operator_image` is the reference that its pods run."""

    name: str
    namespace: str
    operator_image: str


def install(cluster: Cluster, *settings: str) -> Release:
    """Build and load the images, install or upgrade the chart, and wait until the operator is ready.

    Args:
        cluster: where.
        settings: more `key=value` pairs for `helm --set`, for example `replicas=2`.
    Raises: CommandError; Helm's own message says what is not ready.
    """
    builds = cluster.provide(*images.ALL)
    operator = builds[images.OPERATOR]
    chosen = (
        f"image.repository={operator.image.repository}",
        f"image.tag={operator.pinned_tag}",
        "image.pullPolicy=IfNotPresent",
        f"redis.image={images.REDIS.reference}",
        *settings,
    )
    cluster.kubectl.apply(NAMESPACE_MANIFEST, server_side=True)
    with progress.step(f"installing the chart into {NAMESPACE}"):
        cluster.helm(
            *("upgrade", "--install", RELEASE, str(CHART), "--namespace", NAMESPACE),
            *(part for setting in chosen for part in ("--set", setting)),
            # A test may have applied the CRD alone before; without this, Helm refuses what another has made.
            *("--take-ownership", "--wait", "--timeout", f"{INSTALL_DEADLINE_S}s"),
            timeout_s=INSTALL_DEADLINE_S + 30,
        )
    return Release(RELEASE, NAMESPACE, operator.pinned)
