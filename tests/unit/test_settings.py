"""The operator's settings: what is required, what is the default, and what is refused by its name."""

from __future__ import annotations

import dataclasses

import pytest

from sessionstore import settings

REQUIRED = {
    "SESSIONSTORE_OPERATOR_IMAGE": "operator:1",
    "SESSIONSTORE_REDIS_IMAGE": "redis:7.4",
    "POD_NAME": "sessionstore-0",
    "POD_NAMESPACE": "sessionstore",
}


def _read(**given: str) -> settings.OperatorSettings:
    return settings.OperatorSettings.from_environment({**REQUIRED, **given})


def test_what_is_required_is_enough_and_the_rest_has_its_default() -> None:
    assert _read() == settings.OperatorSettings("operator:1", "redis:7.4", "sessionstore-0", "sessionstore")


def test_each_promised_default_is_kept() -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(settings.OperatorSettings)}

    assert {name: value for name, value in defaults.items() if value is not dataclasses.MISSING} == {
        "image_pull_policy": "IfNotPresent",
        "watch_namespaces": (),
        "log_level": "INFO",
        "health_port": 8080,
        "workers": 4,
        "resync_s": 30.0,
        "lease_duration_s": 15.0,
    }


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("SESSIONSTORE_OPERATOR_IMAGE_PULL_POLICY", "Always", "image_pull_policy", "Always"),
        ("SESSIONSTORE_WATCH_NAMESPACES", "a", "watch_namespaces", ("a",)),
        ("SESSIONSTORE_WATCH_NAMESPACES", " a, b ,,", "watch_namespaces", ("a", "b")),
        ("SESSIONSTORE_LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("SESSIONSTORE_HEALTH_PORT", "9090", "health_port", 9090),
        ("SESSIONSTORE_WORKERS", "16", "workers", 16),
        ("SESSIONSTORE_RESYNC_SECONDS", "5", "resync_s", 5.0),
    ],
)
def test_each_variable_sets_its_field(variable: str, text: str, field: str, value: object) -> None:
    assert getattr(_read(**{variable: text}), field) == value


@pytest.mark.parametrize(
    "variable",
    [
        "SESSIONSTORE_OPERATOR_IMAGE_PULL_POLICY",
        "SESSIONSTORE_WATCH_NAMESPACES",
        "SESSIONSTORE_LOG_LEVEL",
        "SESSIONSTORE_HEALTH_PORT",
        "SESSIONSTORE_WORKERS",
        "SESSIONSTORE_RESYNC_SECONDS",
    ],
)
def test_an_empty_variable_is_as_one_that_is_not_set(variable: str) -> None:
    assert _read(**{variable: ""}) == _read()


@pytest.mark.parametrize(
    "absent",
    [pytest.param([name], id=name) for name in REQUIRED] + [pytest.param(list(REQUIRED), id="all of them")],
)
@pytest.mark.parametrize("how", ["not set", "empty"])
def test_all_that_is_missing_is_named_at_once(absent: list[str], how: str) -> None:
    given = {name: value for name, value in REQUIRED.items() if name not in absent}
    environ = given | (dict.fromkeys(absent, "") if how == "empty" else {})

    with pytest.raises(ValueError, match=r"; the chart does so, see docs/reference/settings\.md$") as refusal:
        settings.OperatorSettings.from_environment(environ)

    assert str(refusal.value).startswith(f"set {', '.join(absent)};")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("SESSIONSTORE_WORKERS", "0"),
        ("SESSIONSTORE_WORKERS", "-1"),
        ("SESSIONSTORE_WORKERS", "four"),
        ("SESSIONSTORE_WORKERS", "²"),
        ("SESSIONSTORE_RESYNC_SECONDS", "1.5"),
        ("SESSIONSTORE_RESYNC_SECONDS", "30s"),
        ("SESSIONSTORE_HEALTH_PORT", "http"),
        ("SESSIONSTORE_LOG_LEVEL", "LOUD"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_name(variable: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{variable}='{text}' is "):
        _read(**{variable: text})


def test_settings_do_not_change_while_the_process_runs() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        _read().workers = 8  # type: ignore[misc]
