"""There and back on a real cluster, by editing the SessionStore alone, while a gateway goes on talking."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cluster import command

from . import stores

KEY = "agent:main:telegram:direct:123456789"
NEW = "agent:main:begun-after-the-cutover"
SESSIONS = f"{stores.STATE_DIR}/agents/main/sessions"


def _wish(scene: stores.Scene, mode: str) -> None:
    scene.patch("sst", "chat", {"spec": {"migration": {"mode": mode}}})


def _events(scene: stores.Scene) -> list[str]:
    """The reasons of the store's events, in the order in which they happened first."""
    found = [event for event in scene.list("events") if event["involvedObject"]["kind"] == "SessionStore"]
    return [event["reason"] for event in sorted(found, key=lambda event: str(event["firstTimestamp"]))]


def _is_back_on(scene: stores.Scene, backend: str, text: str, lines: int) -> dict[str, Any]:
    """One pod, no fence, and a conversation that has all lines so far."""
    (pod,) = scene.wait_gateways(1)
    workload = scene.get("deployment", "openclaw")
    assert workload["spec"]["replicas"] == 1
    assert "sessionstore.dev/fence" not in workload["metadata"].get("annotations", {})
    answer = scene.turn(pod, KEY, text)
    assert (answer["backend"], answer["lines"]) == (backend, lines + answer["added"])
    return answer


def test_there_and_back_again_by_editing_the_mode_alone(on_files: stores.Scene) -> None:
    scene = on_files
    (pod,) = scene.wait_gateways(1)
    said = scene.turn(pod, KEY, "before all")
    source = scene.tree_hash(pod)

    scene.apply(stores.a_bound_store(mode="Plan"))
    scene.wait_condition("Migrated", "Planned")
    report = scene.wait(lambda: scene.get("configmap", "chat-migration-old-home"), "the report's ConfigMap")
    assert json.loads(report["data"]["summary.json"])["sessions"] == 11
    assert scene.gateway_pods() == [pod] and scene.tree_hash(pod) == source

    _wish(scene, "Run")
    scene.wait_ready(deadline_s=240)
    there = scene.migration()
    assert there["preCopied"] == 11, "all were copied while the gateway ran"
    (pod,) = scene.wait_gateways(1)
    assert scene.tree_hash(pod) == source
    said = _is_back_on(scene, "redis", "on the store", said["lines"])
    scene.turn(pod, NEW, "a conversation that no file has")

    # The gateway's own user takes its right to write away: the export cannot make room beside the old files.
    scene.in_pod(pod, "chmod", "-R", "a-w", f"{stores.STATE_DIR}/agents")
    _wish(scene, "Rollback")
    told = "Permission denied", "on the store as before"
    scene.wait(lambda: all(words in scene.condition("Migrated")["message"] for words in told), "the export to fail")
    said = _is_back_on(scene, "redis", "the export failed, nothing was lost", said["lines"])

    (pod,) = scene.wait_gateways(1)
    scene.in_pod(pod, "chmod", "-R", "u+w", f"{stores.STATE_DIR}/agents")
    scene.kubectl("annotate", "sst", "chat", "sessionstore.dev/retry=1")
    scene.wait_condition("Migrated", "RolledBack", deadline_s=180)
    back = scene.migration()
    assert scene.condition("Injected")["reason"] == "RolledBack"
    said = _is_back_on(scene, "file", "on the files, with all that was said", said["lines"])
    (pod,) = scene.wait_gateways(1)
    assert "a conversation that no file has" in json.dumps(scene.call(pod, "GET", f"/v1/sessions/{NEW}"))
    assert "sessions.before-" in scene.in_pod(pod, "ls", f"{stores.STATE_DIR}/agents/main")
    assert scene.in_pod(pod, "stat", "-c", "%u:%g %a", f"{SESSIONS}/sessions.json").strip() == "1000:1000 600"

    _wish(scene, "Run")
    scene.wait_ready(deadline_s=240)
    _is_back_on(scene, "redis", "on the store again", said["lines"])

    print(f"\nthe gateway paused for {there['pauseSeconds']} s there (the copy: {there['copySeconds']} s)", end="")
    print(f", {back['pauseSeconds']} s back, {scene.migration()['pauseSeconds']} s there again")
    told = _events(scene)
    assert told.index("Planned") < told.index("PreCopied") < told.index("Fenced") < told.index("CutOver")
    assert {"Copied", "RollingBack", "RolledBack"} <= set(told)


def test_there_is_no_way_back_once_a_migration_is_finalized(on_files: stores.Scene) -> None:
    scene = on_files
    source = scene.tree_hash(scene.wait_gateways(1)[0])
    scene.apply(stores.a_bound_store())
    scene.wait_ready(deadline_s=240)

    _wish(scene, "Finalize")
    scene.wait_condition("Migrated", "Finalized")
    assert scene.migration()["phase"] == "Finalized"
    (pod,) = scene.wait_gateways(1)
    assert scene.tree_hash(pod) == source, "the volume is nobody's business but the user's"

    with pytest.raises(command.CommandError) as refused:
        _wish(scene, "Rollback")
    assert "drops what a way back needs" in refused.value.stderr
    _wish(scene, "Run")
    _wish(scene, "Rollback")
    found = scene.wait_condition("Migrated", "RollbackRefused")
    assert "sessionstore export" in found["message"]
    assert scene.gateway_pods() == [pod], "nothing was touched"
    assert scene.turn(pod, KEY, "on the store as before")["backend"] == "redis"
