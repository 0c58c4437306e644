"""The kind cluster: created once, used again while it is healthy, and given images only where it lacks them.

pytest-kind's `KindCluster` creates and deletes it. Its own kubeconfig never touches ~/.kube/config.
"""

from __future__ import annotations

import contextlib
import hashlib
import pathlib
import subprocess
from dataclasses import dataclass

from pytest_kind import KindCluster

from . import command, images, machine, progress
from .kubectl import Kubectl

NAME = "sessionstore-test"
CONFIG = machine.HERE / "kind.yaml"
READY_DEADLINE_S = 180


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that runs. `created` tells whether this process made it."""

    name: str
    machine: machine.Machine
    kubectl: Kubectl
    created: bool

    def helm(self, *arguments: str, timeout_s: float = 300) -> str:
        """Run helm against this cluster. Raises: CommandError."""
        return command.run(
            [str(self.machine.program("helm")), *arguments],
            environment={"KUBECONFIG": str(self.kubectl.kubeconfig)},
            timeout_s=timeout_s,
        )

    def provide(self, *wanted: images.Image) -> dict[images.Image, images.Build]:
        """Build the images where the tree has changed, and load what the nodes lack, in one import for each node."""
        with machine.exclusive():
            builds = {image: images.build(image, source=self.machine.source) for image in wanted}
            for node in _nodes(self.name):
                _load(node, tuple(builds.values()))
        return builds


def up(name: str = NAME) -> Cluster:
    """Return a healthy cluster: the one that runs, or a new one where it does not run, is ill or was made otherwise.

    Raises: CommandError, subprocess.CalledProcessError where kind itself fails.
    """
    prepared = machine.prepare()
    with machine.exclusive():
        kubectl = Kubectl(prepared.program("kubectl"), kubeconfig(name))
        made_from = f"{prepared.node_image} {hashlib.sha256(CONFIG.read_bytes()).hexdigest()}"
        if _is_healthy(name, kubectl, made_from):
            progress.say(f"{name} runs and is healthy")
            return Cluster(name, prepared, kubectl, created=False)
        _delete(name, prepared)
        with progress.step(f"creating {name} ({prepared.node_image})"):
            _kind(name, prepared).create(config_file=CONFIG)
            _wait_until_usable(kubectl)
        _stamp(name).write_text(made_from)
    return Cluster(name, prepared, kubectl, created=True)


def down(name: str = NAME) -> None:
    """Delete the cluster, if it is there."""
    prepared = machine.prepare()
    with machine.exclusive(), progress.step(f"deleting {name}"):
        _delete(name, prepared)


def kubeconfig(name: str) -> pathlib.Path:
    """Where the cluster's own kubeconfig lies."""
    return machine.cache_directory() / f"{name}.kubeconfig"


def _stamp(name: str) -> pathlib.Path:
    """The file that says from which node image and configuration the running cluster was made."""
    return machine.cache_directory() / f"{name}.made-from"


def _kind(name: str, prepared: machine.Machine) -> KindCluster:
    # KindCluster makes a `.pytest-kind` directory where it is constructed; that must not be the work tree.
    with contextlib.chdir(machine.cache_directory()):
        return KindCluster(
            name,
            kubeconfig(name),
            image=prepared.node_image,
            kind_path=prepared.program("kind"),
            kubectl_path=prepared.program("kubectl"),
        )


def _delete(name: str, prepared: machine.Machine) -> None:
    """Delete what kind knows under this name. kind answers "nothing to do" with success."""
    _kind(name, prepared).delete()
    _stamp(name).unlink(missing_ok=True)
    kubeconfig(name).unlink(missing_ok=True)


def _is_healthy(name: str, kubectl: Kubectl, made_from: str) -> bool:
    """Tell whether the cluster runs, is made from what we would make it from, and answers as a whole."""
    if not _stamp(name).exists() or _stamp(name).read_text() != made_from:
        return False
    try:
        running = _nodes(name)
        ready = kubectl("get", "--raw", "/readyz", timeout_s=10)
        nodes = kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=10s")
    except command.CommandError as error:
        progress.say(f"{name} is not healthy and will be made anew: {error.stderr.strip() or error}")
        return False
    return bool(running and ready == "ok" and nodes)


def _wait_until_usable(kubectl: Kubectl) -> None:
    """Wait for what pods need and what kind does not wait for: a ready node, DNS, and the default service account."""
    timeout = f"--timeout={READY_DEADLINE_S}s"
    kubectl("wait", "node", "--all", "--for=condition=Ready", timeout, timeout_s=READY_DEADLINE_S + 10)
    kubectl.wait_for(lambda: kubectl.find("serviceaccount", "default"), READY_DEADLINE_S, "the default ServiceAccount")
    system = ("--namespace", "kube-system")
    kubectl("rollout", "status", "deployment/coredns", *system, timeout, timeout_s=READY_DEADLINE_S + 10)


def _nodes(name: str) -> list[str]:
    """The names of the cluster's running node containers."""
    labelled = f"label=io.x-k8s.kind.cluster={name}"
    return command.run(["docker", "ps", "--filter", labelled, "--format", "{{.Names}}"]).split()


def _load(node: str, builds: tuple[images.Build, ...]) -> None:
    known = set(command.run(["docker", "exec", node, "ctr", "--namespace=k8s.io", "images", "list", "-q"]).split())
    lacking = [build for build in builds if _as_containerd_spells(build.pinned) not in known]
    if not lacking:
        return
    references = [reference for build in lacking for reference in build.references]
    with progress.step(f"loading {', '.join(build.image.reference for build in lacking)} into {node}"):
        _import(node, references)


def _as_containerd_spells(reference: str) -> str:
    """Spell a Docker Hub name in full, as containerd stores it."""
    return f"docker.io/{reference}" if "/" in reference else f"docker.io/library/{reference}"


def _import(node: str, references: list[str]) -> None:
    """Pipe `docker save` into the node's containerd. Layers that the images share are sent once."""
    receive = ["docker", "exec", "-i", node, "ctr", "--namespace=k8s.io", "images", "import", "--all-platforms"]
    with subprocess.Popen(["docker", "save", *references], stdout=subprocess.PIPE) as sender:
        receiver = subprocess.run(
            [*receive, "--digests", "--snapshotter=overlayfs", "-"],
            stdin=sender.stdout,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    if sender.returncode or receiver.returncode:
        raise command.CommandError(["docker", "save", *references], f"could not be imported by {node}", receiver.stderr)
