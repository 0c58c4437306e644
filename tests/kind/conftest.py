"""The fixtures of the tests on a real cluster: one cluster a run, one namespace a test.

`--keep-cluster` (pytest-kind's) leaves a cluster that this run made, so that the next run starts at once; a cluster
that was there before is never deleted.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Generator, Iterator

import pytest

from tests.cluster import chart
from tests.cluster import cluster as clusters

from . import stores


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[clusters.Cluster]:
    """A healthy kind cluster. `cluster.kubectl`, `cluster.helm` and `cluster.provide(images.REDIS)` are its handles."""
    with _seen(request):
        running = clusters.up()
    yield running
    if running.created and not request.config.getoption("keep_cluster"):
        with _seen(request):
            clusters.down(running.name)


@pytest.fixture(scope="session")
def operator_chart(request: pytest.FixtureRequest, cluster: clusters.Cluster) -> chart.Release:
    """The operator, installed from the chart with this tree's images, and ready; all our images are in the cluster."""
    with _seen(request):
        return chart.install(cluster)


@pytest.fixture
def namespace(request: pytest.FixtureRequest, cluster: clusters.Cluster) -> Iterator[str]:
    """A namespace of the test's own, under the restricted pod security profile; nobody waits for its deletion."""
    readable = re.sub("[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:40].strip("-")
    name = f"{readable}-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


@pytest.fixture
def scene(cluster: clusters.Cluster, operator_chart: chart.Release, namespace: str) -> stores.Scene:
    """A namespace of the test's own, with the operator at work."""
    return stores.Scene(cluster, namespace)


@pytest.fixture
def on_files(scene: stores.Scene) -> stores.Scene:
    """A gateway of one replica on a volume with real OpenClaw files."""
    scene.apply(stores.a_claim())
    scene.fill("openclaw-home-pvc")
    scene.apply(stores.a_gateway())
    scene.wait_gateways(1)
    return scene


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show a failed test's namespace as it was at that moment, before the fixture deletes it."""
    report = yield
    arguments = getattr(item, "funcargs", {})
    if report.when == "call" and report.failed and {"cluster", "namespace"} <= arguments.keys():
        name = arguments["namespace"]
        report.sections.append((f"namespace {name}", arguments["cluster"].kubectl.diagnose(name)))
    return report


@contextlib.contextmanager
def _seen(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let progress through pytest's capture: minutes of silence look like a hang."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
        yield
