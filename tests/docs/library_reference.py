"""From the docstrings of `sessionstore.sessions` to its reference page, docs/reference/library.md.

    python -m tests.docs.library_reference            writes the page (`make reference`)
    python -m tests.docs.library_reference --check    compares; exit status 1 where it differs (`make drift`)

It reads sources and not objects: a signature stands in the page as somebody wrote it.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import importlib
import inspect
import itertools
import pathlib
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "reference" / "library.md"
PACKAGE = "sessionstore.sessions"
MODULES = ("sessionstore.sessions.window", "sessionstore.sessions.scopes", "sessionstore.sessions.encryption")
"""What is imported by its own name, so that who does not need it need not load it."""
_HEAD = """# The session library, name by name

<!-- Made from the docstrings by `make reference`; change those instead. -->

What each name of `sessionstore.sessions` is, and of the modules that are imported by their own names.
[The library's page](../library.md) tells how they go together, [the guide](../guide.md) shows whole programs.
"""


def page() -> str:
    """Return what the page is to say."""
    text = "\n".join([_HEAD, *_package(), *(line for name in MODULES for line in _module(name))])
    return re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"


def _package() -> Iterator[str]:
    package = importlib.import_module(PACKAGE)
    names = {name: getattr(package, name) for name in sorted(package.__all__)}
    for title in _KINDS:
        yield f"## {title}\n"
        yield from _members({name: value for name, value in names.items() if _kind(value) == title})


def _module(name: str) -> Iterator[str]:
    module = importlib.import_module(name)
    yield f"## `{name}`\n"
    yield from _text(inspect.getdoc(module))
    own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == name]
    names = getattr(module, "__all__", [key for key in own if not key.startswith("_")])
    yield from _members({key: getattr(module, key) for key in names})


def _members(names: dict[str, Any]) -> Iterator[str]:
    for name, value in names.items():
        if inspect.isclass(value) or inspect.isfunction(value):
            yield from _KINDS[_kind(value)](name, value)


def _kind(value: Any) -> str:
    if not inspect.isclass(value):
        return "Functions"
    if issubclass(value, BaseException):
        return "Errors"
    return "The store" if getattr(value, "_is_protocol", False) else "Values"


def _function(name: str, value: Any) -> Iterator[str]:
    yield f"### `{name}`\n"
    yield from _signature(name, _parsed(value))
    yield from _text(inspect.getdoc(value))


def _protocol(name: str, value: type) -> Iterator[str]:
    yield f"### `{name}`\n"
    yield from _text(inspect.getdoc(value))
    for node in _parsed(value).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"#### `{name}.{node.name}`\n"
            yield from _signature(node.name, node)
            yield from _text(ast.get_docstring(node))


def _error(name: str, value: type) -> Iterator[str]:
    yield f"### `{name}`\n"
    bases = [base.__name__ for base in value.__bases__ if base is not Exception]
    if bases:
        yield f"Is a `{'` and a `'.join(bases)}`.\n"
    yield from _text(inspect.getdoc(value))


def _value(name: str, value: type) -> Iterator[str]:
    yield f"### `{name}`\n"
    yield from _text(inspect.getdoc(value))
    rows = list(_fields(value))
    if rows:
        yield "| | type | default | |\n|---|---|---|---|"
        yield from rows
        yield ""
    for node in _parsed(value).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            yield from _made(name, node) if node.name == "__init__" else _member(name, node)


def _made(name: str, node: Any) -> Iterator[str]:
    yield from _signature(name, node, begin="")
    yield from _text(ast.get_docstring(node))


def _member(name: str, node: Any) -> Iterator[str]:
    if node.name.startswith("_"):
        return
    if any(isinstance(mark, ast.Name) and mark.id == "property" for mark in node.decorator_list):
        summary = " ".join((ast.get_docstring(node) or "").split())
        yield f"- `{name}.{node.name}` (`{ast.unparse(node.returns) if node.returns else 'Any'}`): {summary}\n"
        return
    yield f"#### `{name}.{node.name}`\n"
    yield from _signature(node.name, node)
    yield from _text(ast.get_docstring(node))


def _fields(value: type) -> Iterator[str]:
    """One row for each field of a dataclass, or member of an enumeration, with the text that stands below it."""
    if not (dataclasses.is_dataclass(value) or issubclass(value, enum.Enum)):
        return
    body = _parsed(value).body
    for node, below in zip(body, [*body[1:], None], strict=True):
        text = " ".join(_literal(below).split()).replace("|", "\\|")
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            default = f"`{_plain(node.value)}`" if node.value is not None else "required"
            yield f"| `{node.target.id}` | `{_plain(node.annotation)}` | {default} | {text} |"
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield f"| `{node.targets[0].id}` | `{_plain(node.value)}` | | {text} |"


def _literal(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return ""


def _plain(node: ast.expr) -> str:
    return ast.unparse(node).replace("|", "\\|")


def _signature(name: str, node: Any, begin: str | None = None) -> Iterator[str]:
    if any(isinstance(mark, ast.Name) and mark.id == "property" for mark in node.decorator_list):
        yield f"```python\n{name}: {ast.unparse(node.returns)}\n```\n"
        return
    if begin is None:
        begin = "async def " if isinstance(node, ast.AsyncFunctionDef) else "def "
    arguments = [part for part in _split(ast.unparse(node.args)) if part not in ("self", "cls")]
    returns = f" -> {ast.unparse(node.returns)}" if node.returns and begin else ""
    line = f"{begin}{name}({', '.join(arguments)}){returns}"
    if len(line) > 110:
        line = f"{begin}{name}(\n" + "".join(f"    {part},\n" for part in arguments) + f"){returns}"
    yield f"```python\n{line}\n```\n"


def _split(arguments: str) -> Iterator[str]:
    """Split at the commas that stand in no bracket, and give `=` the room it has beside an annotation."""
    depth, part = 0, ""
    for character in arguments + ",":
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            yield re.sub(r"^(\w+: [^=]+)=", r"\1 = ", part.strip())
            part = ""
        else:
            part += character


def _text(docstring: str | None) -> Iterator[str]:
    """Turn a docstring into Markdown: its sections become lists, or a sentence where they are one."""
    parts = re.split(r"^(Args|Returns|Raises|Attributes):", inspect.cleandoc(docstring or ""), flags=re.MULTILINE)
    yield parts[0]
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        first, *lines = body.splitlines()
        own = list(itertools.takewhile(lambda line: not line or line.startswith("    "), lines))
        if first:
            yield f"\n**{title}**: {' '.join(line.strip() for line in [first, *own])}\n"
        else:
            yield f"\n**{title}**\n"
            yield from (_item(line[4:]) for line in own if line)
        yield from lines[len(own) :]
    yield ""


def _item(line: str) -> str:
    name, colon, text = line.partition(": ")
    if line.startswith("    "):
        return f"  {line.strip()}"
    return f"- `{name}`: {text}" if colon else f"- {line}"


def _parsed(value: Any) -> Any:
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(value))).body
    return node


_KINDS = {"Functions": _function, "The store": _protocol, "Values": _value, "Errors": _error}


def main(arguments: list[str]) -> int:
    text = page()
    if "--check" not in arguments:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PAGE}: not what the docstrings make; write it anew with `make reference`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
