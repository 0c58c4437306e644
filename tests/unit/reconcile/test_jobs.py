"""The migration Jobs: as whom and where they run, what they may touch, and when one is another."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import click
import pytest

from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.cli import main
from sessionstore.gateways import binding
from sessionstore.reconcile.store import job_pods, jobs
from tests import builders
from tests.unit.gateways import workloads

STORE = builders.a_store(builders.a_gateway(), migration=builders.a_migration("Run"))
RUNTIME = job_pods.JobRuntime.of(builders.MEANS.image, STORE.spec.gateways[0], builders.a_workload(), builders.NODE)


def _source(store: api.SessionStore) -> api.MigrationSource:
    assert store.spec.migration is not None
    return store.spec.migration.sources[0]


def _plan(store: api.SessionStore = STORE, runtime: job_pods.JobRuntime = RUNTIME) -> dict[str, Any]:
    return jobs.plan_job(store, _source(store), runtime)


def _copy(store: api.SessionStore = STORE, runtime: job_pods.JobRuntime = RUNTIME, attempt: int = 1) -> dict[str, Any]:
    return jobs.copy_job(store, _source(store), runtime, attempt)


def _pod(job: dict[str, Any]) -> dict[str, Any]:
    return dict(job["spec"]["template"]["spec"])


def _container(job: dict[str, Any]) -> dict[str, Any]:
    (found,) = _pod(job)["containers"]
    return dict(found)


def _export(
    store: api.SessionStore = STORE, runtime: job_pods.JobRuntime = RUNTIME, attempt: int = 0
) -> dict[str, Any]:
    return jobs.export_job(store, _source(store), runtime, attempt)


READING = {
    "plan": _plan(),
    "precopy": jobs.precopy_job(STORE, _source(STORE), RUNTIME, 1),
    "copy": _copy(),
    "delta": jobs.delta_job(STORE, _source(STORE), RUNTIME, 1),
}
ALL = {**READING, "export": _export(), "finalize": jobs.finalize_job(STORE, _source(STORE), RUNTIME)}
READERS = pytest.mark.parametrize("job", [pytest.param(job, id=name) for name, job in READING.items()])
EACH = pytest.mark.parametrize("job", [pytest.param(job, id=name) for name, job in ALL.items()])


# -- what it may touch ------------------------------------------------------------------------


@EACH
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


@READERS
def test_it_writes_to_nothing_but_its_own_temporary_files(job: dict[str, Any]) -> None:
    mounts = {mount["name"]: mount for mount in _container(job)["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in _pod(job)["volumes"]}

    assert volumes["source"]["persistentVolumeClaim"] == {"claimName": builders.CLAIM}
    assert {name for name, mount in mounts.items() if not mount.get("readOnly")} == {"scratch"}
    assert volumes["scratch"]["emptyDir"] == {"sizeLimit": "10Gi"}
    assert _container(job)["securityContext"]["readOnlyRootFilesystem"] is True
    assert "fsGroup" not in _pod(job)["securityContext"]


@EACH
def test_it_has_no_api_token_and_no_password_where_others_could_read_it(job: dict[str, Any]) -> None:
    assert _pod(job)["automountServiceAccountToken"] is False
    assert _pod(job)["enableServiceLinks"] is False
    assert "password" not in json.dumps(job)
    (secret,) = (volume["secret"] for volume in _pod(job)["volumes"] if "secret" in volume)
    assert secret["secretName"] == "chat-migration-binding"


@EACH
def test_it_is_not_repeated_by_kubernetes(job: dict[str, Any]) -> None:
    assert job["spec"]["backoffLimit"] == 0
    assert _pod(job)["restartPolicy"] == "Never"


def test_an_export_is_the_only_one_that_writes_to_the_volume() -> None:
    mounts = {name: {m["name"]: m for m in _container(job)["volumeMounts"]} for name, job in ALL.items()}

    assert {name for name, found in mounts.items() if not found.get("source", {"readOnly": True}).get("readOnly")} == {
        "export"
    }
    assert "fsGroup" not in _pod(_export())["securityContext"]
    assert "--owner=1000:1000" in _container(_export())["args"]


def test_finalize_has_no_volume_and_runs_anywhere() -> None:
    assert not any("persistentVolumeClaim" in volume for volume in _pod(ALL["finalize"])["volumes"])
    assert "affinity" not in _pod(ALL["finalize"])


@pytest.mark.parametrize(
    ("purpose", "flag"), [("plan", "--dry-run"), ("precopy", "--live"), ("delta", None), ("copy", None)]
)
def test_how_a_source_is_read_is_said_by_a_flag(purpose: str, flag: str | None) -> None:
    flags = {"--dry-run", "--live"} & set(_container(ALL[purpose])["args"])

    assert flags == ({flag} if flag else set())


@pytest.mark.parametrize("purpose", ["copy", "export"])
def test_what_runs_behind_a_fence_does_not_outlive_it(purpose: str) -> None:
    assert ALL[purpose]["spec"]["activeDeadlineSeconds"] == 900


@pytest.mark.parametrize("purpose", ["plan", "precopy", "finalize"])
def test_what_runs_beside_a_gateway_may_take_its_time(purpose: str) -> None:
    assert "activeDeadlineSeconds" not in ALL[purpose]["spec"]


@pytest.mark.parametrize("place", ["/home/node/.openclaw", None])
def test_it_is_told_where_the_gateway_sees_the_source(place: str | None) -> None:
    runtime = replace(RUNTIME, place=place)
    for job in (_plan(runtime=runtime), _copy(runtime=runtime), _export(runtime=runtime)):
        told = [argument for argument in _container(job)["args"] if argument.startswith("--state-dir")]
        assert told == ([f"--state-dir={place}"] if place else [])


@pytest.mark.parametrize("volume", ["uid-1", "uid-2"])
def test_a_claim_that_is_made_anew_under_its_name_is_another_source(volume: str) -> None:
    runtime = replace(RUNTIME, volume=volume)
    for job in (_plan(runtime=runtime), _copy(runtime=runtime)):
        assert f"--origin={volume}" in _container(job)["args"]


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
    runtime = job_pods.JobRuntime.of(builders.MEANS.image, store.spec.gateways[0], None, None)

    variable = next(v for v in _container(_plan(store, runtime))["env"] if v["name"] == "SESSION_STORAGE_CONFIG")

    assert variable["value"] == f"{binding.MOUNT_PATH}/{file}"
    secrets = binding.make_binding_secrets(store, builders.MEANS.engine, builders.passwords_of(store))
    (mounted,) = (made for made in secrets if made["metadata"]["name"] == "chat-migration-binding")
    assert file in mounted["data"]


# -- as whom, and where -----------------------------------------------------------------------


def _runtime(pod: dict[str, Any], *containers: dict[str, Any], **gateway: Any) -> job_pods.JobRuntime:
    workload = workloads.a_workload(*containers)
    workload["spec"]["template"]["spec"]["securityContext"] = pod
    wanted = builders.a_store(builders.a_gateway(**gateway)).spec.gateways[0]
    return job_pods.JobRuntime.of(builders.MEANS.image, wanted, workload, None)


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
    runtime: job_pods.JobRuntime, user: int, group: int, supplemental: tuple[int, ...]
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
        pytest.param(
            _copy(runtime=replace(RUNTIME, image=job_pods.JobImage("operator:2", "Always"))), id="another image"
        ),
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


@EACH
def test_a_job_and_its_pod_say_whose_they_are(job: dict[str, Any]) -> None:
    labels = job["metadata"]["labels"]

    assert labels["sessionstore.dev/store"] == "chat"
    assert labels[jobs.SOURCE_LABEL] == "old-home"
    assert job["spec"]["template"]["metadata"]["labels"] == labels


@EACH
def test_the_program_takes_its_arguments(job: dict[str, Any]) -> None:
    name, *rest = _container(job)["args"]
    program = click.Context(main.main)
    command = main.main.get_command(program, name)

    assert command is not None
    with command.make_context(name, rest, parent=program) as parsed:
        assert parsed.params["termination_log"] is not None
