"""`window`: what of a conversation would be sent to a model."""

from __future__ import annotations

import click

from sessionstore.cli import output
from sessionstore.cli.keys import agent_option, json_option, name_of
from sessionstore.cli.sessions import preview
from sessionstore.openclaw import rawjson
from sessionstore.sessions import SessionKey, open_store
from sessionstore.sessions import window as windows


@click.command("window")
@click.argument("key")
@click.option("--max-tokens", type=click.IntRange(min=1), default=8000, show_default=True, help="Room for so much.")
@click.option("--raw", is_flag=True, help="The stored lines, byte for byte.")
@agent_option
@json_option
@click.pass_obj
def window_command(url: str | None, key: str, max_tokens: int, raw: bool, agent: str | None, as_json: bool) -> None:
    """Print the newest messages of a session that fit into a model's context. Tokens are estimated."""
    if raw and as_json:
        raise click.UsageError("--raw and --json are two ways to print; choose one")
    output.run(_window(url, name_of(key, agent), max_tokens, raw, as_json))


async def _window(url: str | None, name: SessionKey, max_tokens: int, raw: bool, as_json: bool) -> None:
    async with open_store(url) as store:
        found = await windows.window(store, name, max_tokens=max_tokens)
        if found is None:
            output.fail(f"session {name} {'names no transcript' if await store.exists(name) else 'does not exist'}")
    if as_json:
        output.write_bytes(_document(name, found) + b"\n")
    elif raw:
        for line in found.lines:
            output.write_bytes(line + b"\n")
    else:
        _print(found)


def _document(name: SessionKey, found: windows.Window) -> bytes:
    return rawjson.dump(
        {
            "key": name.key,
            "agent": name.agent,
            "tokens": found.tokens,
            "complete": found.complete,
            "overBudget": found.over_budget,
            "skipped": found.skipped,
            "firstId": found.first_id,
            "summary": found.summary,
            "messages": list(found.messages),
            "transcript": {"id": found.head.id, "generation": found.head.generation, "lines": found.head.lines},
        }
    )


def _print(found: windows.Window) -> None:
    console = output.console()
    if found.summary is not None:
        console.print(output.printable(f"       summary     {found.summary}"), soft_wrap=True)
    for number, line in enumerate(found.lines):
        console.print(preview(number, line), soft_wrap=True)
    left_out = "nothing left out" if found.complete else "older ones left out"
    over = "; the newest alone is larger than --max-tokens" if found.over_budget else ""
    said = f"{len(found.lines)} messages, about {found.tokens} tokens, {left_out}{over}"
    output.console(stderr=True).print(said, soft_wrap=True)
