"""`list`, `get`, `put`, `delete`, `exists`, `transcript`: one session, or all of them, of any store.

`--json` is a promise to programs (docs/cli.md has an example of each); what people see may change.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import IO

import click
import rich.text

from sessionstore.cli import output, rows
from sessionstore.cli.keys import absent, agent_option, done, expected_option, json_option, name_of
from sessionstore.sessions import Page, Session, SessionKey, Status, Store, open_store
from sessionstore.sessions.exceptions import Conflict

TRANSCRIPT_PAGE = 1000
"""Lines read at once, so that a long transcript is printed as it comes and never held whole."""
PREVIEW_CHARACTERS = 200


@click.command("list")
@click.option("--agent", default=None, help="Only this agent's.")
@click.option("--status", type=click.Choice(["active", "archived"]), default=None, help="Only these. Default: both.")
@click.option("--limit", type=click.IntRange(min=1), default=None, help="At most so many. Default: all.")
@json_option
@click.pass_obj
def list_command(url: str | None, agent: str | None, status: str | None, limit: int | None, as_json: bool) -> None:
    """List sessions, newest first. With --json, one object a line."""
    output.run(_list(url, agent, Status(status) if status else None, limit, as_json))


@click.command("get")
@click.argument("key")
@agent_option
@json_option
@click.pass_obj
def get_command(url: str | None, key: str, agent: str | None, as_json: bool) -> None:
    """Print one session's entry. With --json, exactly as it is stored."""
    output.run(_get(url, key, agent, as_json))


@click.command("put")
@click.argument("key")
@click.argument("file", type=click.File("rb"), default="-")
@agent_option
@expected_option
@json_option
@click.pass_obj
def put_command(
    url: str | None, key: str, file: IO[bytes], agent: str | None, expected: int | None, as_json: bool
) -> None:
    """Write one session's entry from FILE, or from standard input."""
    output.run(_put(url, (key, agent), file.read(), expected, as_json))


@click.command("delete")
@click.argument("key")
@agent_option
@expected_option
@json_option
@click.pass_obj
def delete_command(url: str | None, key: str, agent: str | None, expected: int | None, as_json: bool) -> None:
    """Delete one session and its transcript. Exit status 1 where there is none."""
    output.run(_delete(url, key, agent, expected, as_json))


@click.command("exists")
@click.argument("key")
@agent_option
@json_option
@click.pass_obj
def exists_command(url: str | None, key: str, agent: str | None, as_json: bool) -> None:
    """Tell by exit status whether a session exists: 0 it does, 1 it does not."""
    output.run(_exists(url, key, agent, as_json))


@click.command("transcript")
@click.argument("key")
@agent_option
@click.option("--raw", is_flag=True, help="The stored lines, byte for byte.")
@json_option
@click.pass_obj
def transcript_command(url: str | None, key: str, agent: str | None, raw: bool, as_json: bool) -> None:
    """Print a session's transcript. With --json, one object a line: its number, and the line as text."""
    if raw and as_json:
        raise click.UsageError("--raw and --json are two ways to print; choose one")
    output.run(_transcript(url, key, agent, raw, as_json))


async def _list(url: str | None, agent: str | None, status: Status | None, limit: int | None, as_json: bool) -> None:
    async with open_store(url) as store:

        async def fetch(size: int, cursor: str | None) -> Page:
            return await store.list(agent=agent, status=status, limit=size, cursor=cursor)

        await rows.show(fetch, limit, as_json)


async def _get(url: str | None, key: str, agent: str | None, as_json: bool) -> None:
    async with open_store(url) as store:
        session = await store.get(name_of(key, agent))
    if session is None:
        absent(name_of(key, agent))
    if as_json:
        output.write_bytes(session.entry.raw + b"\n")
        return
    _print_session(session)


async def _put(
    url: str | None, name: tuple[str, str | None], entry: bytes, expected: int | None, as_json: bool
) -> None:
    async with open_store(url) as store:
        try:
            session = await store.set(name_of(*name), entry, expected=expected)
        except Conflict as error:
            output.fail(f"{error}; read it again and decide, or leave --expected out to write over it")
    done(as_json, {"key": session.key.key, "agent": session.key.agent, "revision": session.revision}, "written")


async def _delete(url: str | None, key: str, agent: str | None, expected: int | None, as_json: bool) -> None:
    name = name_of(key, agent)
    async with open_store(url) as store:
        try:
            deleted = await store.delete(name, expected=expected)
        except Conflict as error:
            output.fail(f"{error}; read it again and decide, or leave --expected out to delete it all the same")
    if not deleted:
        absent(name)
    done(as_json, {"key": name.key, "agent": name.agent, "deleted": True}, "deleted")


async def _exists(url: str | None, key: str, agent: str | None, as_json: bool) -> None:
    name = name_of(key, agent)
    async with open_store(url) as store:
        exists = await store.exists(name)
    try:
        done(
            as_json, {"key": name.key, "agent": name.agent, "exists": exists}, "exists" if exists else "does not exist"
        )
    except BrokenPipeError:
        output.seen_enough()  # The answer is the status, whoever reads the words.
    raise SystemExit(output.DONE if exists else output.FAILED)


async def _transcript(url: str | None, key: str, agent: str | None, raw: bool, as_json: bool) -> None:
    async with open_store(url) as store:
        number = 0
        async for line in _lines(store, name_of(key, agent)):
            if raw:
                output.write_bytes(line + b"\n")
            elif as_json:
                output.json_line({"number": number, "line": line.decode("utf-8", "replace")})
            else:
                output.console().print(preview(number, line), soft_wrap=True)
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
    } | _marks(session)
    output.facts(facts)
    console = output.console()
    laid_out = json.dumps(dict(session.entry), indent=2, ensure_ascii=False)
    console.print(rich.text.Text("\n").join(output.printable(line) for line in laid_out.split("\n")), soft_wrap=True)


def _marks(session: Session) -> dict[str, str]:
    """Return what people set on the session, and when it ends; nothing for what is not set."""
    marks = session.marks
    said = {
        "Title": marks.title,
        "Tags": ", ".join(marks.tags),
        "Pinned": "yes" if marks.pinned else None,
        "Archived": marks.reason,
        "Expires": None if session.expires_ms is None else output.moment(session.expires_ms),
    }
    return {name: value for name, value in said.items() if value}


def preview(number: int, line: bytes) -> rich.text.Text:
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
