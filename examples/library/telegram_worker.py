"""A bot that answers what comes over Telegram's Bot API. Two may run at once, as in a rollout.

Run it with SESSION_STORAGE_CONFIG, and with BOT_TOKEN_FILE naming a file with the bot's token.
An update comes until it is confirmed, so perhaps twice, and to two workers. A lease for each chat lets one of them
answer, and the transcript says what was. An answer is sent twice only where a worker dies before it wrote that down.
"""

import asyncio
import contextlib
import json
import logging
import os
from collections import defaultdict
from pathlib import Path

import aiohttp

from sessionstore.sessions import SessionError, SessionKey, Store, Unreadable, open_store

API = os.environ.get("BOT_API", "https://api.telegram.org")
TOKEN = Path(os.environ["BOT_TOKEN_FILE"]).read_text().strip()


async def answer(store: Store, bot: aiohttp.ClientSession, update: dict) -> None:
    number, chat, text = update["update_id"], update["message"]["chat"]["id"], update["message"].get("text", "")
    key = SessionKey("main", f"agent:main:telegram:direct:{chat}")
    async with store.lease(key, ttl_s=5, wait_s=30) as lease:
        entry = {"sessionId": f"telegram-{chat}", "channel": "telegram"}
        session = await store.get(key) or await store.set(key, entry, expected=0, fence=lease.token)
        past = await store.read(key, -100)
        known = [json.loads(line) for line in past.lines] if past else []
        reply = next((line["text"] for line in known if line.get("answers") == number), None)
        if reply is None:
            reply = await think(known, text)
            turn = {"role": "user", "text": text}, {"role": "assistant", "answers": number, "text": reply}
            # Where it stands, so that it may be sent twice; with the token, so that who lost the lease writes nothing.
            position, lines = session.transcript.lines, [json.dumps(line).encode() for line in turn]
            await store.append(key, lines, position=position, fence=lease.token)
        if not any(line.get("delivered") == number for line in known):
            await call(bot, "sendMessage", chat_id=chat, text=reply)
            await store.append(key, [json.dumps({"delivered": number}).encode()], fence=lease.token)


async def answer_in_order(store: Store, bot: aiohttp.ClientSession, updates: list[dict]) -> int | None:
    """Answer one chat's updates; return the first that has to come again."""
    for update in updates:
        try:
            await answer(store, bot, update)
        except Unreadable:
            # It would be so the next time as well, and hold up everybody behind it.
            logging.exception("update %s is passed over", update["update_id"])
        except (SessionError, aiohttp.ClientError, TimeoutError) as error:
            # The store is away, or another worker has the chat. An error of aiohttp's would quote the token.
            why = error if isinstance(error, SessionError) else type(error).__name__
            logging.warning("update %s comes again: %s", update["update_id"], why)
            return update["update_id"]
    return None


async def call(bot: aiohttp.ClientSession, method: str, **arguments: object) -> object:
    async with bot.post(f"{API}/bot{TOKEN}/{method}", json=arguments) as response:
        if response.status == 403:
            return logging.warning("chat %s does not want to hear from us", arguments.get("chat_id"))
        response.raise_for_status()
        return (await response.json())["result"]


async def main() -> None:
    offset = 0
    async with open_store() as store, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as bot:
        while True:
            updates, chats = [], defaultdict(list)
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                updates = await call(bot, "getUpdates", offset=offset, timeout=25, allowed_updates=["message"])
            for update in updates:
                chats[update["message"]["chat"]["id"]].append(update)
            again = await asyncio.gather(*(answer_in_order(store, bot, chat) for chat in chats.values()))
            # Asking from `offset` confirms all before it, so it stops at the first that has to come again.
            behind = updates[-1]["update_id"] + 1 if updates else offset
            offset = min((number for number in again if number), default=behind)
            await asyncio.sleep(0.5 if any(again) or not updates else 0)


async def think(known: list[dict], text: str) -> str:
    return f"You said {text!r}; I remember {sum('role' in line for line in known)} messages."  # ask a model here


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main())
