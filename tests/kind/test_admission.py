"""What the API server admits and refuses, and the words it refuses with. The CRD alone is enough: no operator runs.

Each rule of the CRD has its case here, and a message counts only where it says what to do.
"""

from __future__ import annotations

import json
import pathlib
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from sessionstore.apis import crd, meta, schema
from sessionstore.apis.v1alpha1 import sessionstore as api
from tests.cluster import cluster as clusters
from tests.cluster import command

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = sorted((ROOT / "manifests" / "samples").glob("*.yaml"))
KEEP = object()


class Admission:
    """One namespace, and the answers of its API server to SessionStores."""

    def __init__(self, cluster: clusters.Cluster, namespace: str) -> None:
        self.kubectl = cluster.kubectl
        self.namespace = namespace

    def apply(self, spec: dict[str, Any], name: str = "chat", *, keep: bool = False) -> dict[str, Any]:
        """Apply a store, as a dry run unless it shall be kept, and return what the server made of it."""
        manifest = {
            "apiVersion": "sessionstore.dev/v1alpha1",
            "kind": "SessionStore",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        }
        flags = [] if keep else ["--dry-run=server"]
        answer = self.kubectl("apply", *flags, "-o", "json", "-f", "-", input=json.dumps(manifest))
        return dict(json.loads(answer))

    def refusal(self, spec: dict[str, Any], name: str = "chat") -> str:
        """Apply a store that must be refused, and return the server's words."""
        with pytest.raises(command.CommandError) as caught:
            self.apply(spec, name)
        return caught.value.stderr


@pytest.fixture(scope="session")
def definition(cluster: clusters.Cluster) -> None:
    """The CRD of this tree. What an installed chart owns of it stays as it is; the content is the same."""
    kubectl = cluster.kubectl
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=crd.to_yaml(crd.session_stores()))
    _wait_until_served(cluster, "sessionstores.sessionstore.dev")


def _wait_until_served(cluster: clusters.Cluster, resource: str) -> None:
    cluster.kubectl.wait_for(lambda: cluster.kubectl.json("get", resource, "-A"), 30, f"{resource} to be served")


@pytest.fixture
def admission(cluster: clusters.Cluster, definition: None, namespace: str) -> Admission:
    return Admission(cluster, namespace)


def gateway(**fields: Any) -> dict[str, Any]:
    """A spec with one gateway; KEEP leaves a field out that is there by default."""
    whole = {"name": "openclaw", "workloadRef": {"kind": "Deployment", "name": "openclaw"}, **fields}
    return {"engine": "redis", "gateways": [{name: value for name, value in whole.items() if value is not KEEP}]}


def migration(**fields: Any) -> dict[str, Any]:
    return {"engine": "redis", "migration": fields}


def source(**fields: Any) -> dict[str, Any]:
    return migration(sources=[{"name": "old-home", "persistentVolumeClaim": "home", **fields}])


def redis(**fields: Any) -> dict[str, Any]:
    return {"engine": "redis", **fields}


ADMITTED = [
    pytest.param(redis(), id="an engine and nothing else"),
    pytest.param(redis(redis={}, storage={}, auth={}, tls={}, sessions={}, migration={}), id="empty blocks"),
    pytest.param(
        redis(
            redis=None,
            storage={"storageClassName": None},
            auth={"existingSecret": None, "rotation": {"every": None}},
            sessions={"idleTTL": None, "encryption": {"secretRef": None, "fields": []}},
            backup={"schedule": None, "destination": {"persistentVolumeClaim": None, "s3": None}},
        ),
        id="null where there is nothing, as templates write it",
    ),
    pytest.param(
        redis(networkPolicy={"enabled": True}, monitoring={"exporter": True}), id="what is warned about later"
    ),
    pytest.param(redis(redis={"topology": "standalone", "replicas": 3}), id="replicas of a standalone"),
    pytest.param(gateway(scaling={"targetCPUUtilization": 50}, stickiness="Remove"), id="a gateway that scales"),
    pytest.param(
        gateway(workloadRef={"kind": "StatefulSet", "name": "a.b"}), id="a StatefulSet with a dot in its name"
    ),
    pytest.param(redis(storage={"size": "1.5Ti"}), id="a fraction of a size"),
    pytest.param(migration(mode="Run", fenceTimeout="1h30m", sources=[]), id="a migration of nothing yet"),
    pytest.param(source(path="/a/..b/c.."), id="dots that lead nowhere"),
    pytest.param(
        redis(resources={"limits": {"memory": "1Gi", "cpu": 2}}, tolerations=[{"operator": "Exists"}], affinity={}),
        id="parts of a pod",
    ),
]


@pytest.mark.parametrize("spec", ADMITTED)
def test_what_is_right_is_admitted(admission: Admission, spec: dict[str, Any]) -> None:
    admission.apply(spec)


REFUSED = [
    pytest.param(
        redis(redis={}, mongodb={}),
        "redis, mongodb and external exclude each other; keep the block of one",
        id="two engines",
    ),
    pytest.param(redis(mongodb={}), "this block is of the other engine; remove it", id="the other engine's block"),
    pytest.param({"engine": "mongodb", "redis": {}}, "this block is of the other engine", id="the other way round"),
    pytest.param(
        redis(external={"secretRef": {"name": "x"}}, storage={}),
        "remove storage, or remove external",
        id="external, storage",
    ),
    pytest.param(
        redis(redis={"topology": "sentinel", "replicas": 4}), "replicas must be odd", id="an even number of sentinels"
    ),
    pytest.param({}, "spec.engine: Required value", id="no engine"),
    pytest.param(redis(engine="postgres"), 'supported values: "redis", "mongodb"', id="an unknown engine"),
    pytest.param(migration(fenceTimeout="soon"), "write a duration such as 90s, 15m", id="no duration"),
    pytest.param(redis(sessions={"defaultTTL": "7"}), "write a duration such as", id="a duration without a unit"),
    pytest.param(redis(storage={"size": "banana"}), "write a size above 0 such as 512Mi, 8Gi", id="no size"),
    pytest.param(redis(storage={"size": "0Gi"}), "write a size above 0", id="a size of nothing"),
    pytest.param(redis(resources={"limits": {"memory": "much"}}), "spec.resources.limits.memory", id="no quantity"),
    pytest.param(redis(redis={"maxMemoryPercent": 95}), "less than or equal to 90", id="no room for a fork"),
    pytest.param(gateway(name="Open_Claw"), "use lower-case letters, digits and '-'", id="a gateway's name"),
    pytest.param(gateway(name="g" * 41), "may not be more than 40", id="a gateway's name that is too long"),
    pytest.param(gateway(name="migration"), "migration is kept for the Secret of", id="a gateway's name that is ours"),
    pytest.param(gateway(keyspace="a:b"), "use lower-case letters, digits and '-'", id="a keyspace"),
    pytest.param(
        redis(gateways=gateway()["gateways"] * 2), 'Duplicate value: {"name":"openclaw"}', id="two gateways of one name"
    ),
    pytest.param(
        redis(gateways=[{"name": f"g{n}", "workloadRef": {"name": "a"}} for n in range(17)]),
        "must have at most 16 items",
        id="17 gateways",
    ),
    pytest.param(gateway(workloadRef=KEEP), "set workloadRef, with kind and name", id="a gateway without a workload"),
    pytest.param(
        gateway(selector={"matchLabels": {"a": "b"}}), "workloadRef and selector exclude each other", id="two workloads"
    ),
    pytest.param(gateway(workloadRef={"kind": "DaemonSet", "name": "x"}), "Unsupported value", id="a DaemonSet"),
    pytest.param(gateway(runAsUser=0), "greater than or equal to 1", id="root"),
    pytest.param(
        migration(sources=source()["migration"]["sources"] * 2),
        'Duplicate value: {"name":"old-home"}',
        id="two sources",
    ),
    pytest.param(source(path="sessions"), "starts with / and has no ..", id="a relative path"),
    pytest.param(source(path="/a/../b"), "starts with / and has no ..", id="a path that climbs"),
    pytest.param(source(path="/.."), "starts with / and has no ..", id="a path out of the volume"),
    pytest.param(redis(engines="redis"), 'unknown field "spec.engines"', id="a field that there is not"),
]


@pytest.mark.parametrize(("spec", "words"), REFUSED)
def test_what_is_wrong_is_refused_in_words(admission: Admission, spec: dict[str, Any], words: str) -> None:
    assert words in admission.refusal(spec)


NOT_YET = [
    pytest.param({"engine": "mongodb"}, "use redis", id="mongodb"),
    pytest.param(redis(redis={"topology": "sentinel", "replicas": 3}), "use standalone", id="sentinel"),
    pytest.param(redis(redis={"topology": "cluster"}), "use standalone", id="cluster"),
    pytest.param(redis(external={"secretRef": {"name": "x"}}), "remove external", id="external"),
    pytest.param(redis(tls={"mode": "SelfSigned"}), "leave tls.mode at Disabled", id="TLS"),
    pytest.param(
        redis(sessions={"encryption": {"secretRef": {"name": "k"}}}), "remove sessions.encryption", id="encryption"
    ),
    pytest.param(
        redis(sessions={"encryption": {"fields": ["a"]}}), "remove sessions.encryption", id="fields to encrypt"
    ),
    pytest.param(gateway(delivery="Bridge"), "use Config", id="the bridge"),
    pytest.param(
        gateway(workloadRef=KEEP, selector={"matchLabels": {"a": "b"}}),
        "name each workload with a workloadRef",
        id="selector",
    ),
]


@pytest.mark.parametrize(("spec", "words"), NOT_YET)
def test_what_is_not_carried_out_and_would_do_harm_is_refused(
    admission: Admission, spec: dict[str, Any], words: str
) -> None:
    refusal = admission.refusal(spec)

    assert "carried out by this version" in refusal
    assert words in refusal


NAMES = [
    pytest.param("a" * 41, "metadata.name has more than 40 characters; choose a shorter one", id="too long"),
    pytest.param("a.b", "start it with a letter and use no dots", id="a dot"),
    pytest.param("1st", "start it with a letter and use no dots", id="a digit first"),
]


@pytest.mark.parametrize(("name", "words"), NAMES)
def test_a_name_that_cannot_name_a_service_is_refused(admission: Admission, name: str, words: str) -> None:
    assert words in admission.refusal(redis(), name)


def test_the_longest_name_is_admitted(admission: Admission) -> None:
    admission.apply(redis(), "a" * 40)


STATUS = {
    "observedGeneration": 1,
    "conditions": [
        {"type": "Ready", "status": "True", "reason": "Ready", "message": "",
         "lastTransitionTime": "2026-11-21T10:00:00Z"}
    ],
    "topology": "standalone",
    "binding": {"name": "chat-binding"},
    "engine": {
        "version": "redis 7.0.15", "primary": "chat-redis-0", "sessions": 11, "usedPercent": 3, "usedBytes": 2**40,
        "limitBytes": 2**44, "members": [{"name": "chat-redis-0", "role": "primary", "ready": True, "lagBytes": 0}],
    },
    "gatewaysReady": "3/3",
    "gateways": [
        {"name": "openclaw", "workload": "Deployment/openclaw", "replicas": 3, "injected": True, "connected": 3,
         "revision": "abc", "sticky": ["Service/openclaw sessionAffinity"]}
    ],
    "migrations": [
        {"source": "old-home", "phase": "Migrated", "sessions": 11, "lines": 26, "bytes": 2**40, "archives": 3,
         "migrated": 11, "present": 0, "conflicts": 0, "quarantined": 0, "problems": 0, "digest": "0" * 64,
         "pauseSeconds": 8.4, "startedAt": "2026-11-21T10:00:00Z", "finishedAt": "2026-11-21T10:00:08Z",
         "message": "done", "report": "migration/old-home/report"}
    ],
}  # fmt: skip
KEPT = redis(suspend=True, storage={"size": "2Gi", "storageClassName": "standard"})


CHANGES = [
    pytest.param(KEPT, redis(storage={"size": "1Gi", "storageClassName": "standard"}), "cannot shrink", id="shrinks"),
    pytest.param(redis(), redis(storage={"size": "4Gi"}), "8Gi where none was written", id="shrinks below the default"),
    pytest.param(redis(storage={"size": "9Gi"}), redis(), "cannot shrink", id="shrinks to the default"),
    pytest.param(
        KEPT,
        redis(storage={"size": "2Gi", "storageClassName": "fast"}),
        "storageClassName cannot change",
        id="moves",
    ),
    pytest.param(KEPT, redis(storage={"size": "2Gi"}), "storageClassName cannot change", id="moves to the default"),
    pytest.param(
        migration(mode="Finalize"), migration(mode="Rollback"), "drops what a way back needs", id="back from Finalize"
    ),
    pytest.param(redis(), {"engine": "mongodb"}, "create a second SessionStore with the other engine", id="engine"),
]


@pytest.mark.parametrize(("before", "after", "words"), CHANGES)
def test_a_change_that_cannot_be_made_is_refused(
    admission: Admission, before: dict[str, Any], after: dict[str, Any], words: str
) -> None:
    admission.apply({**before, "suspend": True}, keep=True)

    assert words in admission.refusal({**after, "suspend": True})


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(KEPT, id="the same"),
        pytest.param(redis(storage={"size": "3Gi", "storageClassName": "standard"}), id="grows"),
        pytest.param(redis(storage={"size": "2048Mi", "storageClassName": "standard"}), id="the same in other words"),
    ],
)
def test_a_change_that_can_be_made_is_admitted(admission: Admission, after: dict[str, Any]) -> None:
    admission.apply(KEPT, keep=True)

    admission.apply({**after, "suspend": True})


def test_the_server_fills_in_little_so_that_what_was_written_can_be_told(admission: Admission) -> None:
    assert admission.apply(redis())["spec"] == {"engine": "redis", "suspend": False, "deletionPolicy": "Retain"}


def test_defaults_apply_inside_a_given_block(admission: Admission) -> None:
    filled = admission.apply({**gateway(), **source(), "redis": {}, "storage": {}})["spec"]

    assert filled["storage"] == {"size": "8Gi"}
    assert filled["redis"] == {"topology": "standalone", "maxMemoryPercent": 70, "evictionPolicy": "noeviction"}
    assert (filled["migration"]["mode"], filled["migration"]["sources"][0]["path"]) == ("Plan", "/")
    assert filled["gateways"][0]["workloadRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "openclaw"}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_every_sample_is_admitted(admission: Admission, sample: pathlib.Path) -> None:
    for manifest in yaml.safe_load_all(sample.read_text()):
        admission.apply(manifest["spec"], manifest["metadata"]["name"])


def test_there_are_samples() -> None:
    assert {sample.name for sample in SAMPLES} == {"minimal.yaml", "chat.yaml", "plan.yaml", "full.yaml"}


@pytest.fixture
def copy(cluster: clusters.Cluster) -> Iterator[str]:
    """The CRD under another group, whose objects no operator looks at: the tests may write their status."""
    group = f"x{secrets.token_hex(3)}.example.com"
    definition = json.loads(json.dumps(crd.session_stores()).replace("sessionstore.dev", group))
    definition["spec"]["names"] = {"kind": "SessionStore", "plural": "sessionstores"}
    cluster.kubectl.apply(json.dumps(definition), server_side=True)
    _wait_until_served(cluster, f"sessionstores.{group}")
    yield group
    cluster.kubectl("delete", "crd", f"sessionstores.{group}", "--wait=false")


def test_the_columns_are_shown_as_promised(cluster: clusters.Cluster, namespace: str, copy: str) -> None:
    def kubectl(*arguments: str) -> str:
        return cluster.kubectl(*arguments, "--namespace", namespace)

    resource = f"sessionstores.{copy}"
    store = {"apiVersion": f"{copy}/v1alpha1", "kind": "SessionStore", "metadata": {"name": "chat"}, "spec": redis()}
    cluster.kubectl.apply(json.dumps(store), namespace=namespace)
    kubectl("patch", resource, "chat", "--subresource=status", "--type=merge", "-p", json.dumps({"status": STATUS}))

    header, row = kubectl("get", resource).splitlines()
    wide = kubectl("get", resource, "-o", "wide")

    assert header.split() == ["NAME", "ENGINE", "TOPOLOGY", "READY", "REASON", "SESSIONS", "USED%", "GATEWAYS", "AGE"]
    assert row.split()[:8] == ["chat", "redis", "standalone", "True", "Ready", "11", "3", "3/3"]
    assert all(word in wide for word in ("PRIMARY", "chat-redis-0", "redis 7.0.15", "BINDING", "chat-binding"))


def test_the_status_takes_what_the_operator_writes_and_is_not_dropped(
    cluster: clusters.Cluster, namespace: str, copy: str
) -> None:
    store = {"apiVersion": f"{copy}/v1alpha1", "kind": "SessionStore", "metadata": {"name": "chat"}, "spec": redis()}
    whole = api.StoreStatus.model_validate(STATUS).model_dump(by_alias=True, exclude_none=True, mode="json")
    cluster.kubectl.apply(json.dumps(store), namespace=namespace)

    change = ("--subresource=status", "--type=merge", "-p", json.dumps({"status": whole}))
    cluster.kubectl("patch", f"sessionstores.{copy}", "chat", *change, "--namespace", namespace)

    assert cluster.kubectl.json("get", f"sessionstores.{copy}", "chat", "--namespace", namespace)["status"] == whole


def test_people_find_stores_by_short_name_and_category(cluster: clusters.Cluster, definition: None) -> None:
    (line,) = cluster.kubectl("api-resources", "--categories=sessions", "--no-headers").splitlines()

    assert line.split() == ["sessionstores", "sst", "sessionstore.dev/v1alpha1", "true", "SessionStore"]


def test_explain_knows_every_field(admission: Admission) -> None:
    shown = admission.kubectl("explain", "sst.spec", "--recursive")

    names = set(_names(crd.root_schema()["properties"]["spec"]))
    assert {name for name in names if f"{name}\t<" not in shown} == set()


def _names(part: schema.Schema) -> list[str]:
    inner = part.get("items", part)
    return [name for key, field in inner.get("properties", {}).items() for name in [key, *_names(field)]]


def test_each_rule_of_the_crd_has_a_case_here() -> None:
    phrases = [str(case.values[-1]) for case in (*REFUSED, *NOT_YET, *NAMES, *CHANGES)]
    unheard = [message for message in _messages(crd.root_schema()) if not any(words in message for words in phrases)]

    assert unheard == []


def _messages(part: schema.Schema) -> list[str]:
    own = [rule["message"] for rule in part.get(meta.VALIDATIONS, [])]
    inner = [*part.get("properties", {}).values(), *([part["items"]] if "items" in part else [])]
    return [*own, *(message for field in inner for message in _messages(field))]
