"""The chart, rendered: the rights that it grants, the profile that its pods keep, what its values do and refuse."""

from __future__ import annotations

import json
import pathlib
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from sessionstore import settings
from sessionstore.apis import crd

ROOT = pathlib.Path(__file__).resolve().parents[3]
CHART = ROOT / "charts" / "sessionstore"

Manifests = list[dict[str, Any]]
Render = Callable[..., Manifests]

# What the operator may do where it serves stores, reviewed call by call against kube/, reconcile/ and handlers/.
# A new verb belongs here only together with the code that needs it.
WANTED = {
    "sessionstore.dev/sessionstores": "get list watch",
    "sessionstore.dev/sessionstores/status": "patch",
    "secrets": "get create patch delete",
    "configmaps": "get create patch",
    "services": "get create patch",
    "serviceaccounts": "get create patch",
    "persistentvolumeclaims": "get patch",
    "pods": "list",
    "events": "get list create patch",
    "apps/deployments": "get list watch patch",
    "apps/statefulsets": "get list watch patch create",
    "apps/deployments/scale": "patch",
    "apps/statefulsets/scale": "patch",
    "apps/replicasets": "list",
    "batch/jobs": "list watch create delete",
    "policy/poddisruptionbudgets": "get create patch",
    # kopf watches all its kinds in the same namespaces, the election's Lease among them.
    "coordination.k8s.io/leases sessionstore-operator": "list watch",
}
ELECTION = {
    "coordination.k8s.io/leases sessionstore-operator": "get update list watch",
    "coordination.k8s.io/leases": "create",
}
# With named namespaces, kopf watches the operator's own as well, for the Lease, and there too all its kinds.
OWN_NAMESPACE = {
    "sessionstore.dev/sessionstores": "list watch",
    "apps/deployments": "list watch",
    "apps/statefulsets": "list watch",
    "batch/jobs": "list watch",
}


def render_with(helm: pathlib.Path, *settings: str) -> subprocess.CompletedProcess[str]:
    flags = [part for setting in settings for part in ("--set-json", setting)]
    command = [str(helm), "template", "sessionstore", str(CHART), "--namespace", "ours", "--kube-version", "1.34.0"]
    return subprocess.run([*command, *flags], capture_output=True, text=True, check=False)


@pytest.fixture
def render(helm: pathlib.Path) -> Render:
    def rendered(*settings: str) -> Manifests:
        result = render_with(helm, *settings)
        assert result.returncode == 0, result.stderr
        return [document for document in yaml.safe_load_all(result.stdout) if document]

    return rendered


def of_kind(manifests: Manifests, kind: str) -> Manifests:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def one(manifests: Manifests, kind: str, name: str = "sessionstore") -> dict[str, Any]:
    (found,) = (manifest for manifest in of_kind(manifests, kind) if manifest["metadata"]["name"] == name)
    return found


def granted(role: dict[str, Any]) -> dict[str, frozenset[str]]:
    """Return `group/resource` and the names it is confined to -> verbs.

    Fails on a resource that two rules name, which would hide a verb.
    """
    found: dict[str, frozenset[str]] = {}
    for rule in role["rules"]:
        assert rule.keys() <= {"apiGroups", "resources", "resourceNames", "verbs"}
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                name = " ".join([f"{group}/{resource}".removeprefix("/"), *rule.get("resourceNames", [])])
                assert name not in found, f"{name} is named twice"
                found[name] = frozenset(rule["verbs"])
    return found


def table(wanted: dict[str, str]) -> dict[str, frozenset[str]]:
    return {name: frozenset(verbs.split()) for name, verbs in wanted.items()}


def test_the_operator_gets_the_rights_of_the_table_and_no_other(render: Render) -> None:
    manifests = render()

    assert granted(one(manifests, "ClusterRole")) == table(WANTED)
    assert granted(one(manifests, "Role", "sessionstore-election")) == table(ELECTION)
    bound = {
        binding["roleRef"]["name"]
        for kind in ("ClusterRoleBinding", "RoleBinding")
        for binding in of_kind(manifests, kind)
    }
    assert bound == {"sessionstore", "sessionstore-election"}


def test_listed_namespaces_get_a_role_each_and_the_cluster_nothing(render: Render) -> None:
    manifests = render('watchNamespaces=["a","b"]', "rbac.aggregate=false")

    assert of_kind(manifests, "ClusterRole") == of_kind(manifests, "ClusterRoleBinding") == []
    roles = {role["metadata"]["namespace"]: role for role in of_kind(manifests, "Role")}
    assert roles.keys() == {"a", "b", "ours"}
    assert granted(roles["a"]) == granted(roles["b"]) == table(WANTED)
    assert granted(roles["ours"]) == table({**ELECTION, **OWN_NAMESPACE})
    for binding in of_kind(manifests, "RoleBinding"):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "sessionstore", "namespace": "ours"}]
    assert environment(manifests)["SESSIONSTORE_WATCH_NAMESPACES"] == "a,b"


def test_people_get_roles_that_the_operator_does_not_have(render: Render) -> None:
    edit = one(render(), "ClusterRole", "sessionstore-edit")

    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert granted(edit).keys() == {"sessionstore.dev/sessionstores"}


def container(manifests: Manifests) -> dict[str, Any]:
    (found,) = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(found)


def environment(manifests: Manifests) -> dict[str, str]:
    return {
        variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in container(manifests)["env"]
    }


def test_the_pod_keeps_the_restricted_profile(render: Render) -> None:
    manifests = render()
    pod = one(manifests, "Deployment")["spec"]["template"]["spec"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(manifests)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container(manifests)["resources"]["limits"]


def test_what_the_chart_sets_is_what_the_operator_reads(render: Render) -> None:
    given = environment(
        render('image.repository="r.example/op"', 'image.tag="7"', 'redis.image="redis:8"', "workers=2")
    )
    assert given["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    plain = {name: value for name, value in given.items() if isinstance(value, str)}

    read = settings.OperatorSettings.from_environment({**plain, "POD_NAME": "pod", "POD_NAMESPACE": "ours"})

    assert (read.operator_image, read.redis_image, read.workers) == ("r.example/op:7", "redis:8", 2)
    assert (read.watch_namespaces, read.resync_s, read.log_level) == ((), 30.0, "INFO")
    unread = given.keys() - set(variables_of(pathlib.Path(settings.__file__).read_text()))
    assert unread == set()


def variables_of(source: str) -> list[str]:
    return [part for part in source.replace('"', " ").split() if part.startswith(("SESSIONSTORE_", "POD_"))]


def test_the_probes_ask_the_port_that_the_operator_serves(render: Render) -> None:
    operator = container(render())
    (port,) = operator["ports"]

    assert port["containerPort"] == settings.OperatorSettings("", "", "", "").health_port
    assert operator["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    assert operator["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": port["name"]}


def test_the_image_follows_the_chart_where_no_tag_is_given(render: Render) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]

    assert container(render())["image"] == f"sessionstore-operator:{version}"


def test_the_crd_is_the_models_and_outlives_the_release(render: Render) -> None:
    definition = one(render(), "CustomResourceDefinition", "sessionstores.sessionstore.dev")

    assert definition["spec"] == crd.session_stores()["spec"]
    assert definition["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_the_crd_can_be_left_to_others(render: Render) -> None:
    assert of_kind(render("crds.install=false"), "CustomResourceDefinition") == []


def test_a_drain_is_never_blocked_by_a_single_replica(render: Render) -> None:
    budget = one(render("replicas=1"), "PodDisruptionBudget")

    assert budget["spec"]["maxUnavailable"] == 1
    assert "minAvailable" not in budget["spec"]


def test_pods_may_be_placed_as_the_user_says(render: Render) -> None:
    toleration = {"key": "a", "operator": "Exists"}
    manifests = render(
        f"tolerations={json.dumps([toleration])}",
        'nodeSelector={"disk":"ssd"}',
        'affinity={"nodeAffinity":{}}',
        'priorityClassName="high"',
        'podAnnotations={"a":"b"}',
        'imagePullSecrets=[{"name":"registry"}]',
    )
    template = one(manifests, "Deployment")["spec"]["template"]

    assert template["metadata"]["annotations"] == {"a": "b"}
    pod = template["spec"]
    assert (pod["tolerations"], pod["nodeSelector"], pod["affinity"]) == (
        [toleration],
        {"disk": "ssd"},
        {"nodeAffinity": {}},
    )
    assert (pod["priorityClassName"], pod["imagePullSecrets"]) == ("high", [{"name": "registry"}])


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        pytest.param("replica=3", "replica", id="a key that there is not"),
        pytest.param('replicas="many"', "replicas", id="no number"),
        pytest.param('image.pullPolicy="Sometimes"', "pullPolicy", id="an unknown policy"),
        pytest.param('watchNamespaces=["Bad Name"]', "watchNamespaces", id="no namespace's name"),
        pytest.param('logLevel="LOUD"', "logLevel", id="an unknown level"),
        pytest.param('redis.image=""', "image", id="no image"),
    ],
)
def test_a_wrong_value_is_refused_by_name(helm: pathlib.Path, setting: str, words: str) -> None:
    result = render_with(helm, setting)

    assert result.returncode != 0
    assert words in result.stderr


def test_every_value_is_in_the_schema_and_explained() -> None:
    text = (CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    known = json.loads((CHART / "values.schema.json").read_text())["properties"]

    assert values.keys() <= known.keys()
    assert known.keys() - values.keys() == {"global"}
    assert [key for key in ("replicas", "watchNamespaces", "resources", "logLevel") if not _explained(text, key)] == []


def _explained(text: str, key: str) -> bool:
    lines = text.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith(f"{key}:"))
    return lines[place - 1].lstrip().startswith("#")


def test_helm_finds_nothing_to_complain_about(helm: pathlib.Path) -> None:
    result = subprocess.run([str(helm), "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout
