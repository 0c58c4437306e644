"""One SessionStore on a real cluster: it comes up, stays as it is, is put back, is reported, and goes."""

from __future__ import annotations

import base64
import json

import pytest

from tests.cluster import chart

from . import stores

CHILDREN = ("statefulset", "service", "configmap", "secret", "serviceaccount", "poddisruptionbudget", "sst")


def test_the_smallest_manifest_becomes_a_ready_store(scene: stores.Scene) -> None:
    scene.apply(stores.a_store())

    scene.wait_ready()

    row = scene.kubectl("get", "sst", "chat", "--no-headers").split()
    assert row[:4] == ["chat", "redis", "standalone", "True"]
    binding = scene.get("secret", scene.store()["status"]["binding"]["name"])
    assert binding["type"] == "servicebinding.io/redis"
    assert {"type", "provider", "host", "port", "username", "password"} <= binding["data"].keys()


def test_the_binding_lets_its_bearer_in_and_keeps_everyone_else_out(scene: stores.Scene) -> None:
    scene.apply(stores.a_store())
    scene.wait_ready()
    data = {k: base64.b64decode(v).decode() for k, v in scene.get("secret", "chat-binding")["data"].items()}

    def redis(*words: str, login: bool = True) -> str:
        lines = [f"AUTH {data['username']} {data['password']}"] if login else []
        text = "\n".join([*lines, " ".join(words)]) + "\n"
        return scene.kubectl(
            "exec", "-i", "chat-redis-0", "--", "redis-cli", "-h", "chat-redis", "-p", data["port"], input=text
        )

    assert "OK" in redis("SET", "sst:chat:probe", "1")
    assert "NOPERM" in redis("SET", "other:key", "1")
    assert "NOPERM" in redis("FLUSHALL")
    assert "NOPERM" in redis("CONFIG", "GET", "maxmemory")
    assert "NOAUTH" in redis("GET", "sst:chat:probe", login=False)


def test_in_sync_nothing_is_written(scene: stores.Scene) -> None:
    scene.apply(stores.a_store())
    scene.wait_ready()
    before = _settled(scene)

    # An annotation of the user's is a trigger, so this is another whole pass, and its own write is not ours.
    scene.kubectl("annotate", "sst", "chat", "example.com/look=1")
    before["sst/chat"] = scene.store()["metadata"]["resourceVersion"]
    _wait_for_a_pass(scene)

    assert _versions(scene) == before


def _versions(scene: stores.Scene) -> dict[str, str]:
    """Everything of the store's but what `_wait_for_a_pass` takes away."""
    found = stores.resource_versions(scene, CHILDREN)
    return {name: version for name, version in found.items() if not name.startswith("poddisruptionbudget/")}


def _settled(scene: stores.Scene) -> dict[str, str]:
    """Wait until two looks, a pass apart, see the same."""

    def same() -> dict[str, str] | None:
        before = _versions(scene)
        _wait_for_a_pass(scene)
        return before if before == _versions(scene) else None

    return dict(scene.wait(same, "everything to settle"))


def _wait_for_a_pass(scene: stores.Scene) -> None:
    """Take away a child that the operator does not watch: when it is back, a whole pass has been made."""
    scene.kubectl("delete", "pdb", "chat-redis")
    scene.wait(lambda: scene.get("pdb", "chat-redis"), "the PodDisruptionBudget to come back")


@pytest.mark.parametrize(
    ("what", "name", "patch", "path"),
    [
        pytest.param(
            "statefulset",
            "chat-redis",
            {"spec": {"replicas": 0}},
            ("spec", "replicas"),
            id="replicas of the StatefulSet",
        ),
        pytest.param(
            "service", "chat-redis", {"spec": {"publishNotReadyAddresses": True}}, ("spec", "type"), id="Service"
        ),
        pytest.param(
            "configmap", "chat-redis-config", {"data": {"redis.conf": "port 1"}}, ("data", "redis.conf"), id="ConfigMap"
        ),
    ],
)
def test_a_hand_edited_child_is_put_back(
    scene: stores.Scene, what: str, name: str, patch: dict[str, object], path: tuple[str, str]
) -> None:
    scene.apply(stores.a_store())
    scene.wait_ready()
    before = scene.get(what, name)

    scene.patch(what, name, patch)

    scene.wait(
        lambda: scene.get(what, name)[path[0]].get(path[1]) == before[path[0]].get(path[1]),
        f"{what} {name} to be put back",
    )


def test_what_is_not_ours_is_never_taken_over(scene: stores.Scene) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "chat-redis-config"},
        "data": {"mine": "keep"},
    }
    scene.apply(theirs)

    scene.apply(stores.a_store())

    found = scene.wait_condition("Provisioned", "ChildConflict")
    assert "ConfigMap 'chat-redis-config'" in found["message"]
    assert scene.get("configmap", "chat-redis-config")["data"] == {"mine": "keep"}
    scene.kubectl("delete", "configmap", "chat-redis-config")
    scene.wait_ready()


def test_a_store_that_is_deleted_and_made_again_at_once_comes_up(scene: stores.Scene) -> None:
    scene.apply(stores.a_store())
    scene.wait_ready()
    uid = scene.store()["metadata"]["uid"]

    scene.kubectl("delete", "sst", "chat", "--wait=false")
    scene.wait(lambda: scene.get("sst", "chat") is None, "the store to go")
    scene.apply(stores.a_store())

    scene.wait(lambda: scene.store()["metadata"]["uid"] != uid, "the new store")
    scene.wait_ready(deadline_s=240)


def test_a_deleted_secret_of_passwords_comes_back_and_everyone_can_log_in(scene: stores.Scene) -> None:
    scene.apply(stores.a_store())
    scene.wait_ready()
    before = scene.get("secret", "chat-credentials")["data"]["app"]

    scene.kubectl("delete", "secret", "chat-credentials")

    scene.wait(lambda: scene.get("secret", "chat-credentials"), "the passwords to be drawn anew")
    assert scene.get("secret", "chat-credentials")["data"]["app"] != before
    scene.wait(lambda: scene.condition("CredentialsReady").get("status") == "True", "users to be in line again")
    scene.wait_ready()


@pytest.mark.parametrize(("policy", "kept"), [("Retain", True), ("Delete", False)])
def test_the_deletion_policy_decides_about_the_data(scene: stores.Scene, policy: str, kept: bool) -> None:
    scene.apply(stores.a_store(deletionPolicy=policy))
    scene.wait_ready()
    assert scene.get("pvc", "data-chat-redis-0")

    scene.kubectl("delete", "sst", "chat")

    scene.wait(lambda: scene.get("statefulset", "chat-redis") is None, "the StatefulSet to go")
    scene.wait(lambda: not scene.list("pods"), "the pods to go")
    if kept:
        assert scene.get("pvc", "data-chat-redis-0")["metadata"].get("deletionTimestamp") is None
    else:
        scene.wait(lambda: scene.get("pvc", "data-chat-redis-0") is None, "the claim to go")


def test_data_outlives_the_pod(scene: stores.Scene) -> None:
    scene.apply(stores.a_store())
    scene.wait_ready()
    login = _login(scene)
    scene.kubectl("exec", "-i", "chat-redis-0", "--", "redis-cli", input=f"{login}\nSET sst:chat:kept yes\n")
    # `everysec`: what is older than a second survives the death of the process.
    scene.wait(lambda: "aof_pending_bio_fsync:0" in _info(scene), "the append-only file to be synced")

    scene.kill_store_and()

    answer = scene.kubectl("exec", "-i", "chat-redis-0", "--", "redis-cli", input=f"{login}\nGET sst:chat:kept\n")
    assert "yes" in answer


def _login(scene: stores.Scene, user: str = "app") -> str:
    password = base64.b64decode(scene.get("secret", "chat-credentials")["data"][user]).decode()
    return f"AUTH {user} {password}"


def _info(scene: stores.Scene) -> str:
    text = f"{_login(scene, '_operator')}\nINFO persistence\n"
    return scene.kubectl("exec", "-i", "chat-redis-0", "--", "redis-cli", input=text)


def test_suspend_observes_and_changes_nothing(scene: stores.Scene) -> None:
    scene.apply(stores.a_store())
    scene.wait_ready()

    scene.apply(stores.a_store(suspend=True))
    scene.wait_condition("Ready", "Suspended")
    scene.kubectl("delete", "service", "chat-redis")
    scene.patch("sst", "chat", {"spec": {"redis": {"maxMemoryPercent": 60}}})
    scene.wait_condition("Ready", "Suspended")
    assert scene.get("service", "chat-redis") is None

    scene.patch("sst", "chat", {"spec": {"suspend": False}})
    scene.wait(lambda: scene.get("service", "chat-redis"), "the Service to be made again")
    scene.wait_ready()


def test_a_store_that_begins_suspended_waits_and_then_comes_up(scene: stores.Scene) -> None:
    scene.apply(stores.a_store(suspend=True))
    scene.wait_condition("Ready", "Suspended")
    assert scene.get("statefulset", "chat-redis") is None

    scene.patch("sst", "chat", {"spec": {"suspend": False}})
    scene.wait_ready()


def test_an_image_that_cannot_be_pulled_is_said_and_heals(scene: stores.Scene) -> None:
    scene.apply(stores.a_store(redis={"image": "localhost:1/no/such:image"}))
    found = scene.wait_condition("Provisioned", "ImagePullFailed")
    assert "localhost:1/no/such:image" in found["message"]

    scene.apply(stores.a_store(redis={"image": ""}))
    scene.wait_ready()


def test_a_secret_that_is_not_there_is_said_and_heals(scene: stores.Scene) -> None:
    scene.apply(stores.a_store(auth={"existingSecret": {"name": "mine"}}))
    found = scene.wait_condition("CredentialsReady", "SecretNotFound")
    assert "'mine'" in found["message"]

    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "mine"},
        "stringData": {"password": "s3cret-own"},
    }
    scene.apply(secret)

    scene.wait_ready()
    given = base64.b64decode(scene.get("secret", "chat-binding")["data"]["password"]).decode()
    assert given == "s3cret-own"


def test_a_pod_that_cannot_be_scheduled_is_said_with_the_schedulers_words(scene: stores.Scene) -> None:
    scene.apply(stores.a_store(nodeSelector={"example.com/nowhere": "true"}))
    found = scene.wait_condition("Provisioned", "PodUnschedulable")
    assert "didn't match" in found["message"]

    scene.apply(stores.a_store())
    scene.patch("sst", "chat", {"spec": {"nodeSelector": None}})
    scene.wait_ready()


def test_what_is_not_carried_out_is_warned_about(scene: stores.Scene) -> None:
    scene.apply(stores.a_store(backup={"schedule": "0 3 * * *"}))

    found = scene.wait_condition("ConfigurationWarning", "NotCarriedOut")

    assert "backup" in found["message"]
    scene.wait_ready()


def test_secrets_are_seen_nowhere(scene: stores.Scene, operator_chart: chart.Release) -> None:
    scene.apply(stores.a_store())
    scene.wait_ready()
    passwords = {
        name: base64.b64decode(value).decode()
        for name, value in scene.get("secret", "chat-credentials")["data"].items()
    }
    assert passwords and all(len(password) >= 32 for password in passwords.values())

    places = {
        "events": scene.kubectl("get", "events", "-o", "yaml"),
        "status": json.dumps(scene.store()),
        "pods": scene.kubectl("get", "pods,statefulsets,configmaps,services", "-o", "yaml"),
        "logs of the store": scene.kubectl("logs", "chat-redis-0", "--all-containers"),
        "logs of the operator": scene.cluster.kubectl(
            "logs",
            "-n",
            operator_chart.namespace,
            "-l",
            "app.kubernetes.io/name=sessionstore-operator",
            "--tail=-1",
            "--prefix",
        ),
        "processes": scene.kubectl(
            "exec",
            "chat-redis-0",
            "--",
            "sh",
            "-c",
            "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; tr '\\0' ' ' <$p/environ; done",
        ),
    }
    assert "redis-server" in places["processes"]
    assert "chat" in places["events"]
    assert "leading" in places["logs of the operator"]
    seen = [(name, place) for name, password in passwords.items() for place, text in places.items() if password in text]
    assert seen == []


def test_a_namespace_goes_while_the_operator_runs(scene: stores.Scene) -> None:
    scene.apply(stores.a_store())
    scene.wait_ready()

    scene.cluster.kubectl("delete", "namespace", scene.namespace, "--timeout=60s")

    assert scene.cluster.kubectl.find("namespace", scene.namespace) is None
