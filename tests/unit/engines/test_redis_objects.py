"""The children of a store: what Kubernetes and a platform team rely on in them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from sessionstore import errors
from sessionstore.apis.v1alpha1.sessionstore import SessionStore
from sessionstore.engines.engine import Endpoint
from sessionstore.engines.redis import objects, standalone
from tests.redis.builders import DEFAULTS, a_store, passwords_for

PASSWORDS = passwords_for("gateway-openclaw", "gateway-mail")
ENGINE = standalone.RedisEngine()


def _made(store: SessionStore | None = None, passwords: Any = PASSWORDS) -> dict[tuple[str, str], dict[str, Any]]:
    made = ENGINE.objects(store or a_store(), passwords, DEFAULTS)
    return {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in made}


def _stateful_set(store: SessionStore | None = None) -> dict[str, Any]:
    return _made(store)["StatefulSet", "chat-redis"]["spec"]


def _pod(store: SessionStore | None = None) -> dict[str, Any]:
    return _stateful_set(store)["template"]["spec"]


def test_a_store_is_these_objects_in_this_order() -> None:
    assert list(_made()) == [
        ("ServiceAccount", "chat-redis"),
        ("ConfigMap", "chat-redis-config"),
        ("Secret", "chat-redis-users"),
        ("Service", "chat-redis-headless"),
        ("Service", "chat-redis"),
        ("StatefulSet", "chat-redis"),
        ("PodDisruptionBudget", "chat-redis"),
    ]


def test_the_same_arguments_give_the_same_bytes() -> None:
    def text(config: dict[str, str]) -> str:
        store = a_store({"openclaw": None, "mail": "x"}, redis={"config": config}, nodeSelector={"disk": "ssd"})
        return json.dumps(ENGINE.objects(store, PASSWORDS, DEFAULTS))

    assert text({"hz": "50", "timeout": "9"}) == text({"timeout": "9", "hz": "50"})


def test_every_object_says_whose_it_is() -> None:
    for manifest in _made().values():
        assert manifest["metadata"]["labels"] == {
            "app.kubernetes.io/name": "redis",
            "app.kubernetes.io/instance": "chat",
            "app.kubernetes.io/component": "store",
            "app.kubernetes.io/managed-by": "sessionstore-operator",
            "app.kubernetes.io/part-of": "sessionstore",
            "sessionstore.dev/store": "chat",
        }
        assert "namespace" not in manifest["metadata"]


def test_everything_that_selects_pods_selects_these() -> None:
    made = _made()
    labels = made["StatefulSet", "chat-redis"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        made["StatefulSet", "chat-redis"]["spec"]["selector"]["matchLabels"],
        made["PodDisruptionBudget", "chat-redis"]["spec"]["selector"]["matchLabels"],
        made["Service", "chat-redis"]["spec"]["selector"],
        made["Service", "chat-redis-headless"]["spec"]["selector"],
    ]

    assert all(selector.items() <= labels.items() for selector in selectors)
    assert all(selector == selectors[0] for selector in selectors)


def test_the_pod_meets_the_restricted_profile() -> None:
    """Each rule of https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted."""
    pod = _pod()
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] != 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert all(volume.keys() & {"configMap", "secret"} for volume in pod["volumes"])
    assert all("hostPort" not in port for port in container["ports"])


def test_the_pod_writes_to_its_volume_alone_and_has_no_token() -> None:
    pod = _pod()
    (container,) = pod["containers"]
    writable = [mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")]

    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert writable == ["data"]
    assert pod["automountServiceAccountToken"] is False
    assert _made()["ServiceAccount", "chat-redis"]["automountServiceAccountToken"] is False
    assert (pod["securityContext"]["fsGroup"], pod["securityContext"]["fsGroupChangePolicy"]) == (999, "OnRootMismatch")


def test_no_password_is_anywhere_but_the_probes_own_in_its_secret() -> None:
    made = _made(a_store({"openclaw": None}))
    secret = made.pop(("Secret", "chat-redis-users"))
    decoded = {name: base64.b64decode(text, validate=True).decode() for name, text in secret["data"].items()}

    assert "pw-of" not in json.dumps(list(made.values()))
    assert decoded["health"] == "pw-of-health"
    assert "pw-of" not in decoded["users.acl"]
    assert "env" not in _pod()["containers"][0]


@pytest.mark.parametrize(
    ("spec", "rolls"),
    [
        pytest.param({}, False, id="in sync"),
        pytest.param({"gateways": []}, False, id="users"),
        pytest.param({"suspend": True}, False, id="a field of the operator's"),
        pytest.param({"redis": {"config": {"hz": "50"}}}, True, id="redis.conf"),
        pytest.param({"redis": {"maxMemoryPercent": 50}}, True, id="maxmemory"),
        pytest.param({"redis": {"image": "valkey:9"}}, True, id="the image"),
    ],
)
def test_a_pod_rolls_for_what_a_server_does_not_take_up_by_itself(spec, rolls) -> None:
    before, after = (
        a_store({"openclaw": None}),
        a_store(
            None if "gateways" in spec else {"openclaw": None},
            **{key: value for key, value in spec.items() if key != "gateways"},
        ),
    )

    assert (_stateful_set(before)["template"] != _stateful_set(after)["template"]) is rolls


def test_changed_passwords_roll_no_pod() -> None:
    before, after = _made(), _made(passwords={**PASSWORDS, "app": "another"})
    same = {key for key in before if before[key] == after[key]}

    assert set(before) - same == {("Secret", "chat-redis-users")}


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_the_deletion_policy_is_that_of_the_claims(policy) -> None:
    found = _stateful_set(a_store(deletionPolicy=policy))["persistentVolumeClaimRetentionPolicy"]

    assert found == {"whenDeleted": policy, "whenScaled": "Retain"}


@pytest.mark.parametrize(
    ("storage", "expected"),
    [
        pytest.param(None, ("8Gi", None), id="the default"),
        pytest.param({"size": "20Gi"}, ("20Gi", None), id="a size"),
        pytest.param({"storageClassName": "fast"}, ("8Gi", "fast"), id="a class"),
    ],
)
def test_the_claim_asks_for_what_the_manifest_says(storage, expected) -> None:
    (claim,) = _stateful_set(a_store(**({"storage": storage} if storage else {})))["volumeClaimTemplates"]

    assert claim["metadata"]["name"] == "data"
    assert (claim["spec"]["resources"]["requests"]["storage"], claim["spec"].get("storageClassName")) == expected


def test_placement_is_passed_on_and_left_out_where_nothing_is_asked() -> None:
    asked = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
        "priorityClassName": "high",
    }

    assert {field: _pod(a_store(**asked))[field] for field in asked} == asked
    assert not asked.keys() & _pod().keys()


def test_the_image_is_the_manifests_or_the_operators() -> None:
    assert _pod()["containers"][0]["image"] == DEFAULTS.redis_image
    assert _pod(a_store(redis={"image": "valkey/valkey:9"}))["containers"][0]["image"] == "valkey/valkey:9"


def test_a_directive_that_is_refused_stops_the_whole() -> None:
    with pytest.raises(errors.SpecError, match="requirepass"):
        _made(a_store(redis={"config": {"requirepass": "x"}}))


def test_scripts_and_configuration_are_what_the_container_mounts() -> None:
    (container,) = _pod()["containers"]
    data = _made()["ConfigMap", "chat-redis-config"]["data"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    run = [
        container["command"][-1].split()[-1],
        *(container[f"{probe}Probe"]["exec"]["command"][1] for probe in PROBES),
    ]

    assert {path.removeprefix(f"{mounts['config']}/") for path in run} == set(data)
    assert f"aclfile {mounts['users']}/users.acl" in data["redis.conf"]
    assert f"dir {mounts['data']}\n" in data["redis.conf"]
    assert f"{mounts['users']}/health" in data["ready.sh"]


PROBES = ("startup", "liveness", "readiness")


def test_the_server_takes_the_shells_place_and_lets_nobody_else_read_its_files() -> None:
    assert _pod()["containers"][0]["command"] == [
        "sh",
        "-c",
        "umask 0077 && exec redis-server /etc/sessionstore/config/redis.conf",
    ]


def test_redis_conf_ends_with_the_manifests_directives() -> None:
    assert objects.render_config(a_store(redis={"config": {"hz": "50"}})).endswith("counts.\nhz 50\n")
    assert "spec.redis.config;" not in objects.render_config(a_store())


def test_the_endpoint_is_the_client_service() -> None:
    assert ENGINE.endpoint(a_store()) == Endpoint("chat-redis.openclaw.svc", 6379)


def test_a_binding_says_all_but_the_password() -> None:
    assert ENGINE.binding(a_store(), "gateway-openclaw", "chat") == {
        "type": "redis",
        "provider": "sessionstore.dev",
        "host": "chat-redis.openclaw.svc",
        "port": "6379",
        "username": "gateway-openclaw",
        "database": "0",
        "keyspace": "chat",
        "uri": "redis://gateway-openclaw@chat-redis.openclaw.svc:6379/0?keyspace=chat",
    }
