"""`archive`, `restore`, `pin`, `unpin`, `tag`, `title`, `touch`: what people set on one session."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import click

from sessionstore.cli import output
from sessionstore.cli.keys import absent, agent_option, done, expected_option, json_option, name_of
from sessionstore.sessions import Conflict, Lifetime, Session, SessionKey, Store, open_store
from sessionstore.sessions.record import MAX_LIFETIME_MS

Change = Callable[[Store, SessionKey], Awaitable[Session | None]]

_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def _duration(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Return milliseconds, read from `90`, `90s`, `15m`, `12h`, `30d`; 0 is for ever."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,12})([smhd]?)", value, re.ASCII)
    if found is None:
        raise click.BadParameter(f"{value!r} is no duration; write 90s, 15m, 12h or 30d, or 0 for ever")
    duration_ms = int(found[1]) * _UNITS_S[found[2]] * 1000
    if duration_ms > MAX_LIFETIME_MS:
        raise click.BadParameter(f"{value!r} is more than {MAX_LIFETIME_MS // 86_400_000} days; 0 is for ever")
    return duration_ms


@click.command("archive")
@click.argument("key")
@click.option("--reason", default=None, help="Why; shown by `get`.")
@agent_option
@expected_option
@json_option
@click.pass_obj
def archive_command(
    url: str | None, key: str, reason: str | None, agent: str | None, expected: int | None, as_json: bool
) -> None:
    """Take a session out of the active ones; it keeps its transcript and does not expire any more."""
    _run(
        url, key, agent, as_json, "archived", lambda store, name: store.archive(name, reason=reason, expected=expected)
    )


@click.command("restore")
@click.argument("key")
@agent_option
@expected_option
@json_option
@click.pass_obj
def restore_command(url: str | None, key: str, agent: str | None, expected: int | None, as_json: bool) -> None:
    """Make an archived session active again."""
    _run(url, key, agent, as_json, "restored", lambda store, name: store.restore(name, expected=expected))


@click.command("pin")
@click.argument("key")
@agent_option
@json_option
@click.pass_obj
def pin_command(url: str | None, key: str, agent: str | None, as_json: bool) -> None:
    """Exempt a session from expiry."""
    _run(url, key, agent, as_json, "pinned", lambda store, name: store.pin(name))


@click.command("unpin")
@click.argument("key")
@agent_option
@json_option
@click.pass_obj
def unpin_command(url: str | None, key: str, agent: str | None, as_json: bool) -> None:
    """Let a pinned session expire again; its time to live begins anew."""
    _run(url, key, agent, as_json, "unpinned", lambda store, name: store.pin(name, False))


@click.command("tag")
@click.argument("key")
@click.option("--add", multiple=True, help="A tag to add; may be given several times.")
@click.option("--remove", multiple=True, help="A tag to take away; may be given several times.")
@agent_option
@json_option
@click.pass_obj
def tag_command(
    url: str | None, key: str, add: tuple[str, ...], remove: tuple[str, ...], agent: str | None, as_json: bool
) -> None:
    """Add tags to a session, and take others away."""
    if not add and not remove:
        raise click.UsageError("say which tags: --add TAG, --remove TAG")
    _run(url, key, agent, as_json, "tagged", lambda store, name: store.tag(name, add=add, remove=remove))


@click.command("title")
@click.argument("key")
@click.argument("title", required=False)
@click.option("--clear", is_flag=True, help="Take the title away.")
@agent_option
@json_option
@click.pass_obj
def title_command(url: str | None, key: str, title: str | None, clear: bool, agent: str | None, as_json: bool) -> None:
    """Give a session a title, or take it away."""
    if (title is None) != clear:
        raise click.UsageError("say either TITLE or --clear")
    _run(url, key, agent, as_json, "titled" if title else "untitled", lambda store, name: store.title(name, title))


@click.command("touch")
@click.argument("key")
@click.option("--ttl", metavar="DURATION", callback=_duration, help="Expire so long after the last write; 0: never.")
@click.option("--idle", metavar="DURATION", callback=_duration, help="Expire so long after the last use; 0: never.")
@agent_option
@json_option
@click.pass_obj
def touch_command(
    url: str | None, key: str, ttl: int | None, idle: int | None, agent: str | None, as_json: bool
) -> None:
    """Count as a use of a session, so that its idle time begins anew.

    With --ttl or --idle, replace its own lifetime; what is left out is as the store is configured.
    """
    lifetime = None if ttl is None and idle is None else Lifetime(ttl_ms=ttl, idle_ms=idle)
    output.run(_touch(url, name_of(key, agent), lifetime, as_json))


async def _touch(url: str | None, name: SessionKey, lifetime: Lifetime | None, as_json: bool) -> None:
    async with open_store(url) as store:
        there = await store.touch(name, lifetime=lifetime)
    if not there:
        absent(name)
    done(as_json, {"key": name.key, "agent": name.agent, "touched": True}, "touched")


def _run(url: str | None, key: str, agent: str | None, as_json: bool, what: str, change: Change) -> None:
    output.run(_change(url, name_of(key, agent), as_json, what, change))


async def _change(url: str | None, name: SessionKey, as_json: bool, what: str, change: Change) -> None:
    async with open_store(url) as store:
        try:
            session = await change(store, name)
        except Conflict as error:
            output.fail(f"{error}; read it again and decide, or leave --expected out")
    if session is None:
        absent(name)
    done(as_json, _document(session), what)


def _document(session: Session) -> dict[str, Any]:
    marks = session.marks
    return {
        "key": session.key.key,
        "agent": session.key.agent,
        "revision": session.revision,
        "status": session.status.value,
        "title": marks.title,
        "tags": list(marks.tags),
        "pinned": marks.pinned,
        "reason": marks.reason,
        "expiresAt": session.expires_ms,
    }
