"""The images that the tests and the demo run: named here once, rebuilt only when what they are made of has changed.

An image carries a hash of its inputs as a label, and besides its own tag one that ends in its id. That second tag is
how a node is asked whether it has *this* build, and what makes Helm roll pods when the code under test has changed.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from . import command, machine, progress

BASE = "debian:bookworm-slim"
LABEL = "sessionstore.dev/inputs"


@dataclass(frozen=True, slots=True)
class Image:
    """An image of ours: its name, its Dockerfile and what goes into it, both relative to the repository's root.

    `parent` is the image of ours that it starts from, if it does.
    """

    repository: str
    tag: str
    dockerfile: str
    inputs: tuple[str, ...] = ()
    parent: Image | None = None

    @property
    def reference(self) -> str:
        return f"{self.repository}:{self.tag}"


@dataclass(frozen=True, slots=True)
class Build:
    """An image that Docker has. `pinned_tag` is the tag that names this build and no other."""

    image: Image
    id: str

    @property
    def pinned_tag(self) -> str:
        return f"{self.image.tag}-{self.id.removeprefix('sha256:')[:12]}"

    @property
    def pinned(self) -> str:
        return f"{self.image.repository}:{self.pinned_tag}"

    @property
    def references(self) -> tuple[str, str]:
        """Both names: the one that manifests use, and the one that tells builds apart."""
        return self.image.reference, self.pinned


OPERATOR = Image(
    "sessionstore-operator", "dev", "Dockerfile", ("requirements", "pyproject.toml", "LICENSE", "operator")
)
REDIS = Image("sessionstore-test/redis", "7.0.15", "tests/cluster/redis.Dockerfile")
GATEWAY = Image("sessionstore-example/gateway", "dev", "examples/gateway/Dockerfile", ("examples/gateway",), OPERATOR)
ALL = (OPERATOR, REDIS, GATEWAY)


def build(image: Image, *, source: str) -> Build:
    """Return the image as it would be built from the tree as it is now, building it only where there is none.

    Args:
        image: the image; its parent is built first.
        source: as in `Machine`. A base image that exists on this machine alone asks for Docker's classic builder.
    Raises: CommandError with the end of Docker's output.
    """
    parent = build(image.parent, source=source) if image.parent else None
    digest = inputs_digest(image, machine.ROOT, parent.id if parent else _inspect(BASE, "{{.Id}}"))
    if _inspect(image.reference, f'{{{{index .Config.Labels "{LABEL}"}}}}') != digest:
        with progress.step(f"building {image.reference}"):
            _docker_build(image, digest, source)
    built = Build(image, _inspect(image.reference, "{{.Id}}"))
    if _inspect(built.pinned, "{{.Id}}") != built.id:
        command.run(["docker", "tag", image.reference, built.pinned])
        _forget_older(built)
    return built


def inputs_digest(image: Image, root: pathlib.Path, base_id: str) -> str:
    """SHA-256 over the base's id, and the path, execute bit and bytes of each file that goes into the image."""
    digest = hashlib.sha256(base_id.encode())
    for path in _files(root, (image.dockerfile, *image.inputs)):
        content = path.read_bytes()
        head = f"{path.relative_to(root)}\0{path.stat().st_mode & 0o100}\0{len(content)}\0"
        digest.update(head.encode() + content)
    return digest.hexdigest()


def _files(root: pathlib.Path, inputs: Iterable[str]) -> Iterator[pathlib.Path]:
    """The files below the inputs, sorted, less what Python and our tools write beside them (see .dockerignore)."""
    for name in sorted(inputs):
        path = root / name
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (p for p in found if not p.is_dir() and not _is_derived(p.relative_to(root)))


def _is_derived(path: pathlib.Path) -> bool:
    return any(part == "__pycache__" or part.endswith((".egg-info", "_cache")) for part in path.parts)


def _docker_build(image: Image, digest: str, source: str) -> None:
    arguments = [
        "docker",
        "build",
        "--network=host",
        "--force-rm",
        "--label",
        f"{LABEL}={digest}",
        "--tag",
        image.reference,
    ]
    if "PIP_INDEX_URL" in os.environ:
        arguments += ["--build-arg", "PIP_INDEX_URL"]
    command.run(
        [*arguments, "--file", str(machine.ROOT / image.dockerfile), str(machine.ROOT)],
        environment={"DOCKER_BUILDKIT": "0"} if source == "built" else {},
        timeout_s=900,
    )


def _inspect(reference: str, template: str) -> str:
    """One field of an image, empty where there is no such image."""
    try:
        return command.run(["docker", "image", "inspect", "--format", template, reference]).strip()
    except command.CommandError as error:
        if "No such image" in error.stderr:
            return ""
        raise


def _forget_older(built: Build) -> None:
    """Untag earlier builds, so that Docker can drop their layers; a node that runs them has its own copy."""
    known = command.run(["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", built.image.repository])
    older = [name for name in known.split() if name.startswith(f"{built.image.reference}-") and name != built.pinned]
    if older:
        command.run(["docker", "image", "rm", *older])
