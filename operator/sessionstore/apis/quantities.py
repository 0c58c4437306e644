"""Durations and quantities: from the text in a manifest to numbers. Pure.

The schema's patterns refuse what these functions cannot read, so that a user hears of it when the
manifest is applied; the functions read a little more, since they also read what Kubernetes wrote.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from typing import Annotated

from pydantic import Field, StringConstraints

from sessionstore.apis import meta

_UNIT_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"([0-9]{1,8})(ms|s|m|h|d|w)")

DURATION_PATTERN = "^([0-9]{1,8}(ms|s|m|h|d|w)){1,6}$"
DURATION_WORDS = "write a duration such as 90s, 15m, 1h30m or 7d (units: ms, s, m, h, d, w)"

Duration = Annotated[
    str,
    StringConstraints(min_length=2, max_length=40, pattern=DURATION_PATTERN),
    Field(json_schema_extra=meta.worded(DURATION_PATTERN, DURATION_WORDS)),
]
"""Text such as `15m` or `1h30m`."""

_SIZE_UNITS = "(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E)"
SIZE_PATTERN = f"^(0[.]0{{0,2}}[1-9][0-9]?|[1-9][0-9]{{0,14}}([.][0-9]{{1,3}})?){_SIZE_UNITS}?$"
SIZE_WORDS = "write a size above 0 such as 512Mi, 8Gi or 1.5Ti"

Size = Annotated[
    str,
    StringConstraints(min_length=1, max_length=24, pattern=SIZE_PATTERN),
    Field(json_schema_extra=meta.worded(SIZE_PATTERN, SIZE_WORDS)),
]
"""An amount of storage, such as `8Gi`."""

_QUANTITY = re.compile(r"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)(?:([KMGTPE]i)|([numkMGTPE])|[eE]([+-]?[0-9]{1,3}))?")
_DECIMAL_EXPONENT = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_EXPONENT = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def parse_duration_s(text: str) -> float:
    """Return the seconds of a duration such as `15m` or `1h30m`; `0s` is 0.

    Raises: ValueError for anything else; the message says how to write one.
    """
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration; {DURATION_WORDS}")
    return float(sum(int(number) * _UNIT_S[unit] for number, unit in parts))


def parse_quantity_bytes(text: str) -> int:
    """Return the bytes of a Kubernetes quantity, rounded up to whole ones, as Kubernetes does.

    Raises: ValueError for what is not a quantity, or is below 0.
    Source: the grammar in the comment on Quantity, k8s.io/apimachinery/pkg/api/resource/quantity.go.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or match[1] == "-":
        raise ValueError(f"{text!r} is not a quantity of bytes; {SIZE_WORDS}")
    number = Decimal(match[2])
    if match[3]:
        number *= 2 ** _BINARY_EXPONENT[match[3]]
    else:
        number = number.scaleb(int(match[5]) if match[5] else _DECIMAL_EXPONENT.get(match[4] or "", 0))
    return int(number.to_integral_value(ROUND_CEILING))
