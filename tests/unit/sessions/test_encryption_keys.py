"""Keys come from files, are named by ids, and are in nothing that is printed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from sessionstore.sessions import ConfigurationError, SessionStorage, Unreadable, open_store
from sessionstore.sessions.encryption.keyring import Keyring, Place, id_of, read_key

KEY = bytes(range(32))
VECTORS = json.loads((Path(__file__).parent / "encryption_vectors.json").read_text())


def written(directory: Path, content: bytes, mode: int = 0o600) -> Path:
    file = directory / "key"
    file.write_bytes(content)
    file.chmod(mode)
    return file


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(KEY, id="as it is"),
        pytest.param(KEY.hex().encode(), id="hexadecimal"),
        pytest.param(KEY.hex().upper().encode() + b"\n", id="in capitals, with a line feed"),
        pytest.param(base64.b64encode(KEY), id="base64"),
        pytest.param(base64.urlsafe_b64encode(KEY).rstrip(b"=") + b"\r\n", id="base64url without padding"),
    ],
)
def test_a_key_is_read_in_each_of_its_forms(tmp_path: Path, content: bytes) -> None:
    assert read_key(written(tmp_path, content)) == KEY


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(KEY[:31], id="a byte too few"),
        pytest.param(KEY + b"\n", id="a byte too many"),
        pytest.param(KEY.hex().encode()[:-1], id="a digit too few"),
        pytest.param(base64.b64encode(KEY[:30]), id="base64 of 30 bytes"),
        pytest.param(b"correct horse battery staple!", id="a password"),
        pytest.param(b"x" * 5000, id="another file"),
    ],
)
def test_what_is_no_key_is_refused_without_being_quoted(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ConfigurationError, match="64 hexadecimal digits") as caught:
        read_key(written(tmp_path, content))
    assert str(tmp_path) in str(caught.value)
    assert not content or repr(content)[2:-1] not in str(caught.value)


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent.key cannot be read: No such file"):
        read_key(tmp_path / "absent.key")


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True)])
def test_a_file_that_everybody_can_read_is_warned_of(
    tmp_path: Path, mode: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        read_key(written(tmp_path, KEY, mode))
    assert [record.getMessage() for record in caplog.records] == [
        f"the encryption key file {tmp_path / 'key'} can be read by everybody on this machine; chmod o-r"
    ] * warned


def test_a_key_s_id_tells_nothing_of_it() -> None:
    assert id_of(KEY) == hashlib.sha256(b"sessionstore-key-id" + KEY).hexdigest()[:16]
    ring = Keyring([b"\1" * 32, KEY])
    assert ring.last == id_of(KEY)
    assert ring.ids == (id_of(b"\1" * 32), id_of(KEY))
    assert repr(ring) == f"Keyring({ring.ids[0]}, {ring.ids[1]})"


@pytest.mark.parametrize("keys", [[], [b"short"], [KEY, KEY]])
def test_an_impossible_list_is_refused(keys: list[bytes]) -> None:
    with pytest.raises(ConfigurationError, match="key"):
        Keyring(keys)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["what"])
def test_known_answers(vector: dict[str, str]) -> None:
    """What this version wrote must be readable for ever; changing a vector is changing the layout."""
    key = bytes.fromhex(vector["key"])
    place = Place(vector["kind"], vector["agent"], vector["name"])
    plain, bound, data = (bytes.fromhex(vector[name]) for name in ("plain", "bound", "data"))
    assert id_of(key) == vector["id"]
    ring = Keyring([key])
    assert ring.decrypt(place, vector["purpose"].encode(), vector["id"], data, bound) == plain
    assert ring.decrypt(place, b"line", vector["id"], ring.encrypt(place, b"line", plain)) == plain


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["what"])
def test_the_known_answers_are_those_of_the_page(vector: dict[str, str]) -> None:
    """Compute them by docs/design/0013-encryption.md and the standard library, without our code."""
    names = [vector[name].encode() for name in ("kind", "agent", "name")]
    plain, bound, data = (bytes.fromhex(vector[name]) for name in ("plain", "bound", "data"))
    info = prefixed(*names, b"sessionstore-key", b"1")
    derived = hmac.digest(bytes.fromhex(vector["key"]), info + b"\1", "sha256")
    encryptor = Cipher(AES(derived), GCM(data[:12])).encryptor()
    encryptor.authenticate_additional_data(prefixed(*names, vector["purpose"].encode(), bound))
    assert data[:12] + encryptor.update(plain) + encryptor.finalize() + encryptor.tag == data


def prefixed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def test_a_nonce_is_never_the_same() -> None:
    ring, place = Keyring([KEY]), Place("session", "main", "k")
    assert len({ring.encrypt(place, b"line", b"x")[:12] for _ in range(1000)}) == 1000


def test_a_missing_key_is_named_with_the_session() -> None:
    place = Place("session", "main", "k")
    data = Keyring([KEY]).encrypt(place, b"line", b"x")
    with pytest.raises(Unreadable, match=rf"session main/k .* key {id_of(KEY)}, which is not among"):
        Keyring([b"\1" * 32]).decrypt(place, b"line", id_of(KEY), data)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backend": "file", "encryption_key_files": ["k"]}, "OpenClaw reads these files"),
        ({"backend": "memory", "encryption_fields": "label"}, "nothing would be encrypted"),
        ({"backend": "memory", "encryption_require": True}, "nothing would be encrypted"),
        ({"backend": "memory", "encryption_key": KEY.hex()}, "did you mean 'encryption_key_files'"),
    ],
)
def test_a_configuration_that_encrypts_nothing_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        SessionStorage.from_mapping(values)
    assert KEY.hex() not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "memory://?encryption_key_files=/a,/b&encryption_require=true",
        "redis://h:1?keyspace=chat&encryption_key_files=/a,/b&encryption_require=true",
        "mongodb://h:1/d?encryption_require=true&encryption_key_files=/a,/b&keyspace=chat",
        "directory:///d?encryption_key_files=/a,/b&encryption_require=true",
    ],
)
def test_every_url_takes_keys(url: str) -> None:
    config = SessionStorage.from_url(url)
    assert (config.encryption_key_files, config.encryption_require) == (("/a", "/b"), True)
    assert config.keyspace == ("chat" if "keyspace" in url else "default")


def test_variables_name_the_files() -> None:
    environ = {"SESSION_STORAGE_BACKEND": "memory", "SESSION_STORAGE_ENCRYPTION_KEY_FILES": "/a,/b"}
    assert SessionStorage.from_environment(environ).encryption_key_files == ("/a", "/b")


async def test_a_field_that_the_layout_needs_is_refused(tmp_path: Path) -> None:
    files = str(written(tmp_path, KEY))
    for field in ("sessionId", "sessionFile", "updatedAt"):
        config = SessionStorage(backend="memory", encryption_key_files=(files,), encryption_fields=("label", field))
        with pytest.raises(ConfigurationError, match=field):
            await open_store(config)
