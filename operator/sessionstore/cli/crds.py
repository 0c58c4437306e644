"""`sessionstore crds`: print the CustomResourceDefinition and its reference page, or check files against them."""

from __future__ import annotations

import difflib
import pathlib
import sys

import click

from sessionstore.apis import crd, reference

FILE_NAME = "sessionstores.yaml"
DOCS_NAME = "sessionstore.md"


@click.command("crds")
@click.option("--docs", is_flag=True, help="The reference page in Markdown, in place of the CRD.")
@click.option(
    "-o",
    "--output",
    "directory",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=pathlib.Path),
    help=f"Write DIR/{FILE_NAME} (with --docs: DIR/{DOCS_NAME}) in place of printing.",
)
@click.option(
    "--check", is_flag=True, help="Compare FILES with what would be printed; exit status 1 where one differs."
)
@click.argument("files", nargs=-1, type=click.Path(dir_okay=False, path_type=pathlib.Path))
def crds_command(docs: bool, directory: pathlib.Path | None, check: bool, files: tuple[pathlib.Path, ...]) -> None:
    """Print the CustomResourceDefinitions."""
    text = reference.to_markdown() if docs else crd.to_yaml(crd.session_stores())
    if check:
        _check(text, files, "sessionstore crds --docs" if docs else "sessionstore crds")
    elif files:
        raise click.UsageError("FILES are for --check; use -o DIR to write")
    elif directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        target = directory / (DOCS_NAME if docs else FILE_NAME)
        target.write_text(text, encoding="utf-8")
        click.echo(f"wrote {target}", err=True)
    else:
        click.echo(text, nl=False)


def _check(text: str, files: tuple[pathlib.Path, ...], command: str) -> None:
    if not files:
        raise click.UsageError("--check needs at least one file to compare")
    drifted = [path for path in files if not _is_same(path, text)]
    if drifted:
        names = ", ".join(str(path) for path in drifted)
        click.echo(f"{names}: not what `{command}` prints; write it anew with `make crds`", err=True)
        sys.exit(1)


def _is_same(path: pathlib.Path, text: str) -> bool:
    """Compare, and print the difference. A file that is not there differs."""
    found = path.read_text(encoding="utf-8") if path.is_file() else ""
    difference = difflib.unified_diff(found.splitlines(), text.splitlines(), str(path), "generated", lineterm="", n=2)
    click.echo("".join(f"{line}\n" for line in difference), nl=False)
    return path.is_file() and found == text
