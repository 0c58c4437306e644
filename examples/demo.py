"""`make demo`: the whole line on a real cluster, told one step a line, and counted at the end.

A gateway with real OpenClaw sessions on its own volume is moved to a shared store, scaled to three
replicas, and loses Redis and every pod. What is in the store after that is compared, byte for byte,
with what the archive of the files holds. Ends with status 1, and says why, if anything is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

import fixture
import rich.console
import yaml

from tests.cluster import chart, command
from tests.cluster import cluster as clusters
from tests.kind import stores

ROOT = pathlib.Path(__file__).resolve().parents[1]
GATEWAY = ROOT / "examples" / "gateway" / "manifest.yaml"
STORE = ROOT / "manifests" / "samples" / "chat.yaml"
NAMESPACE = "openclaw"
TELEGRAM = "agent:main:telegram:direct:123456789"
WAIT_S = 300.0

_ARCHIVES = """
import asyncio, json
from sessionstore.sessions import open_store
async def main():
    async with open_store() as store:
        async for found in store.list_archives():
            lines = await store.read_archive(found.agent, found.name)
            print(json.dumps([found.name, [line.decode() for line in lines]]))
asyncio.run(main())
"""

screen = rich.console.Console(highlight=False)


class Off(Exception):
    """What was found is not what must be there."""


@contextlib.contextmanager
def step(what: str) -> Iterator[list[str]]:
    """Show one step: what it is while it runs, and one line with its time and findings when it is done."""
    began, findings = time.monotonic(), []
    with screen.status(f"{what} …"):
        yield findings
    said = f": {'; '.join(findings)}" if findings else ""
    screen.print(f"[green]✓[/] {time.monotonic() - began:6.1f} s  {what}[dim]{said}[/]", soft_wrap=True)


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Off(f"{what}: found {found!r}, expected {wanted!r}")


class Demo:
    """The story. `turns` counts what was said, and `added` the lines that came of it."""

    def __init__(self, scene: stores.Scene) -> None:
        self.scene = scene
        self.archive = fixture.read()
        self.turns = 0
        self.added = 0

    def say(self, pod: str, backend: str) -> str:
        """Continue the migrated conversation through one pod; it must remember all that was said before."""
        self.turns += 1
        path = f"/v1/sessions/{urllib.parse.quote(TELEGRAM, safe='')}/turns"
        answer = self.scene.call(pod, "POST", path, {"text": f"turn {self.turns} of the demo"})
        if "error" in answer:
            raise Off(f"pod {pod} did not answer: {answer['error']}")
        self.added += answer["added"]
        expect(f"lines that pod {pod} has", answer["lines"], len(self.archive.sessions[TELEGRAM]) + self.added)
        expect(f"where pod {pod} keeps its sessions", (answer["pod"], answer["backend"]), (pod, backend))
        return str(answer["reply"])

    def prepare(self) -> None:
        with step(f"namespace {NAMESPACE}, made anew") as found:
            kubectl = self.scene.cluster.kubectl
            kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", f"--timeout={WAIT_S:g}s", timeout_s=WAIT_S)
            first = [part for part in _documents(GATEWAY) if part["kind"] in ("Namespace", "PersistentVolumeClaim")]
            self.scene.cluster.kubectl.apply(yaml.safe_dump_all(first))
        with step("volume openclaw-home-pvc filled from real OpenClaw files") as found:
            self.scene.fill("openclaw-home-pvc", fixture.ARCHIVE)
            archive = self.archive
            found.append(f"{len(archive.sessions)} sessions, {archive.lines} lines, {len(archive.archives)} archives")

    def start_on_files(self) -> None:
        with step("gateway started on that volume, one replica"):
            self.scene.cluster.kubectl.apply(GATEWAY.read_text())
            (pod,) = self.scene.wait_gateways(1)
        with step("a conversation continued there, twice") as found:
            self.say(pod, "file")
            found += [self.say(pod, "file"), f"{self.added} lines added"]

    def share(self) -> None:
        with step(f"{STORE.relative_to(ROOT)} applied, and Ready") as found:
            self.scene.cluster.kubectl.apply(STORE.read_text())
            self.scene.wait_ready(deadline_s=WAIT_S)
            report = self.scene.migration()
            found.append(
                f"the gateway paused for [bold]{report['pauseSeconds']} s[/], {report['copySeconds']} s to copy"
            )
        with step("source and store compared by the gateway's own pod") as found:
            (pod,) = self.scene.wait_gateways(1)
            # The container's root cannot be written, and a proof remembers more than should be in memory.
            verify = ("sessionstore", "verify", stores.STATE_DIR, "--scratch", "/dev/shm", "--json")  # noqa: S108
            proof = json.loads(self.scene.in_pod(pod, *verify))
            expect("mismatches", proof["mismatches"], [])
            digests = {proof["digest"], proof["storeDigest"], report["digest"]}
            expect("digests of source, store and status", len(digests), 1)
            found.append(f"digest [bold]{proof['digest']}[/]")
        counts = {name: report[name] for name in ("sessions", "lines", "archives", "preCopied", "quarantined")}
        lines = self.archive.lines + self.added
        expect("migrated", counts, {"sessions": 11, "lines": lines, "archives": 3, "preCopied": 11, "quarantined": 0})

    def scale(self) -> None:
        with step("gateway scaled to 3"):
            self.scene.kubectl("scale", "deployment/openclaw", "--replicas=3")
            pods = self.scene.wait_gateways(3)
        for pod in pods:
            with step(f"the conversation continued through {pod}") as found:
                found.append(self.say(pod, "redis"))

    def break_it(self) -> None:
        with step("Redis and all gateway pods killed, and back") as found:
            old = self.scene.gateway_pods()
            self.scene.kill_store_and(*old, how=("--now",))
            self.scene.wait(lambda: not set(self.scene.gateway_pods()) & set(old), "the old pods to go")
            pods = self.scene.wait_gateways(3)
            self.scene.wait_served(pods[0])
            found.append(f"{len(old)} + 1 pods")
        with step(f"the conversation continued through {pods[0]}") as found:
            found.append(self.say(pods[0], "redis"))

    def count(self) -> None:
        """Ask the store itself, through a pod that is bound to it, and compare with the archive's bytes."""
        pod = self.scene.gateway_pods()[0]
        with step("sessions counted in the store") as found:
            rows = [json.loads(line) for line in self.scene.in_pod(pod, "sessionstore", "list", "--json").splitlines()]
            expect("sessions in the store", {row["key"] for row in rows}, set(self.archive.sessions))
            found.append(f"[bold]{len(rows)} of {len(self.archive.sessions)} sessions[/]")
        with step("lines compared, byte for byte") as found:
            kept = sum(self._compare(pod, key, lines) for key, lines in self.archive.sessions.items())
            expect("lines in the store", kept, self.archive.lines + self.added)
            found.append(f"[bold]all {self.archive.lines} lines of the files, and all {self.added} added since[/]")
        with step("archives compared, byte for byte") as found:
            listed = self.scene.in_pod(pod, "python3", "-c", _ARCHIVES).splitlines()
            archives = {name: tuple(line.encode() for line in lines) for name, lines in map(json.loads, listed)}
            expect("archives in the store", archives, self.archive.archives)
            found.append(f"[bold]{len(archives)} archives[/]")

    def _compare(self, pod: str, key: str, lines: fixture.Lines) -> int:
        """Check that a session begins with what the files held; return how many lines it has now."""
        kept = self.scene.in_pod(pod, "sessionstore", "transcript", key, "--raw").encode().splitlines()
        expect(f"the first {len(lines)} lines of {key}", tuple(kept[: len(lines)]), lines)
        expect(f"lines of {key}", len(kept), len(lines) + (self.added if key == TELEGRAM else 0))
        return len(kept)

    def show(self) -> None:
        for arguments in (("get", "sst"), ("describe", "sst", "chat")):
            screen.print(f"\n[bold]$ kubectl {' '.join(arguments)} -n {NAMESPACE}[/]")
            print(self.scene.kubectl(*arguments), end="", flush=True)


def _documents(path: pathlib.Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def run() -> None:
    began = time.monotonic()
    with step("kind cluster"):
        cluster = clusters.up()
    with step("operator installed from charts/sessionstore"):
        chart.install(cluster)
    demo = Demo(stores.Scene(cluster, NAMESPACE))
    demo.prepare()
    demo.start_on_files()
    demo.share()
    demo.scale()
    demo.break_it()
    demo.count()
    demo.show()
    screen.print(
        f"\n[bold green]Nothing was lost.[/] {time.monotonic() - began:.0f} s in all. "
        f"Namespace {NAMESPACE} is left for you to look at; `make clean-cluster` removes everything."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    try:
        run()
    except (Off, AssertionError) as error:
        screen.print(f"[bold red]✗ {'Something is off' if isinstance(error, Off) else 'It did not come up'}[/]")
        sys.exit(f"demo: {error}")
    except (command.CommandError, subprocess.CalledProcessError) as error:
        sys.exit(f"demo: {error}")


if __name__ == "__main__":
    main()
