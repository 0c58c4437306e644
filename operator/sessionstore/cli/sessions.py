"""`list`, `get`, `put`, `delete`, `exists`, `transcript`: one session, or all of them, of any store.

`--json` is a promise to programs (docs/cli.md has an example of each); what people see may change.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import IO, Any

import click
import rich.table
import rich.text

from sessionstore.cli import output
from sessionstore.sessions import Session, SessionInfo, SessionKey, Status, Store, open_store
from sessionstore.sessions.exceptions import Conflict

TRANSCRIPT_PAGE = 1000
"""Lines read at once, so that a long transcript is printed as it comes and never held whole."""
PREVIEW_CHARACTERS = 200

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
_agent_option = click.option(
    "--agent", default=None, help="The agent it belongs to; default: KEY's agent:<id>:, or main."
)
_expected_option = click.option(
    "--expected", type=click.IntRange(min=0), default=None, help="The revision that must be current; 0: must not exist."
)


@click.command("list")
@click.option("--agent", default=None, help="Only this agent's.")
@click.option("--status", type=click.Choice([Status.ACTIVE, Status.ARCHIVED]), default=None, help="Only these.")
@click.option("--limit", type=click.IntRange(min=1), default=None, help="At most so many. Default: all.")
@_json_option
@click.pass_obj
def list_command(url: str | None, agent: str | None, status: str | None, limit: int | None, as_json: bool) -> None:
    """List sessions, newest first. With --json, one object a line."""
    output.run(_list(url, agent, Status(status) if status else None, limit, as_json))


@click.command("get")
@click.argument("key")
@_agent_option
@_json_option
@click.pass_obj
def get_command(url: str | None, key: str, agent: str | None, as_json: bool) -> None:
    """Print one session's entry. With --json, exactly as it is stored."""
    output.run(_get(url, key, agent, as_json))


@click.command("put")
@click.argument("key")
@click.argument("file", type=click.File("rb"), default="-")
@_agent_option
@_expected_option
@_json_option
@click.pass_obj
def put_command(
    url: str | None, key: str, file: IO[bytes], agent: str | None, expected: int | None, as_json: bool
) -> None:
    """Write one session's entry from FILE, or from standard input."""
    output.run(_put(url, (key, agent), file.read(), expected, as_json))


@click.command("delete")
@click.argument("key")
@_agent_option
@_expected_option
@_json_option
@click.pass_obj
def delete_command(url: str | None, key: str, agent: str | None, expected: int | None, as_json: bool) -> None:
    """Delete one session and its transcript. Exit status 1 where there is none."""
    output.run(_delete(url, key, agent, expected, as_json))


@click.command("exists")
@click.argument("key")
@_agent_option
@_json_option
@click.pass_obj
def exists_command(url: str | None, key: str, agent: str | None, as_json: bool) -> None:
    """Tell by exit status whether a session exists: 0 it does, 1 it does not."""
    output.run(_exists(url, key, agent, as_json))


@click.command("transcript")
@click.argument("key")
@_agent_option
@click.option("--raw", is_flag=True, help="The stored lines, byte for byte.")
@_json_option
@click.pass_obj
def transcript_command(url: str | None, key: str, agent: str | None, raw: bool, as_json: bool) -> None:
    """Print a session's transcript. With --json, one object a line: its number, and the line as text."""
    if raw and as_json:
        raise click.UsageError("--raw and --json are two ways to print; choose one")
    output.run(_transcript(url, key, agent, raw, as_json))


async def _list(url: str | None, agent: str | None, status: Status | None, limit: int | None, as_json: bool) -> None:
    async with open_store(url) as store:
        if as_json:
            async for info in _rows(store, agent, status, limit):
                output.json_line(_row_document(info))
            return
        found = [info async for info in _rows(store, agent, status, limit)]
    if not found:
        output.console(stderr=True).print("No sessions.")
        return
    output.console().print(_table(found))


async def _rows(
    store: Store, agent: str | None, status: Status | None, limit: int | None
) -> AsyncIterator[SessionInfo]:
    cursor: str | None = None
    left = limit
    while True:
        size = 500 if left is None else min(500, left)
        page = await store.list(agent=agent, status=status, limit=size, cursor=cursor)
        for info in page.items:
            yield info
        cursor = page.cursor
        left = None if left is None else left - len(page.items)
        if cursor is None or left == 0:
            return


async def _get(url: str | None, key: str, agent: str | None, as_json: bool) -> None:
    async with open_store(url) as store:
        session = await store.get(_name(key, agent))
    if session is None:
        output.fail(f"there is no session {_name(key, agent)}")
    if as_json:
        output.write_bytes(session.entry.raw + b"\n")
        return
    _print_session(session)


async def _put(
    url: str | None, name: tuple[str, str | None], entry: bytes, expected: int | None, as_json: bool
) -> None:
    async with open_store(url) as store:
        try:
            session = await store.set(_name(*name), entry, expected=expected)
        except Conflict as error:
            output.fail(f"{error}; read it again and decide, or leave --expected out to write over it")
    _done(as_json, {"key": session.key.key, "agent": session.key.agent, "revision": session.revision}, "written")


async def _delete(url: str | None, key: str, agent: str | None, expected: int | None, as_json: bool) -> None:
    name = _name(key, agent)
    async with open_store(url) as store:
        try:
            deleted = await store.delete(name, expected=expected)
        except Conflict as error:
            output.fail(f"{error}; read it again and decide, or leave --expected out to delete it all the same")
    if not deleted:
        output.fail(f"there is no session {name}")
    _done(as_json, {"key": name.key, "agent": name.agent, "deleted": True}, "deleted")


async def _exists(url: str | None, key: str, agent: str | None, as_json: bool) -> None:
    name = _name(key, agent)
    async with open_store(url) as store:
        exists = await store.exists(name)
    _done(as_json, {"key": name.key, "agent": name.agent, "exists": exists}, "exists" if exists else "does not exist")
    raise SystemExit(output.DONE if exists else output.FAILED)


async def _transcript(url: str | None, key: str, agent: str | None, raw: bool, as_json: bool) -> None:
    async with open_store(url) as store:
        number = 0
        async for line in _lines(store, _name(key, agent)):
            if raw:
                output.write_bytes(line + b"\n")
            elif as_json:
                output.json_line({"number": number, "line": line.decode("utf-8", "replace")})
            else:
                output.console().print(_preview(number, line), soft_wrap=True)
            number += 1
    if number == 0 and not raw and not as_json:
        output.console(stderr=True).print("The transcript has no lines.")


async def _lines(store: Store, name: SessionKey) -> AsyncIterator[bytes]:
    """Go through a transcript a page at a time; one that is replaced meanwhile ends with an error and no mixture."""
    start, generation = 0, None
    while True:
        found = await store.read(name, start, start + TRANSCRIPT_PAGE)
        if found is None:
            why = "names no transcript" if await store.exists(name) else "does not exist"
            output.fail(f"session {name} {why}")
        if generation not in (None, (found.head.id, found.head.generation)):
            output.fail(f"the transcript of {name} was replaced while it was printed; start again")
        for line in found.lines:
            yield line
        generation = (found.head.id, found.head.generation)
        start += len(found.lines)
        if start >= found.head.lines:
            return


def _name(key: str, agent: str | None) -> SessionKey:
    return SessionKey.of(key) if agent is None else SessionKey(agent, key)


def _done(as_json: bool, document: dict[str, Any], what: str) -> None:
    if as_json:
        output.json_line(document)
        return
    revision = f", revision {document['revision']}" if "revision" in document else ""
    output.console().print(output.printable(f"{document['agent']}/{document['key']} {what}{revision}"), soft_wrap=True)


def _row_document(info: SessionInfo) -> dict[str, Any]:
    return {
        "key": info.key.key,
        "sessionId": info.session_id,
        "agent": info.key.agent,
        "status": info.status.value,
        "lines": info.lines,
        "revision": info.revision,
        "updatedAt": info.updated_ms,
    }


def _table(rows: list[SessionInfo]) -> rich.table.Table:
    table = rich.table.Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("KEY", overflow="fold", min_width=20)
    table.add_column("AGENT", overflow="fold")
    table.add_column("STATUS", no_wrap=True)
    table.add_column("LINES", justify="right", no_wrap=True)
    table.add_column("REV", justify="right", no_wrap=True)
    table.add_column("UPDATED", no_wrap=True)
    for info in rows:
        counts = (str(info.lines), str(info.revision), output.moment(info.updated_ms))
        table.add_row(output.printable(info.key.key), output.printable(info.key.agent), info.status.value, *counts)
    return table


def _print_session(session: Session) -> None:
    head = session.transcript
    facts = {
        "Key": session.key.key,
        "Agent": session.key.agent,
        "Session": session.entry.session_id or "-",
        "Status": session.status.value,
        "Revision": str(session.revision),
        "Updated": output.moment(session.updated_ms),
        "Written": output.moment(session.written_ms),
        "Transcript": f"{head.id}, {head.lines} lines" if head else "-",
    }
    console = output.console()
    for name, value in facts.items():
        console.print(rich.text.Text(f"{name + ':':<12}", style="bold") + output.printable(value), soft_wrap=True)
    laid_out = json.dumps(dict(session.entry), indent=2, ensure_ascii=False)
    console.print(rich.text.Text("\n").join(output.printable(line) for line in laid_out.split("\n")), soft_wrap=True)


def _preview(number: int, line: bytes) -> rich.text.Text:
    """Return one line for people: its number, what it is, who speaks, and how it begins."""
    kind, text = _read_event(line) or ("?", line.decode("utf-8", "replace"))
    shown = text if len(text) <= PREVIEW_CHARACTERS else text[:PREVIEW_CHARACTERS] + "…"
    return rich.text.Text(f"{number:>5}  ", style="dim") + output.printable(f"{kind:<10}  {shown}".rstrip())


def _read_event(line: bytes) -> tuple[str, str] | None:
    """Return what a line is, and its text; None where it is not one of OpenClaw's events."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict):
        return None
    message = event.get("message")
    said = message if isinstance(message, dict) else {}
    return str(said.get("role") or event.get("type") or "?"), _said(said.get("content"))


def _said(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return " ".join(text for text in texts if isinstance(text, str))
