"""The binding Secrets: their content as a gateway and a Job read it, and what makes pods restart."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from sessionstore import errors
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.engines.redis import standalone, users
from sessionstore.gateways import binding
from sessionstore.sessions.config import SessionStorage

from .workloads import RedisAt, a_gateway, a_store

PASSWORDS = {
    "app": "p-app",
    "_migration": "p-migration",
    "gateway-openclaw": "p-openclaw",
    "gateway-support": "p-support",
}


def secrets(*gateways: dict[str, Any], **changed: str) -> dict[str, dict[str, str]]:
    """Secret name -> its content, decoded."""
    made = binding.make_binding_secrets(a_store(*gateways), RedisAt(), {**PASSWORDS, **changed})
    return {
        secret["metadata"]["name"]: {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
        for secret in made
    }


def test_a_store_has_one_secret_of_each_kind() -> None:
    both = (a_gateway(), a_gateway("support"))

    names = list(secrets(*both))

    assert names == ["chat-binding", "chat-openclaw-binding", "chat-support-binding", "chat-migration-binding"]


def test_a_store_without_gateways_has_the_generic_secret_and_that_of_migrations() -> None:
    store = a_store().model_copy(update={"spec": a_store().spec.model_copy(update={"gateways": ()})})

    made = binding.make_binding_secrets(store, RedisAt(), PASSWORDS)

    assert [secret["metadata"]["name"] for secret in made] == ["chat-binding", "chat-migration-binding"]


def test_each_secret_logs_in_as_its_own_user() -> None:
    found = {name: (content["username"], content["password"]) for name, content in secrets().items()}

    assert found == {
        "chat-binding": ("app", "p-app"),
        "chat-openclaw-binding": ("gateway-openclaw", "p-openclaw"),
        "chat-migration-binding": ("_migration", "p-migration"),
    }


def test_the_generic_secret_is_a_service_binding_and_no_more() -> None:
    (generic, *_) = binding.make_binding_secrets(a_store(), RedisAt(), PASSWORDS)

    assert generic["type"] == "servicebinding.io/redis"
    assert set(generic["data"]) == set(binding.KEYS)
    assert generic["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "sessionstore-operator",
        "sessionstore.dev/store": "chat",
    }


def test_the_configuration_of_a_gateway_names_files_and_holds_no_password() -> None:
    text = secrets(a_gateway(keyspace="wing"))["chat-openclaw-binding"]["session_storage.yaml"]

    assert SessionStorage.from_yaml(text) == SessionStorage(
        backend="redis",
        keyspace="wing",
        redis_host="chat-redis.openclaw.svc",
        redis_port=6379,
        redis_username_file="/etc/session-storage/bindings/chat/username",
        redis_password_file="/etc/session-storage/bindings/chat/password",
    )
    assert "p-openclaw" not in text


@pytest.mark.parametrize(
    ("default_ttl", "idle_ttl", "told"),
    [
        pytest.param("7d", "1500ms", (604_800, 2), id="rounded up to whole seconds"),
        pytest.param("0s", None, (0, 0), id="for ever"),
        pytest.param("99999999w", "1w", (3_153_600_000, 604_800), id="more than the library takes"),
    ],
)
def test_a_gateway_is_told_how_long_sessions_live(
    default_ttl: str, idle_ttl: str | None, told: tuple[int, int]
) -> None:
    store = api.SessionStore.model_validate(
        {
            "metadata": {"name": "chat", "namespace": "openclaw", "uid": "u"},
            "spec": {
                "engine": "redis",
                "sessions": {"defaultTTL": default_ttl, "idleTTL": idle_ttl},
                "gateways": [a_gateway()],
            },
        }
    )
    found = {
        name: SessionStorage.from_yaml(text)
        for secret in binding.make_binding_secrets(store, RedisAt(), PASSWORDS)
        for name, data in secret["data"].items()
        if name.endswith(".yaml")
        for text in [base64.b64decode(data).decode()]
    }

    assert found
    assert all((config.default_ttl, config.idle_ttl) == told for config in found.values())
    assert (hash_of(store) == hash_of(a_store())) == (told == (0, 0))


def test_a_migration_finds_a_configuration_for_every_keyspace_it_may_have_to_fill() -> None:
    content = secrets(a_gateway(keyspace="wing"), a_gateway("support"))["chat-migration-binding"]

    found = {name: SessionStorage.from_yaml(text).keyspace for name, text in content.items() if name.endswith(".yaml")}

    assert found == {
        "session_storage.yaml": "chat",
        binding.migration_config("chat"): "chat",
        binding.migration_config("wing"): "wing",
    }
    config = SessionStorage.from_yaml(content[binding.migration_config("wing")])
    assert config.redis_password_file == "/etc/session-storage/password"


def test_the_same_arguments_give_the_same_bytes() -> None:
    assert repr(binding.make_binding_secrets(a_store(), RedisAt(), PASSWORDS)) == repr(
        binding.make_binding_secrets(a_store(), RedisAt(), dict(reversed(PASSWORDS.items())))
    )


def hash_of(store: Any, engine: Any = None) -> str:
    return binding.config_hash(store, store.spec.gateways[0], engine or RedisAt())


def test_a_rotated_password_restarts_no_pod_and_another_keyspace_does() -> None:
    before = secrets()["chat-openclaw-binding"]
    after = secrets(**{"gateway-openclaw": "rotated"})["chat-openclaw-binding"]

    assert before["session_storage.yaml"] == after["session_storage.yaml"]
    assert hash_of(a_store()) != hash_of(a_store(a_gateway(keyspace="wing")))
    assert hash_of(a_store()) != hash_of(a_store(), RedisAt("elsewhere"))
    assert hash_of(a_store()) == hash_of(a_store(a_gateway(), a_gateway("support")))


def test_a_gateway_cannot_take_the_secret_of_migrations() -> None:
    with pytest.raises(errors.SpecError, match=r"gateways\[\]\.name 'migration' is kept .* choose another name"):
        binding.make_binding_secrets(
            a_store(a_gateway("migration")), RedisAt(), {**PASSWORDS, "gateway-migration": "p"}
        )


@pytest.mark.parametrize("user", ["_operator", "_health", "_exporter"])
def test_a_user_without_a_binding_shares_no_secret_name_with_a_gateway(user: str) -> None:
    name = binding.secret_name("chat", user)

    assert name != binding.secret_name("chat", f"gateway-{user.strip('_')}")
    assert "." in name


def test_the_redis_engine_knows_these_users_and_fills_every_key() -> None:
    store = a_store()
    engine = standalone.RedisEngine()

    made = binding.make_binding_secrets(store, engine, dict.fromkeys(engine.user_names(store), "p"))

    assert {users.APP, users.MIGRATION, users.gateway_user("openclaw")} == {
        binding.APP_USER,
        binding.MIGRATION_USER,
        binding.gateway_user("openclaw"),
    }
    assert all(set(binding.KEYS) <= set(secret["data"]) for secret in made)
