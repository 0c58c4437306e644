"""TLS: the server's certificate is checked against the named authority, and the host against the certificate."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionstore.sessions import SessionStorage, Unavailable, open_store
from tests import redis_server
from tests.redis_server import free_port


def authority(directory: Path, name: str) -> Path:
    """Make an authority, and a certificate of it for 127.0.0.1; return the authority's own certificate."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise RuntimeError("these tests need the openssl program: apt-get install --no-install-recommends openssl")
    key, ca = directory / f"{name}.key", directory / f"{name}.crt"
    new = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subprocess.run([*new, "-subj", f"/CN={name}", "-keyout", key, "-out", ca], check=True, capture_output=True)
    signed = ["-CA", ca, "-CAkey", key, "-subj", "/CN=redis", "-addext", "subjectAltName=IP:127.0.0.1"]
    leaf = ["-keyout", directory / f"{name}-leaf.key", "-out", directory / f"{name}-leaf.crt"]
    subprocess.run([*new, *signed, *leaf], check=True, capture_output=True)
    return ca


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[tuple[SessionStorage, Path]]:
    """A configuration for a server that speaks TLS too, and the certificate of its authority."""
    ca = authority(tmp_path, "ours")
    port = free_port()
    tls = [
        "--tls-port", str(port), "--tls-cert-file", str(tmp_path / "ours-leaf.crt"), "--tls-auth-clients", "no",
        "--tls-key-file", str(tmp_path / "ours-leaf.key"), "--tls-ca-cert-file", str(ca),
    ]  # fmt: skip
    with redis_server.running(tmp_path / "redis", *tls) as server:
        config = server.add_user("chat")
        yield dataclasses.replace(config, redis_port=port, redis_tls=True, redis_ca_file=str(ca)), ca


async def test_a_server_of_the_named_authority_is_spoken_to(encrypted: tuple[SessionStorage, Path]) -> None:
    async with open_store(encrypted[0]) as store:
        assert (await store.set("k", {"sessionId": "s"})).revision == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"redis_ca_file": "other.crt"}, id="another authority"),
        pytest.param({"redis_ca_file": None}, id="the system's authorities"),
        pytest.param({"redis_host": "localhost"}, id="a host that the certificate does not name"),
        pytest.param({"redis_tls": False, "redis_ca_file": None}, id="no TLS at all"),
    ],
)
async def test_anything_else_is_unavailable(
    encrypted: tuple[SessionStorage, Path], tmp_path: Path, change: dict[str, object]
) -> None:
    authority(tmp_path, "other")
    change = {name: str(tmp_path / value) if value == "other.crt" else value for name, value in change.items()}
    config = dataclasses.replace(encrypted[0], operation_timeout=2)
    async with open_store(dataclasses.replace(config, **change)) as store:
        with pytest.raises(Unavailable):
            await store.get("k")
