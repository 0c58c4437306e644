"""What is checked in is what the code makes. `make lint` says so too; this says it to whoever runs tests alone."""

from __future__ import annotations

import pathlib
import re
import subprocess

import pytest

from sessionstore.apis import crd, reference
from tests.docs import library_reference

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("path", ["crds/sessionstores.yaml", "charts/sessionstore/files/sessionstores.yaml"])
def test_the_crd_is_what_the_models_make(path: str) -> None:
    assert (ROOT / path).read_text() == crd.to_yaml(crd.session_stores()), "run `make crds`"


def test_the_reference_page_is_what_the_models_make() -> None:
    assert (ROOT / "docs/reference/sessionstore.md").read_text() == reference.to_markdown(), "run `make crds`"


def test_the_library_s_page_is_what_its_docstrings_make() -> None:
    assert library_reference.PAGE.read_text() == library_reference.page(), "run `make reference`"


def test_each_name_of_the_library_says_what_it_is() -> None:
    sections = re.split(r"^#{3,4} `", library_reference.page(), flags=re.MULTILINE)[1:]
    silent = [name for name, _, text in (section.partition("`") for section in sections) if not _prose(text)]
    assert (len(sections) > 50, silent) == (True, [])


def _prose(text: str) -> str:
    """What is left of a section without its code, headings and tables."""
    return re.sub(r"```.*?```|^[#|].*?$", "", text, flags=re.DOTALL | re.MULTILINE).strip()


def test_the_install_manifest_is_what_the_chart_makes(helm: pathlib.Path) -> None:
    command = [str(ROOT / "charts" / "render.sh"), "--check", str(helm)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout + result.stderr


def test_drift_of_the_install_manifest_is_noticed(helm: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for name in ("charts", "manifests"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(tmp_path / name)], check=True)
    values = tmp_path / "charts" / "sessionstore" / "values.yaml"
    values.write_text(values.read_text().replace("replicas: 2", "replicas: 3"))

    command = [str(tmp_path / "charts" / "render.sh"), "--check", str(helm)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode == 1
    assert "run `make manifests`" in result.stderr
