"""Key names and buckets are for ever: these are the documented ones, spelled out."""

from __future__ import annotations

import re

import pytest

from sessionstore.sessions import ConfigurationError, layout

NAMES = layout.KeyNames("chat")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (NAMES.meta, "sst:chat:meta"),
        (NAMES.entry("main", "agent:main:main"), "sst:chat:{b31}:e:main:agent:main:main"),
        (NAMES.transcript("main", "agent:main:main", "ID"), "sst:chat:{b31}:t:ID:main:agent:main:main"),
        (NAMES.lease("main", "agent:main:main"), "sst:chat:{b31}:l:main:agent:main:main"),
        (NAMES.index(7), "sst:chat:{b7}:i"),
        (NAMES.archived(7), "sst:chat:{b7}:ia"),
        (NAMES.expiring(7), "sst:chat:{b7}:z"),
        (NAMES.feed(7), "sst:chat:{b7}:f"),
        (NAMES.archives(7), "sst:chat:{b7}:a"),
        (NAMES.documents, "sst:chat:d"),
        (NAMES.document("migration/home/report"), "sst:chat:d:migration/home/report"),
    ],
)
def test_a_key_name_is_the_documented_one(name: str, expected: str) -> None:
    assert name == expected


def test_the_hash_tag_is_the_bucket_whatever_braces_a_key_holds() -> None:
    name = NAMES.entry("main", "{user}:}{")
    tag = re.search(r"\{([^}]*)\}", name)
    assert tag is not None
    assert tag.group(1) == f"b{layout.bucket_of('main', '{user}:}{')}"


def test_buckets_are_all_used() -> None:
    assert {layout.bucket_of("main", f"k{number}") for number in range(2000)} == set(range(layout.BUCKETS))


@pytest.mark.parametrize("name", ["k", "agent:main:x", ":", "a:b:c"])
def test_a_member_is_split_where_the_agent_ends(name: str) -> None:
    assert layout.split_member(layout.member("main", name)) == ("main", name)


@pytest.mark.parametrize("keyspace", ["a", "chat", "chat-2", "0", "a" * 63])
def test_a_dns_label_is_a_keyspace(keyspace: str) -> None:
    assert layout.key_pattern(keyspace) == f"sst:{keyspace}:*"


@pytest.mark.parametrize("keyspace", ["", "-a", "a-", "A", "a.b", "a:b", "a*", "a{b}", "a" * 64, "ü", "a\n"])
def test_anything_else_is_none(keyspace: str) -> None:
    with pytest.raises(ConfigurationError, match="DNS label"):
        layout.check_keyspace(keyspace)


def test_rights_are_single_commands_and_nothing_wider() -> None:
    assert len(set(layout.GATEWAY_COMMANDS)) == len(layout.GATEWAY_COMMANDS)
    assert all(re.fullmatch(r"\+[a-z]+(\|[a-z]+)?", rule) for rule in layout.GATEWAY_COMMANDS)
