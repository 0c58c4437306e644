"""The main line on a real cluster: real OpenClaw files on one pod's volume become sessions that all pods share.

And what may go wrong on the way: each ends as a condition that a person can act on, with the gateway as it was.
"""

from __future__ import annotations

import io
import itertools
import json
import pathlib
import tarfile
from typing import Any

from . import stores

MIGRATED_KEY = "agent:main:telegram:direct:123456789"


def _cli(scene: stores.Scene, pod: str, *arguments: str) -> str:
    return scene.in_pod(pod, "sessionstore", *arguments)


def _sessions(scene: stores.Scene, pod: str) -> dict[str, dict[str, Any]]:
    rows = [json.loads(line) for line in _cli(scene, pod, "list", "--json").splitlines()]
    return {row["key"]: row for row in rows}


def _fixture_lines() -> dict[str, list[bytes]]:
    """Read `session key -> raw lines` from the archive itself, independently of our readers."""
    found: dict[str, list[bytes]] = {}
    with tarfile.open(stores.FIXTURE) as archive:
        files = {
            pathlib.PurePosixPath(m.name): (archive.extractfile(m) or io.BytesIO()).read()
            for m in archive
            if m.isfile()
        }
    for path, content in files.items():
        if path.name != "sessions.json":
            continue
        for key, entry in json.loads(content).items():
            transcript = path.parent / pathlib.PurePosixPath(entry["sessionFile"]).name
            found[key] = files[transcript].splitlines()
    return found


def test_sessions_of_one_volume_are_shared_by_three_pods_and_outlive_them(on_files: stores.Scene) -> None:
    scene = on_files
    pod = scene.wait_gateways(1)[0]
    before = scene.turn(pod, MIGRATED_KEY, "before the change")
    assert before["backend"] == "file"

    scene.apply(stores.a_bound_store())
    scene.wait_ready(deadline_s=240)

    report = scene.migration()
    assert (report["phase"], report["sessions"], report["archives"]) == ("Migrated", 11, 3)
    assert report["lines"] == 26 + before["added"]
    assert report["preCopied"] == 11, "all were copied while the gateway ran"
    assert report["migrated"] + report["present"] == 11 and report["quarantined"] == 0
    assert report["pauseSeconds"] > report["copySeconds"] > 0
    assert len(report["digest"]) == 64
    assert scene.get("deployment", "openclaw")["spec"]["replicas"] == 1
    assert "sessionstore.dev/fence" not in scene.get("deployment", "openclaw")["metadata"].get("annotations", {})

    scene.kubectl("scale", "deployment/openclaw", "--replicas=3")
    pods = scene.wait_gateways(3)
    answers = [scene.turn(name, MIGRATED_KEY, f"through pod {n}") for n, name in enumerate(pods)]
    assert {answer["backend"] for answer in answers} == {"redis"}
    assert {answer["pod"] for answer in answers} == set(pods)
    # Each answer saw all that was said before, through whichever pod.
    seen = [before["lines"], *(answer["lines"] for answer in answers)]
    assert all(later > earlier for earlier, later in itertools.pairwise(seen))

    scene.kill_store_and(*pods)
    scene.wait(lambda: not set(scene.gateway_pods()) & set(pods), "the old pods to go")
    pods = scene.wait_gateways(3)
    scene.wait_served(pods[0])
    last = scene.turn(pods[0], MIGRATED_KEY, "after the storm")
    assert last["lines"] == seen[-1] + last["added"]

    sessions = _sessions(scene, pods[0])
    assert len(sessions) == 11
    for key, lines in _fixture_lines().items():
        raw = scene.in_pod(pods[0], "sessionstore", "transcript", key, "--raw").encode()
        assert raw.splitlines()[: len(lines)] == lines, key


def test_the_source_is_never_written(on_files: stores.Scene) -> None:
    scene = on_files
    pod = scene.wait_gateways(1)[0]
    before = scene.tree_hash(pod)

    scene.apply(stores.a_bound_store())
    scene.wait_ready(deadline_s=240)

    assert scene.tree_hash(scene.wait_gateways(1)[0]) == before


def test_plan_reports_and_changes_nothing(on_files: stores.Scene) -> None:
    scene = on_files
    before = scene.get("deployment", "openclaw")["metadata"]["resourceVersion"]

    scene.apply(stores.a_bound_store(mode="Plan"))

    found = scene.wait_condition("Migrated", "Planned")
    assert "11 sessions" in found["message"]
    report = scene.migration()
    assert (report["phase"], report["sessions"], report["lines"], report["archives"]) == ("Planned", 11, 26, 3)
    assert scene.condition("Injected")["reason"] == "AwaitingMigration"
    deployment = scene.get("deployment", "openclaw")
    assert deployment["metadata"]["resourceVersion"] == before or deployment["metadata"]["generation"] == 1
    assert scene.wait_gateways(1)


def test_a_missing_claim_is_said_and_heals(scene: stores.Scene) -> None:
    scene.apply(stores.a_gateway(claim=None), stores.a_bound_store())
    found = scene.wait_condition("Migrated", "SourceNotFound")
    assert "'openclaw-home-pvc'" in found["message"]

    scene.apply(stores.a_claim())
    scene.fill("openclaw-home-pvc")

    scene.wait_ready(deadline_s=240)
    assert scene.migration()["sessions"] == 11


def test_a_wrong_path_is_said_before_anything_is_fenced_and_heals(on_files: stores.Scene) -> None:
    scene = on_files
    wrong = [{"name": "old-home", "persistentVolumeClaim": "openclaw-home-pvc", "path": "/no/such/place"}]
    scene.apply(stores.a_bound_store(migration={"mode": "Run", "sources": wrong}))

    found = scene.wait_condition("Migrated", "PathNotFound")
    assert "/no/such/place" in found["message"]
    assert scene.get("deployment", "openclaw")["spec"]["replicas"] == 1

    scene.apply(stores.a_bound_store())
    scene.wait_ready(deadline_s=240)


def test_a_job_that_cannot_be_scheduled_passes_on_the_schedulers_words_and_heals(on_files: stores.Scene) -> None:
    scene = on_files
    # No room on the only node: a quota on the Job's memory would be another message; a full node is this one.
    node = scene.cluster.kubectl.json("get", "nodes")["items"][0]["metadata"]["name"]
    scene.apply(stores.a_store())
    scene.wait_ready()
    scene.cluster.kubectl("cordon", node)
    try:
        scene.apply(stores.a_bound_store())
        found = scene.wait_condition("Migrated", "JobUnschedulable")
        assert "unschedulable" in found["message"]
        assert scene.get("deployment", "openclaw")["spec"]["replicas"] == 1
    finally:
        scene.cluster.kubectl("uncordon", node)
    scene.wait_ready(deadline_s=240)


def test_what_someone_else_owns_is_reported_and_nothing_is_fenced(on_files: stores.Scene) -> None:
    scene = on_files
    env = [{"name": "SESSION_STORAGE_CONFIG", "value": "/mine.yaml"}]
    container = {"name": "gateway", "env": env}
    theirs = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "openclaw"},
        "spec": {
            "selector": {"matchLabels": {"app": "openclaw"}},
            "template": {"metadata": {"labels": {"app": "openclaw"}}, "spec": {"containers": [container]}},
        },
    }
    scene.apply(theirs, server_side=True)
    generation = scene.get("deployment", "openclaw")["metadata"]["generation"]

    scene.apply(stores.a_bound_store())

    found = scene.wait_condition("Injected", "FieldConflict")
    assert "sessionstore-tests" in found["message"]
    scene.wait_condition("Migrated", "Planned")
    after = scene.get("deployment", "openclaw")
    assert (after["metadata"]["generation"], after["spec"]["replicas"]) == (generation, 1)


def test_a_store_deleted_in_mid_migration_gives_the_gateway_back(on_files: stores.Scene) -> None:
    scene = on_files
    template = scene.get("deployment", "openclaw")["spec"]["template"]
    scene.apply(stores.a_bound_store())
    scene.wait(
        lambda: "sessionstore.dev/fence" in scene.get("deployment", "openclaw")["metadata"].get("annotations", {}),
        "the gateway to be fenced",
    )

    scene.kubectl("delete", "sst", "chat")

    scene.wait(lambda: scene.get("deployment", "openclaw")["spec"]["replicas"] == 1, "the gateway to be scaled back")
    scene.wait(
        lambda: "sessionstore.dev/fence" not in scene.get("deployment", "openclaw")["metadata"].get("annotations", {}),
        "the mark to be taken away",
    )
    scene.wait(lambda: scene.get("deployment", "openclaw")["spec"]["template"] == template, "the template as it was")
    pod = scene.wait_gateways(1)[0]
    assert scene.turn(pod, MIGRATED_KEY, "still here")["backend"] == "file"


def test_a_fence_that_cannot_be_kept_is_given_up_and_the_gateway_is_as_it_was(on_files: stores.Scene) -> None:
    scene = on_files
    # Someone else's pod on the claim, which no scaling ends.
    scene.apply(stores.filler("openclaw-home-pvc"))
    scene.kubectl("wait", "pod/filler", "--for=condition=Ready", "--timeout=60s")
    migration = stores.a_bound_store()["spec"]["migration"]
    scene.apply(stores.a_bound_store(migration={**migration, "fenceTimeout": "10s"}))

    found = scene.wait_condition("Migrated", "FenceTimeout")
    assert "filler" in found["message"]
    pod = scene.wait_gateways(1)[0]
    assert scene.turn(pod, MIGRATED_KEY, "on files as before")["backend"] == "file"

    scene.kubectl("delete", "pod", "filler", "--grace-period=0", "--force")
    # Time for the copy as well, now that it can be made: a busy machine takes more than 10 s to end and start pods.
    scene.patch("sst", "chat", {"spec": {"migration": {"fenceTimeout": "5m"}}})
    scene.kubectl("annotate", "sst", "chat", "sessionstore.dev/retry=1")
    scene.wait_ready(deadline_s=240)


def test_a_gateway_found_on_its_files_after_the_cutover_is_brought_back_with_what_it_wrote(
    on_files: stores.Scene,
) -> None:
    scene = on_files
    scene.apply(stores.a_bound_store())
    scene.wait_ready(deadline_s=240)

    # `kubectl replace` strips what others added; the pod that follows reads and writes its own volume again.
    scene.patch("sst", "chat", {"spec": {"suspend": True}})
    scene.wait_condition("Ready", "Suspended")
    old = scene.wait_gateways(1)[0]
    scene.kubectl("replace", "-f", "-", input=json.dumps(stores.a_gateway()))
    scene.wait(lambda: scene.gateway_pods() not in ([], [old]), "a pod without our parts")
    pod = scene.wait_gateways(1)[0]
    assert scene.turn(pod, "agent:main:stray", "written to files")["backend"] == "file"
    scene.patch("sst", "chat", {"spec": {"suspend": False}})

    def brought_back() -> bool:
        pods = scene.gateway_pods()
        return len(pods) == 1 and pods != [pod] and "agent:main:stray" in _sessions(scene, pods[0])

    scene.wait(brought_back, "what was written to files to be in the store")
    scene.wait_ready()
    events = scene.kubectl("get", "events", "--field-selector", "reason=GatewayOnFiles")
    assert pod in events
    assert len(_sessions(scene, scene.wait_gateways(1)[0])) == 12


def test_bad_input_is_set_aside_counted_and_does_not_stop_the_rest(scene: stores.Scene, tmp_path: pathlib.Path) -> None:
    archive = _with_bad_input(tmp_path)
    scene.apply(stores.a_claim())
    scene.fill("openclaw-home-pvc", archive)
    scene.apply(stores.a_gateway())
    scene.wait_gateways(1)

    scene.apply(stores.a_bound_store())
    scene.wait_ready(deadline_s=240)

    report = scene.migration()
    assert report["quarantined"] >= 1
    assert report["problems"] >= 3
    assert report["migrated"] + report["present"] >= 11


def _with_bad_input(tmp_path: pathlib.Path) -> pathlib.Path:
    """The real fixture, with an entry without sessionId, a missing transcript and a torn last line added."""
    root = tmp_path / "state"
    with tarfile.open(stores.FIXTURE) as archive:
        archive.extractall(root, filter="data")
    sessions = root / "agents" / "main" / "sessions"
    entries = json.loads((sessions / "sessions.json").read_text())
    entries["agent:main:no-session-id"] = {"updatedAt": 1}
    entries["agent:main:no-transcript"] = {"sessionId": "00000000-0000-4000-8000-000000000001", "updatedAt": 2}
    entries["agent:main:torn"] = {"sessionId": "00000000-0000-4000-8000-000000000002", "updatedAt": 3}
    (sessions / "sessions.json").write_text(json.dumps(entries, indent=2))
    (sessions / "00000000-0000-4000-8000-000000000002.jsonl").write_bytes(b'{"type":"session"}\n{"type":"mess')
    target = tmp_path / "state.tar.gz"
    with tarfile.open(target, "w:gz") as archive:
        archive.add(root, arcname=".")
    return target
