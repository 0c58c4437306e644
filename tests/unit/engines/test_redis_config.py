"""Which redis.conf directives a manifest may add, and how they are written."""

from __future__ import annotations

import pytest

from sessionstore import errors
from sessionstore.apis.v1alpha1.reasons import Reason
from sessionstore.engines.redis import config

MUST_STAY_OURS = [
    "aclfile", "requirepass", "user", "dir", "bind", "port",
    "include", "loadmodule", "rename-command", "protected-mode", "appenddirname", "masterauth",
    "primaryauth", "replicaof", "slaveof", "maxmemory", "appendonly", "tls-port",
    "tls-cert-file", "cluster-enabled", "sentinel", "replica-announce-ip", "enable-debug-command", "unixsocket",
    "logfile", "daemonize",
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        pytest.param({}, (), id="none"),
        pytest.param({"maxclients": "200"}, ("maxclients 200",), id="one"),
        pytest.param({"timeout": "9", "hz": "50"}, ("hz 50", "timeout 9"), id="two, sorted"),
        pytest.param({"notify-keyspace-events": ""}, ('notify-keyspace-events ""',), id="an empty value"),
        pytest.param({"save": "3600 1 300 100"}, ("save 3600 1 300 100",), id="several words"),
        pytest.param({"appendfsync": "always"}, ("appendfsync always",), id="one that the operator also sets"),
    ],
)
def test_directives_that_tune_are_written(given, lines) -> None:
    assert config.extra_lines(given) == lines


@pytest.mark.parametrize("directive", sorted(config.REFUSED))
def test_a_directive_of_the_operators_is_refused_with_what_to_do_instead(directive) -> None:
    with pytest.raises(errors.SpecError) as refused:
        config.extra_lines({directive: "x"})

    assert refused.value.reason == Reason.CONFIG_REFUSED
    assert f"'{directive}'" in str(refused.value)
    assert config.REFUSED[directive] in str(refused.value)


@pytest.mark.parametrize(
    "directive",
    MUST_STAY_OURS,
)
def test_what_would_open_the_server_or_move_its_data_is_refused(directive) -> None:
    with pytest.raises(errors.SpecError, match="is not yours to set"):
        config.extra_lines({directive: "x"})


@pytest.mark.parametrize(
    "directive",
    [
        "REQUIREPASS",
        "Dir",
        "hz 10\nrequirepass",
        " hz",
        "hz ",
        "",
        "9hz",
        "hz\x00",
        "# hz",
        "user default on",
        "h" * 65,
    ],
)
def test_what_is_no_name_of_a_directive_is_refused(directive) -> None:
    with pytest.raises(errors.SpecError, match="is not the name of a directive"):
        config.extra_lines({directive: "1"})


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("10\nrequirepass x", id="line feed"),
        pytest.param("10\r\nrequirepass x", id="carriage return"),
        pytest.param("10\x0bx", id="vertical tab"),
        pytest.param("10\x00", id="nul"),
        pytest.param('"10', id="an open quote"),
        pytest.param("'10'", id="single quotes"),
        pytest.param("1\\n0", id="a backslash"),
        pytest.param(" 10", id="leading space"),
        pytest.param("10 ", id="trailing space"),
        pytest.param("1" * 1025, id="too long"),
    ],
)
def test_a_value_that_would_not_stay_on_its_line_is_refused(value) -> None:
    with pytest.raises(errors.SpecError, match="cannot be written as one line"):
        config.extra_lines({"hz": value})
