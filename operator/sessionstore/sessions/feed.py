"""The cursors of the change feed. Pure; every backend gives them out in this form.

A cursor names the store it belongs to (an id that is drawn when a store is made, so that one which came back empty
is told from one that did not move) and a place in each of its streams.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Sequence

from sessionstore.sessions.exceptions import FeedLost, InvalidKey

Place = int | str


def new_id() -> str:
    """Return an id for a store that is made now."""
    return secrets.token_hex(8)


def encode(store_id: str, places: Sequence[Place]) -> str:
    """Return the cursor of these places."""
    return base64.urlsafe_b64encode(json.dumps([store_id, *places], separators=(",", ":")).encode()).decode()


def split(cursor: str, streams: int) -> tuple[Place, list[Place]]:
    """Return the id of a cursor's store, and its places.

    Raises: InvalidKey for one that no feed of `streams` streams gave out.
    """
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise InvalidKey("the cursor is not one that position or changes gave out") from error
    if not isinstance(found, list) or len(found) != streams + 1 or not all(type(x) in (int, str) for x in found):
        raise InvalidKey("the cursor is not one that position or changes gave out")
    return found[0], found[1:]


def decode(cursor: str, store_id: str, streams: int) -> list[Place]:
    """Return a cursor's places. Raises: as `split`; FeedLost for another store's."""
    of, places = split(cursor, streams)
    if of != store_id:
        raise FeedLost("the cursor is another store's, or the store lost its data since; take a new position and walk")
    return places


def check_reach(first: int, seen: Place, end: int) -> int:
    """Return `seen` where a feed that keeps the events from `first` to `end` can go on from there.

    Raises: FeedLost; InvalidKey.
    """
    if not isinstance(seen, int):
        raise InvalidKey("the cursor is not one that position or changes gave out")
    if seen < first:
        raise FeedLost(f"{first - seen} changes behind the cursor are not kept any more; take a new position and walk")
    if seen > end:
        raise FeedLost("the store lost changes that were read already; take a new position and walk")
    return seen
