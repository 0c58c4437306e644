"""A number is a mutant: the same number breaks the same copy in the same way, on every machine."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import content, databases, entries, places, site
from tests.fuzz.site import Site, Touch, touched
from tests.migrate import states

Mutation = Callable[[Site, random.Random], Touch]


@dataclass(frozen=True)
class Mutant:
    """A broken directory, and what was done to it, in words for whoever looks at a failure."""

    number: int
    layout: str
    site: Site
    touch: Touch
    story: str
    is_busy: bool = False
    """Whether somebody writes to it while it is read."""


def make(number: int, target: Path) -> Mutant:
    """Make the mutant of that number in `target`, an empty directory."""
    chance = random.Random(number)
    layouts = sorted(states.LAYOUTS)
    layout = layouts[number % len(layouts)]
    made = site.copy(layout, target)
    if number % 16 == 15:
        return Mutant(number, layout, made, touched(""), f"{layout}: written to", is_busy=True)
    touch, story = Touch(), []
    kinds = (*_KINDS, *((_change_database,) * 5 if any(".sqlite" in name for name in made.files) else ()))
    # Most are broken in one place, since two faults hide each other.
    for _ in range(chance.choice((1, 1, 1, 1, 2, 3))):
        name, mutation = chance.choice(kinds)(chance)
        story.append(name)
        try:
            touch |= mutation(made, chance)
        except OSError as error:
            # What an earlier mutation took away cannot be broken any more.
            story.append(f"({error.strerror})")
            touch |= touched("")
        if mutation is places.sparse:
            # What is a terabyte long nobody copies or rewrites.
            break
    return Mutant(number, layout, made, touch, f"{layout}: {', '.join(story)}; touched {sorted(touch.paths)}")


def _change_content(chance: random.Random) -> tuple[str, Mutation]:
    change = chance.choice(content.CONTENT)
    return change.__name__, functools.partial(_write, change=change)


def _write(made: Site, chance: random.Random, change: content.Content) -> Touch:
    # As often an index as a transcript, though there are fewer of them.
    name = chance.choice(chance.choice((made.files, made.lines_files or made.files, made.indexes or made.files)))
    path = made.root / name
    if not _is_plain(path, made.root):
        return touched("")
    path.write_bytes(change(path.read_bytes(), chance))
    return touched(name)


def _is_plain(path: Path, root: Path) -> bool:
    """Tell whether a file is none that an earlier mutation put there: a pipe would be waited for, a device not end."""
    return path.is_file() and path.resolve() == root.resolve() / path.relative_to(root)


def _change_place(chance: random.Random) -> tuple[str, Mutation]:
    place = chance.choice(places.PLACES)
    return place.__name__, place


def _change_entry(chance: random.Random) -> tuple[str, Mutation]:
    entry = chance.choice(entries.ENTRIES)
    return entry.__name__, functools.partial(entries.change, entry=entry)


def _change_database(chance: random.Random) -> tuple[str, Mutation]:
    return "database", databases.change


_KINDS = (_change_content, _change_content, _change_place, _change_place, _change_entry)
