"""`sessionstore crds`: prints, writes, and tells drift by its exit status."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from click.testing import CliRunner, Result

from sessionstore.apis import crd, reference
from sessionstore.cli import crds


def run(*arguments: str) -> Result:
    return CliRunner().invoke(crds.crds_command, arguments)


def test_it_prints_one_definition_that_reads_back_as_it_was() -> None:
    result = run()

    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout) == crd.session_stores()


def test_it_prints_the_reference_page() -> None:
    assert run("--docs").stdout == reference.to_markdown()


@pytest.mark.parametrize("kind", [(), ("--docs",)], ids=["CRD", "docs"])
def test_what_it_writes_has_not_drifted(kind: tuple[str, ...], tmp_path: pathlib.Path) -> None:
    assert run(*kind, "-o", str(tmp_path / "new")).exit_code == 0
    (written,) = (tmp_path / "new").iterdir()

    result = run(*kind, "--check", str(written))

    assert (result.exit_code, result.output) == (0, "")


def test_drift_is_shown_and_fails(tmp_path: pathlib.Path) -> None:
    stale = tmp_path / "stale.yaml"
    stale.write_text(run().stdout.replace("shortNames", "longNames"))
    missing = tmp_path / "missing.yaml"

    result = run("--check", str(stale), str(missing))

    assert result.exit_code == 1
    assert "-    longNames:" in result.stdout and "+    shortNames:" in result.stdout
    assert f"{stale}, {missing}: not what `sessionstore crds` prints" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--check"], "--check needs at least one file", id="nothing to check"),
        pytest.param(["some.yaml"], "FILES are for --check", id="a file without --check"),
    ],
)
def test_wrong_use_says_what_is_right(arguments: list[str], message: str) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert message in result.stderr
