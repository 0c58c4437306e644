"""The guide's programs do what the guide says, on a real Redis: several at once, killed, and with the store away."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import itertools
import json
import re
import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from sessionstore.sessions import SessionStorage, Store, open_store
from tests import redis_server
from tests.examples import bot_api, gateways, programs
from tests.examples.programs import Program

_keyspaces = (f"programs-{number}" for number in itertools.count(1))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_server.RedisServer]:
    with redis_server.running(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(params=["redis", "directory"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> SessionStorage:
    """A store that several processes of this machine share."""
    if request.param == "directory":
        return SessionStorage(backend="directory", state_dir=str(tmp_path / "state"))
    return remote(request.getfixturevalue("server"))


@pytest.fixture
def on_redis(server: redis_server.RedisServer) -> SessionStorage:
    return remote(server)


def remote(server: redis_server.RedisServer) -> SessionStorage:
    return server.add_user(next(_keyspaces))


@pytest.fixture
async def store(config: SessionStorage) -> AsyncIterator[Store]:
    async with open_store(config) as opened:
        yield opened


def environ(config: SessionStorage, tmp_path: Path, **more: str) -> dict[str, str]:
    """Say where sessions are, as the operator says it."""
    path = tmp_path / f"{config.keyspace}-{config.redis_port}.yaml"
    path.write_text(config.to_yaml())
    return {"SESSION_STORAGE_CONFIG": str(path), **more}


def away(config: SessionStorage) -> SessionStorage:
    return dataclasses.replace(config, redis_port=1, connect_timeout=0.2, operation_timeout=0.5)


def forget(server: redis_server.RedisServer, config: SessionStorage) -> None:
    """Leave nothing in the store, as where it comes back on another disk."""
    if config.backend == "directory":
        shutil.rmtree(config.directory())
        return
    with server.admin() as admin:
        admin.delete(*admin.keys(f"sst:{config.keyspace}:*"))


async def messages(store: Store, key: str) -> list[dict[str, object]]:
    found = await store.read(key)
    return [json.loads(line) for line in found.lines] if found else []


# -- fastapi_gateway.py -----------------------------------------------------------------------------


@contextlib.contextmanager
def gateway(config: SessionStorage, tmp_path: Path) -> Iterator[gateways.Gateway]:
    port = programs.free_port()
    with Program("fastapi_gateway.py", **environ(config, tmp_path, PORT=str(port))) as program:
        program.until(lambda: programs.listens(port))
        yield gateways.Gateway(program.process, port)


def say(to: gateways.Gateway, number: str, text: str = "Hello") -> gateways.Answer:
    return to.call("POST", "/chats/42/turns", {"id": number, "text": text})


async def test_two_gateways_lose_no_turn(config: SessionStorage, store: Store, tmp_path: Path) -> None:
    with (
        gateway(config, tmp_path) as one,
        gateway(config, tmp_path) as other,
        concurrent.futures.ThreadPoolExecutor(6) as callers,
    ):
        answers = list(callers.map(lambda n: say((one, other)[n % 2], f"m{n}", f"text {n}"), range(18)))

    assert [answer.status for answer in answers] == [200] * 18
    kept = await messages(store, "agent:main:web:direct:42")
    assert [line["role"] for line in kept] == ["user", "assistant"] * 18
    assert sorted(str(line["answers"]) for line in kept[1::2]) == sorted(f"m{n}" for n in range(18))
    assert [f"You said {said['text']!r}; I remember {2 * n} messages." for n, said in enumerate(kept[::2])] == [
        reply["text"] for reply in kept[1::2]
    ]


async def test_what_is_said_twice_is_kept_once(config: SessionStorage, store: Store, tmp_path: Path) -> None:
    with gateway(config, tmp_path) as one, gateway(config, tmp_path) as other:
        with concurrent.futures.ThreadPoolExecutor(6) as callers:
            answers = list(callers.map(lambda n: say((one, other)[n % 2], "m1"), range(6)))
        shown = one.call("GET", "/chats/42")

    assert {(answer.status, answer.body["reply"]) for answer in answers} == {
        (200, "You said 'Hello'; I remember 0 messages.")
    }
    assert (shown.body["lines"], len(await messages(store, "agent:main:web:direct:42"))) == (2, 2)


def test_an_outage_is_a_503_and_a_stranger_a_404(on_redis: SessionStorage, tmp_path: Path) -> None:
    with gateway(on_redis, tmp_path) as near, gateway(away(on_redis), tmp_path) as far:
        answers = [say(far, "m1"), far.call("GET", "/chats/42"), near.call("GET", "/chats/42"), say(near, "")]
        impossible = near.call("POST", "/chats/%00/turns", {"id": "m1", "text": "Hello"})

    assert [answer.status for answer in answers] == [503, 503, 404, 422]
    assert "not available: connection" in answers[0].body["detail"]
    assert (impossible.status, "NUL" in impossible.body["detail"]) == (400, True)


# -- telegram_worker.py -----------------------------------------------------------------------------


@pytest.fixture
def bot() -> Iterator[bot_api.BotApi]:
    with bot_api.running() as api:
        yield api


def worker(config: SessionStorage, tmp_path: Path, api: str) -> Program:
    token = tmp_path / "token"
    token.write_text(bot_api.TOKEN + "\n")
    return Program("telegram_worker.py", **environ(config, tmp_path, BOT_API=api, BOT_TOKEN_FILE=str(token)))


CHATS = range(100, 105)


async def test_two_workers_answer_each_message_once_and_in_order(
    config: SessionStorage, store: Store, bot: bot_api.BotApi, tmp_path: Path
) -> None:
    for chat in CHATS:
        # Where they had to be made, the workers would meet there, and only one of them would come as far as the lines.
        await store.set(f"agent:main:telegram:direct:{chat}", {"sessionId": f"telegram-{chat}"})
    with worker(config, tmp_path, f"{bot.url}/one") as one, worker(config, tmp_path, f"{bot.url}/two") as two:
        one.until(lambda: bot.polls["/one"] and bot.polls["/two"])
        numbers = [bot.say(chat, f"message {n}") for n in range(3) for chat in CHATS]
        for name, program in (("/one", one), ("/two", two)):
            program.until(lambda name=name: bot.confirmed[name] == numbers[-1])

    for chat in CHATS:
        assert bot.told(chat) == [f"You said 'message {n}'; I remember {2 * n} messages." for n in range(3)]
        kept = await messages(store, f"agent:main:telegram:direct:{chat}")
        assert [next(iter(line)) for line in kept] == ["role", "role", "delivered"] * 3


async def test_a_worker_that_is_killed_leaves_nothing_unanswered(
    config: SessionStorage, store: Store, bot: bot_api.BotApi, tmp_path: Path
) -> None:
    numbers = [bot.say(chat, f"message {n}") for n in range(4) for chat in CHATS]
    with worker(config, tmp_path, bot.url) as killed:
        killed.until(lambda: len(bot.sent) >= 7)
        killed.process.kill()
        killed.wait()
    with worker(config, tmp_path, bot.url) as next_one:
        next_one.until(lambda: bot.confirmed[""] == numbers[-1])

    for chat in CHATS:
        kept = await messages(store, f"agent:main:telegram:direct:{chat}")
        assert [line["text"] for line in kept if line.get("role") == "user"] == [f"message {n}" for n in range(4)]
        told = bot.told(chat)
        # Sent, and killed before that was written down: that one comes twice, and no other.
        assert list(dict.fromkeys(told)) == [line["text"] for line in kept if line.get("role") == "assistant"]
        assert len(told) <= 4 + 1


def test_a_worker_waits_for_a_store_that_is_away(
    server: redis_server.RedisServer, on_redis: SessionStorage, bot: bot_api.BotApi, tmp_path: Path
) -> None:
    impatient = dataclasses.replace(on_redis, connect_timeout=0.5, operation_timeout=1)
    number = bot.say(7, "Hello")
    server.process.send_signal(signal.SIGSTOP)
    try:
        with worker(impatient, tmp_path, bot.url) as waiting:
            waiting.until(lambda: f"update {number} comes again" in waiting.said)
            assert (bot.sent, bot.confirmed[""]) == ([], 0)
            server.process.send_signal(signal.SIGCONT)
            waiting.until(lambda: bot.confirmed[""] == number)
            said = waiting.said
    finally:
        server.process.send_signal(signal.SIGCONT)

    assert bot.told(7) == ["You said 'Hello'; I remember 0 messages."]
    assert bot_api.TOKEN not in said


def test_a_worker_waits_for_a_bot_api_that_is_away(on_redis: SessionStorage, tmp_path: Path) -> None:
    with worker(on_redis, tmp_path, f"http://127.0.0.1:{programs.free_port()}") as waiting:
        with pytest.raises(programs.subprocess.TimeoutExpired):
            waiting.process.wait(3)
        assert "Traceback" not in waiting.said
        assert bot_api.TOKEN not in waiting.said


# -- batch_reader.py --------------------------------------------------------------------------------


def table(path: Path) -> dict[str, tuple[int, int]]:
    """Session -> (revision, lines), as the program's database has it."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        return {
            key: (revision, lines)
            for key, revision, lines in database.execute("SELECT key, revision, lines FROM sessions")
        }


async def in_store(store: Store) -> dict[str, tuple[int, int]]:
    return {row.key.key: (row.revision, row.lines) for row in (await store.list(status=None)).items}


async def change(store: Store) -> None:
    """Change four of the sessions k0…k9: one line more, deleted, archived, and a new one."""
    await store.append("k1", [b"{}"])
    await store.delete("k2")
    await store.archive("k3")
    await store.set("new", {"sessionId": "new"})


@pytest.fixture
async def ten(store: Store) -> Store:
    for number in range(10):
        await store.set(f"k{number}", {"sessionId": f"s{number}"})
    return store


async def test_a_second_run_reads_only_what_changed(config: SessionStorage, ten: Store, tmp_path: Path) -> None:
    path, where = tmp_path / "sessions.db", environ(config, tmp_path)
    first = programs.run("batch_reader.py", str(path), "--once", **where)
    assert (first, table(path)) == ((0, "walked: 10 sessions\n"), await in_store(ten))

    await change(ten)
    second = programs.run("batch_reader.py", str(path), "--once", **where)
    assert (second, table(path)) == ((0, "changed: 4 sessions\n"), await in_store(ten))
    assert programs.run("batch_reader.py", str(path), "--once", **where) == (0, "")


async def test_a_reader_that_is_killed_goes_on_where_it_stopped(
    config: SessionStorage, ten: Store, tmp_path: Path
) -> None:
    path, where = tmp_path / "sessions.db", environ(config, tmp_path)
    with Program("batch_reader.py", str(path), **where) as following:
        following.until(lambda: "walked" in following.said)
        await ten.append("k9", [b"{}"])
        following.until(lambda: "changed: 1" in following.said)
    await change(ten)

    assert programs.run("batch_reader.py", str(path), "--once", **where) == (0, "changed: 4 sessions\n")
    assert table(path) == await in_store(ten)


async def test_a_store_that_came_back_empty_is_walked_anew(
    server: redis_server.RedisServer, config: SessionStorage, ten: Store, tmp_path: Path
) -> None:
    path, where = tmp_path / "sessions.db", environ(config, tmp_path)
    programs.run("batch_reader.py", str(path), "--once", **where)
    await ten.close()
    forget(server, config)
    async with open_store(config) as fresh:
        await fresh.set("only", {"sessionId": "s"})

        assert programs.run("batch_reader.py", str(path), "--once", **where) == (0, "walked: 1 sessions\n")
        assert table(path) == await in_store(fresh)


def test_a_run_without_a_store_says_so_and_fails(on_redis: SessionStorage, tmp_path: Path) -> None:
    far = environ(away(on_redis), tmp_path)
    status, said = programs.run("batch_reader.py", str(tmp_path / "db"), "--once", **far)
    assert (status, said.startswith("stopped, and the next run goes on from here: redis at 127.0.0.1:1")) == (1, True)


# -- scoped_assistant.py ----------------------------------------------------------------------------

SCOPES = """
default: per-channel
channels: {inbox: per-sender, mail: per-sender, home: global, support: isolated, kiosk: ephemeral}
"""


def assistant(config: SessionStorage, tmp_path: Path) -> Program:
    path = tmp_path / "scopes.yaml"
    path.write_text(SCOPES)
    return Program("scoped_assistant.py", str(path), **environ(config, tmp_path))


def asked(channel: str, sender: str = "ann", **more: object) -> dict[str, object]:
    return {"channel": channel, "sender": sender, "text": "Hello", **more}


def remembered(program: Program) -> list[int]:
    """How many messages each answer was made from."""
    replies = [json.loads(line)["reply"] for line in program.said.splitlines()]
    return [int(re.findall(r"I remember (\d+)", reply)[0]) for reply in replies]


async def test_who_shares_a_conversation_is_as_configured(config: SessionStorage, store: Store, tmp_path: Path) -> None:
    with assistant(config, tmp_path) as program:
        program.tell(
            asked("web"), asked("irc"), asked("web"), asked("web", "bob"), asked("web", thread="t"),
            asked("inbox"), asked("mail"), asked("home"), asked("home", "bob"),
            asked("support", account="one"), asked("support", account="two"),
        )  # fmt: skip
        program.until(lambda: len(program.said.splitlines()) == 11)
        assert remembered(program) == [0, 0, 2, 0, 0, 0, 2, 0, 2, 0, 0]

    assert set(await in_store(store)) == {
        "agent:main:web:direct:ann", "agent:main:irc:direct:ann", "agent:main:web:direct:bob",
        "agent:main:web:direct:ann:thread:t", "agent:main:direct:ann", "agent:main:main",
        "agent:main:support:one:direct:ann", "agent:main:support:two:direct:ann",
    }  # fmt: skip


async def test_a_visit_is_forgotten_when_it_ends(config: SessionStorage, store: Store, tmp_path: Path) -> None:
    with assistant(config, tmp_path) as program:
        program.tell(asked("kiosk"), asked("kiosk"), asked("kiosk", end=True), asked("kiosk"), asked("kiosk", "bob"))
        program.until(lambda: len(program.said.splitlines()) == 4)
        assert remembered(program) == [0, 2, 0, 0]
        assert len(await in_store(store)) == 2
        program.process.send_signal(signal.SIGTERM)
        assert (program.wait(), len(program.said.splitlines())) == (0, 4)

    assert await in_store(store) == {}


async def test_a_visit_that_is_killed_expires(config: SessionStorage, store: Store, tmp_path: Path) -> None:
    with assistant(config, tmp_path) as program:
        program.tell(asked("kiosk"))
        program.until(lambda: program.said)
        program.process.kill()
        program.wait()

    (left,) = (await store.list()).items
    assert left.expires_ms is not None


def test_a_message_that_cannot_be_answered_does_not_stop_the_others(config: SessionStorage, tmp_path: Path) -> None:
    with assistant(config, tmp_path) as program:
        program.tell(asked("web", ""), {"channel": "web"}, asked("web"))
        program.until(lambda: len(program.said.splitlines()) == 3)
        first, second, third = (json.loads(line) for line in program.said.splitlines())

    assert first["error"].startswith("InvalidKey: sender is empty")
    assert (second, "reply" in third) == ({"error": "KeyError: 'sender'"}, True)


# -- encrypted_notes.py -----------------------------------------------------------------------------


@pytest.fixture
def notes(config: SessionStorage, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Run one of the program's commands."""
    where = environ(config, tmp_path)
    (tmp_path / "keys").mkdir()
    return lambda *command: programs.run("encrypted_notes.py", str(tmp_path / "keys"), *command, **where)


def keys_of(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "keys").iterdir())


Notes = Callable[..., tuple[int, str]]


def test_nothing_is_written_without_a_key(notes: Notes) -> None:
    status, said = notes("note", "ann", "likes tea")
    assert (status, said.partition(":")[0]) == (1, "ConfigurationError")


async def test_notes_are_not_in_the_store_in_plain(notes: Notes, store: Store) -> None:
    notes("prepare")
    assert [notes("note", "ann", "likes tea"), notes("note", "ann", "and cake")] == [(0, "")] * 2
    assert notes("show", "ann") == (0, "likes tea\nand cake\n")

    key = "agent:main:notes:direct:ann"
    found, past = await store.get(key), await store.read(key)
    assert found is not None and past is not None and len(past.lines) == 2
    assert b"tea" not in b"".join([found.entry.raw, *past.lines])
    assert "about" not in found.entry


def test_a_key_is_changed_in_four_steps(notes: Notes, tmp_path: Path) -> None:
    notes("prepare")
    notes("note", "ann", "likes tea")
    first = (tmp_path / "keys" / "0001.key").read_text()

    assert (notes("prepare"), keys_of(tmp_path)) == ((0, ""), ["0000.key", "0001.key"])
    notes("note", "ann", "and cake")
    assert (notes("activate"), keys_of(tmp_path)) == ((0, ""), ["0001.key", "0002.key"])
    notes("note", "bob", "likes neither")
    status, said = notes("retire")
    assert (status, said.startswith("still needed: ")) == (1, True)

    assert notes("rekey") == (0, "1 encrypted anew\n")
    status, said = notes("retire")
    assert (status, keys_of(tmp_path)) == (0, ["0001.retired", "0002.key"])
    assert notes("show", "ann") == (0, "likes tea\nand cake\n")
    assert notes("show", "bob") == (0, "likes neither\n")
    # Whoever still has the old key alone is told which one is missing, and shown no empty page.
    (tmp_path / "keys" / "0002.key").write_text(first)
    status, said = notes("show", "ann")
    assert (status, "Unreadable: " in said, "is encrypted with key" in said, "cake" in said) == (1, True, True, False)


def test_notes_are_taken_while_the_key_is_changed(config: SessionStorage, notes: Notes, tmp_path: Path) -> None:
    notes("prepare")
    for number in range(3):
        notes("note", "ann", f"before {number}")
    notes("prepare")
    notes("activate")
    where = environ(config, tmp_path)
    with contextlib.ExitStack() as all_of_them:
        writers = [
            all_of_them.enter_context(
                Program("encrypted_notes.py", str(tmp_path / "keys"), "note", "ann", f"during {number}", **where)
            )
            for number in range(4)
        ]
        assert notes("rekey")[0] == 0
        assert [writer.wait() for writer in writers] == [0] * 4

    assert (notes("rekey")[0], notes("retire")[0]) == (0, 0)
    kept = notes("show", "ann")[1].splitlines()
    assert kept[:3] == [f"before {number}" for number in range(3)]
    assert sorted(kept[3:]) == [f"during {number}" for number in range(4)]


# -- the guide ----------------------------------------------------------------------------------------

GUIDE = (programs.DIRECTORY.parents[1] / "docs" / "guide.md").read_text()
NAMES = sorted(path.name for path in programs.DIRECTORY.glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_a_program_is_short_and_in_the_guide(name: str) -> None:
    assert len((programs.DIRECTORY / name).read_text().splitlines()) <= 90
    assert f"](../examples/library/{name})" in GUIDE


def test_the_guide_quotes_the_programs_as_they_are() -> None:
    code = "\n".join((programs.DIRECTORY / name).read_text() for name in NAMES)
    quoted = [
        line.strip() for block in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) for line in block.splitlines()
    ]
    assert [line for line in quoted if line and line not in code] == []
    assert len(quoted) >= len(NAMES)
