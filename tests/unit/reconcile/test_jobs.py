"""The migration Jobs: as whom and where they run, what they may touch, and when one is another."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import binding
from sessionstore.reconcile.store import jobs
from tests import builders
from tests.unit.gateways import workloads

STORE = builders.a_store(builders.a_gateway(), migration=builders.a_migration("Run"))
RUNTIME = jobs.JobRuntime.of(builders.MEANS.image, STORE.spec.gateways[0], builders.a_workload(), builders.NODE)


def _source(store: api.SessionStore) -> api.MigrationSource:
    assert store.spec.migration is not None
    return store.spec.migration.sources[0]


def _plan(store: api.SessionStore = STORE, runtime: jobs.JobRuntime = RUNTIME) -> dict[str, Any]:
    return jobs.plan_job(store, _source(store), runtime)


def _copy(store: api.SessionStore = STORE, runtime: jobs.JobRuntime = RUNTIME, attempt: int = 1) -> dict[str, Any]:
    return jobs.copy_job(store, _source(store), runtime, attempt)


def _pod(job: dict[str, Any]) -> dict[str, Any]:
    return dict(job["spec"]["template"]["spec"])


def _container(job: dict[str, Any]) -> dict[str, Any]:
    (found,) = _pod(job)["containers"]
    return dict(found)


BOTH = pytest.mark.parametrize("job", [pytest.param(_plan(), id="plan"), pytest.param(_copy(), id="copy")])


# -- what it may touch ------------------------------------------------------------------------


@BOTH
def test_the_pod_meets_the_restricted_profile(job: dict[str, Any]) -> None:
    """Each rule of https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted."""
    context, own = _pod(job)["securityContext"], _container(job)["securityContext"]

    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] != 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & _pod(job).keys()
    assert all(volume.keys() & {"persistentVolumeClaim", "secret", "emptyDir"} for volume in _pod(job)["volumes"])


@BOTH
def test_it_writes_to_nothing_but_its_own_temporary_files(job: dict[str, Any]) -> None:
    mounts = {mount["name"]: mount for mount in _container(job)["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in _pod(job)["volumes"]}

    assert volumes["source"]["persistentVolumeClaim"] == {"claimName": builders.CLAIM}
    assert {name for name, mount in mounts.items() if not mount.get("readOnly")} == {"tmp"}
    assert "emptyDir" in volumes["tmp"]
    assert _container(job)["securityContext"]["readOnlyRootFilesystem"] is True
    assert "fsGroup" not in _pod(job)["securityContext"]


@BOTH
def test_it_has_no_api_token_and_no_password_where_others_could_read_it(job: dict[str, Any]) -> None:
    assert _pod(job)["automountServiceAccountToken"] is False
    assert _pod(job)["enableServiceLinks"] is False
    assert "password" not in json.dumps(job)
    (secret,) = (volume["secret"] for volume in _pod(job)["volumes"] if "secret" in volume)
    assert secret["secretName"] == "chat-migration-binding"


@BOTH
def test_it_is_not_repeated_by_kubernetes(job: dict[str, Any]) -> None:
    assert job["spec"]["backoffLimit"] == 0
    assert _pod(job)["restartPolicy"] == "Never"


def test_a_plan_is_a_dry_run_and_a_copy_is_not() -> None:
    assert "--dry-run" in _container(_plan())["args"]
    assert "--dry-run" not in _container(_copy())["args"]


# -- what it reads ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "argument"),
    [
        pytest.param("/", "/source", id="the volume's root"),
        pytest.param("/.openclaw", "/source/.openclaw", id="a directory"),
        pytest.param("/a/b/", "/source/a/b", id="with a slash too many"),
    ],
)
def test_the_path_is_that_within_the_volume(path: str, argument: str) -> None:
    source = {"name": "old-home", "persistentVolumeClaim": builders.CLAIM, "path": path}

    job = _plan(builders.a_store(migration={"sources": [source]}))

    assert _container(job)["args"][:2] == ["migrate", argument]


@pytest.mark.parametrize(
    ("keyspace", "file"),
    [
        pytest.param(None, "session_storage.chat.yaml", id="the store's own"),
        pytest.param("mail", "session_storage.mail.yaml", id="the gateway's"),
    ],
)
def test_it_writes_to_the_keyspace_that_its_gateway_reads(keyspace: str | None, file: str) -> None:
    gateway = builders.a_gateway(**({"keyspace": keyspace} if keyspace else {}))
    store = builders.a_store(gateway, migration=builders.a_migration())
    runtime = jobs.JobRuntime.of(builders.MEANS.image, store.spec.gateways[0], None, None)

    (variable,) = _container(_plan(store, runtime))["env"]

    assert variable == {"name": "SESSION_STORAGE_CONFIG", "value": f"{binding.MOUNT_PATH}/{file}"}
    secrets = binding.make_binding_secrets(store, builders.MEANS.engine, builders.passwords_of(store))
    (mounted,) = (made for made in secrets if made["metadata"]["name"] == "chat-migration-binding")
    assert file in mounted["data"]


# -- as whom, and where -----------------------------------------------------------------------


def _runtime(pod: dict[str, Any], *containers: dict[str, Any], **gateway: Any) -> jobs.JobRuntime:
    workload = workloads.a_workload(*containers)
    workload["spec"]["template"]["spec"]["securityContext"] = pod
    wanted = builders.a_store(builders.a_gateway(**gateway)).spec.gateways[0]
    return jobs.JobRuntime.of(builders.MEANS.image, wanted, workload, None)


def _with_context(name: str = "gateway", **context: Any) -> dict[str, Any]:
    return workloads.a_container(name, securityContext=context)


SIDECAR = _with_context("sidecar", runAsUser=7)


@pytest.mark.parametrize(
    ("runtime", "user", "group", "supplemental"),
    [
        pytest.param(_runtime({}), 1000, 1000, (), id="nothing is said"),
        pytest.param(_runtime({}, runAsUser=2000), 2000, 2000, (), id="the spec's word"),
        pytest.param(_runtime({"runAsUser": 3000}, runAsUser=2000), 3000, 3000, (), id="the pod's word before it"),
        pytest.param(_runtime({"runAsUser": 3000, "runAsGroup": 3001}), 3000, 3001, (), id="the pod's group"),
        pytest.param(
            _runtime({"runAsUser": 3000}, _with_context(runAsUser=4000)), 4000, 4000, (), id="its container's"
        ),
        pytest.param(
            _runtime({}, SIDECAR, _with_context(runAsUser=4000), container="gateway"), 4000, 4000, (), id="of two"
        ),
        pytest.param(_runtime({"supplementalGroups": [9, 8]}), 1000, 1000, (8, 9), id="supplemental groups"),
        pytest.param(_runtime({"fsGroup": 8, "supplementalGroups": [9, 8]}), 1000, 1000, (8, 9), id="fsGroup is one"),
        pytest.param(_runtime({"runAsUser": 0}), 1000, 1000, (), id="never root"),
    ],
)
def test_it_runs_as_its_gateway_does(
    runtime: jobs.JobRuntime, user: int, group: int, supplemental: tuple[int, ...]
) -> None:
    context = _pod(_plan(runtime=runtime))["securityContext"]

    assert (context["runAsUser"], context["runAsGroup"]) == (user, group)
    assert tuple(context["supplementalGroups"]) == supplemental


def test_it_runs_where_the_volume_was_seen_and_anywhere_else_where_it_was_not() -> None:
    (term,) = _pod(_plan())["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]

    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [builders.NODE]}]}
    assert "affinity" not in _pod(_plan(runtime=replace(RUNTIME, node=None)))


# -- its name ---------------------------------------------------------------------------------


def test_the_same_template_is_the_same_job() -> None:
    assert _copy() == _copy()


OTHER_STORE = builders.a_store(builders.a_gateway(), name="another", migration=builders.a_migration("Run"))
OTHER_VOLUME = builders.a_store(builders.a_gateway(), migration=builders.a_migration("Run", claim="another"))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(_plan(), id="a plan"),
        pytest.param(_copy(attempt=2), id="another attempt"),
        pytest.param(_copy(runtime=replace(RUNTIME, node="node-2")), id="another node"),
        pytest.param(_copy(runtime=replace(RUNTIME, image=jobs.JobImage("operator:2", "Always"))), id="another image"),
        pytest.param(_copy(OTHER_STORE), id="another store"),
        pytest.param(_copy(OTHER_VOLUME), id="another volume"),
    ],
)
def test_another_template_is_another_job(other: dict[str, Any]) -> None:
    assert other["metadata"]["name"] != _copy()["metadata"]["name"]


def test_a_store_made_anew_does_not_take_over_the_jobs_of_the_earlier_one() -> None:
    anew = STORE.model_copy(update={"metadata": STORE.metadata.model_copy(update={"uid": "another"})})

    assert _copy(anew)["metadata"]["name"] != _copy()["metadata"]["name"]


@pytest.mark.parametrize("length", [1, 22, 23, 40])
def test_a_name_is_a_label_value_and_its_parts_can_be_read(length: int) -> None:
    store = builders.a_store(name="s" * length, migration=builders.a_migration(source="v" * length))

    name = _plan(store)["metadata"]["name"]

    assert re.fullmatch(r"s+-migrate-v+-[0-9a-f]{8}", name)
    assert len(name) <= 63


def test_names_that_begin_alike_are_not_confused() -> None:
    names = {
        _plan(builders.a_store(name="s" * n, migration=builders.a_migration()))["metadata"]["name"] for n in (23, 24)
    }

    assert len(names) == 2


@BOTH
def test_a_job_and_its_pod_say_whose_they_are(job: dict[str, Any]) -> None:
    labels = job["metadata"]["labels"]

    assert labels["sessionstore.dev/store"] == "chat"
    assert labels[jobs.SOURCE_LABEL] == "old-home"
    assert job["spec"]["template"]["metadata"]["labels"] == labels
