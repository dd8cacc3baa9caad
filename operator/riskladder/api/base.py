"""The ground the custom resources stand on: model base class, scalar types, cross-field rules and list semantics.

Everything here exists twice on purpose without being written twice: pydantic checks an object offline and in the
operator, and the same declaration becomes OpenAPI and CEL in the CustomResourceDefinition (see schema.py).
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from riskladder.api.foreign import cleaned

GROUP = "riskladder.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

DURATION_PATTERN = r"^([0-9]{1,5}d)?([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$"
DNS_LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
RFC3339_PATTERN = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}([.,]\d+)?(Z|[+-]\d{2}:\d{2})"

VALIDATIONS = "x-kubernetes-validations"
LIST_TYPE = "x-kubernetes-list-type"
LIST_MAP_KEYS = "x-kubernetes-list-map-keys"


@dataclass(frozen=True)
class Rule:
    """One cross-field rule in CEL, enforced by the API server at admission and offline by validation.py.

    Declare it in `Model.rules` (`self` is the object) or as `Annotated` metadata (`self` is the field's value).
    `message` is what a reader sees when `message_expression` is empty or fails; `field_path` points below `self`
    (`.decide.within`); `reason` is one of the API server's four (FieldValueInvalid, -Required, -Duplicate,
    -Forbidden). A rule that mentions `oldSelf` is a transition rule: it runs on updates only, never offline.
    """

    rule: str
    message: str
    message_expression: str = ""
    field_path: str = ""
    reason: str = "FieldValueInvalid"
    optional_old_self: bool = False

    @property
    def is_transition(self) -> bool:
        """Whether it compares with the old object, and so runs on updates only."""
        return re.search(r"\boldSelf\b", self.rule) is not None

    def to_schema(self) -> dict[str, Any]:
        """Return the entry of x-kubernetes-validations, with the API's defaults left out."""
        entry: dict[str, Any] = {"rule": self.rule, "message": self.message}
        if self.message_expression:
            entry["messageExpression"] = self.message_expression
        if self.field_path:
            entry["fieldPath"] = self.field_path
        if self.reason != "FieldValueInvalid":
            entry["reason"] = self.reason
        if self.optional_old_self:
            entry["optionalOldSelf"] = True
        return entry

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        json_schema = handler(schema)
        json_schema[VALIDATIONS] = [*json_schema.get(VALIDATIONS, []), self.to_schema()]
        return json_schema


@dataclass(frozen=True)
class SchemaExtension:
    """Adds x-kubernetes-* keywords to a field's schema."""

    keywords: tuple[tuple[str, Any], ...]

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        json_schema = handler(schema)
        json_schema.update({name: list(v) if isinstance(v, tuple) else v for name, v in self.keywords})
        return json_schema


def ListMap(*keys: str) -> SchemaExtension:  # noqa: N802 - reads as a type in annotations
    """Declare a list whose items are identified by `keys` (API names): server-side apply merges it item by item."""
    return SchemaExtension(((LIST_TYPE, "map"), (LIST_MAP_KEYS, keys)))


def ListSet() -> SchemaExtension:  # noqa: N802
    """Declare a list of scalars without duplicates: several managers may each own some of them."""
    return SchemaExtension(((LIST_TYPE, "set"),))


def AtomicList() -> SchemaExtension:  # noqa: N802
    """Declare a list that has one owner because the order of its items is the meaning."""
    return SchemaExtension(((LIST_TYPE, "atomic"),))


def AtomicMap() -> SchemaExtension:  # noqa: N802
    """Declare an object that is replaced as a whole, also by server-side apply: its fields belong together."""
    return SchemaExtension((("x-kubernetes-map-type", "atomic"),))


MULTI_LINE = "x-riskladder-multi-line"


def Lines() -> SchemaExtension:  # noqa: N802
    """Declare a text that may have several lines, and tabs in them; every other one is on one line."""
    return SchemaExtension(((MULTI_LINE, True),))


def WithoutRules() -> SchemaExtension:  # noqa: N802
    """Leave the CEL rules out below this field: what is copied from an admitted object must never be refused."""
    return SchemaExtension((("x-riskladder-without-rules", True),))


def _cleaned(value: Any) -> Any:
    """Return a tuple or map of texts, cleaned; the same object where it is none, or there is nothing to clean."""
    texts = value.values() if type(value) is dict else value
    if all(type(one) is not str or one.isprintable() for one in texts):
        return value
    if type(value) is dict:
        return {key: cleaned(one) if type(one) is str else one for key, one in value.items()}
    return tuple(cleaned(one) if type(one) is str else one for one in value)


_FIELDS: dict[frozenset[str], set[str]] = {}
"""Which fields an object was given, one for all that were given the same: of their own, such sets take as much memory
as the values. Nothing changes them, since models are immutable."""

MAX_FIELDS = 4096
"""So many such sets are kept; there are some hundred, unless somebody writes objects in order to have more."""


class Model(BaseModel):
    """An immutable piece of a custom resource; snake_case in Python, camelCase in the API.

    Unknown fields are ignored here because the API server prunes them; validation.py reports them for lint.
    """

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, validate_by_alias=True, validate_by_name=True, extra="ignore"
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _clean_texts(self) -> Self:
        """Clean every text, wherever it came from: what the operator writes must not be refused because of one."""
        values = self.__dict__
        for name, value in values.items():
            kind = type(value)
            if kind is str:
                if not value.isprintable():
                    values[name] = cleaned(value)
            elif (kind is tuple or kind is dict) and value:
                values[name] = _cleaned(value)
        given = self.__pydantic_fields_set__
        known = _FIELDS.setdefault if len(_FIELDS) < MAX_FIELDS else _FIELDS.get
        object.__setattr__(self, "__pydantic_fields_set__", known(frozenset(given), given))
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        json_schema = handler(schema)
        if cls.rules:
            handler.resolve_ref_schema(json_schema)[VALIDATIONS] = [rule.to_schema() for rule in cls.rules]
        return json_schema

    def to_api(self) -> dict[str, Any]:
        """Return the object as the API server takes it: camelCase, JSON types, absent instead of null."""
        return self.model_dump(by_alias=True, mode="json", exclude_none=True)


@lru_cache(maxsize=1024)
def _delta(text: str) -> timedelta:
    match = re.fullmatch(DURATION_PATTERN, text)
    if match is None or not text:
        raise ValueError(f"{text!r} is not a duration; expected for example 90s, 30m, 24h, 15d or 1h30m")
    days, hours, minutes, seconds = (int(part[:-1]) if part else 0 for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


class Duration(str):
    """A span of time as people write it: `90s`, `30m`, `24h`, `15d`, or `1h30m` (units in that order, d to s).

    The text is kept as written. A day is 24 hours. `delta` raises ValueError when the text was never validated and
    is not a duration.
    """

    __slots__ = ()

    @property
    def delta(self) -> timedelta:
        """The same as a timedelta."""
        return _delta(str(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(pattern=DURATION_PATTERN, min_length=2, max_length=24)
        return core_schema.no_info_after_validator_function(
            cls, text, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )


PositiveDuration = Annotated[
    Duration,
    Rule("self.matches('[1-9]')", "must be longer than zero, for example 30m"),
]


@lru_cache(maxsize=4096)
def _read_time(text: str) -> datetime | None:
    """Return the time that a text says, or ``None``: every pass reads the same few times of a status over again."""
    if re.fullmatch(RFC3339_PATTERN, text):
        with contextlib.suppress(ValueError, OverflowError):  # the 30th of February; year 9999 in a western zone
            return datetime.fromisoformat(text).astimezone(UTC)
    return None


def _parse_time(value: Any) -> datetime:
    found: datetime | None = None
    if isinstance(value, str):
        found = _read_time(value)
    elif isinstance(value, datetime) and value.tzinfo is UTC:
        found = value
    elif isinstance(value, datetime) and value.tzinfo is not None:
        with contextlib.suppress(OverflowError):
            found = value.astimezone(UTC)
    if found is None:
        raise ValueError("must be an RFC 3339 time with a zone, for example 2026-11-24T06:00:00Z")
    return found


def format_time(value: datetime) -> str:
    """Format a time as RFC 3339 in UTC with `Z`; six fractional digits (as eventTime and MicroTime demand) or none."""
    utc = value.astimezone(UTC).replace(tzinfo=None)
    return utc.isoformat(timespec="microseconds" if utc.microsecond else "seconds") + "Z"


Timestamp = Annotated[
    datetime,
    BeforeValidator(_parse_time),
    PlainSerializer(format_time, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A point in time, always aware and in UTC, to the microsecond."""

_IN_OUR_TIME = Rule(
    "self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('2200-01-01T00:00:00Z')",
    "must be in the years 2000 to 2199",
)
GivenTime = Annotated[Timestamp, _IN_OUR_TIME]
"""A time that people or monitors write, far enough from the ends of the calendar for any duration to be added.

The rule has a second reason: OpenAPI validation in the API server lets a list pass for a string with a format
(kube-openapi, typeValidator.Validate), and only a rule that reads the value refuses it.
"""
GivenDate = Annotated[date, _IN_OUR_TIME]
"""A date that people write; the same holds."""

DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL_PATTERN)]
"""RFC 1123 label: the names of tiers, roles, channels, sources, clocks and ladders (it becomes a label value)."""

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN_PATTERN)]
"""RFC 1123 subdomain: the name of a Kubernetes object."""

IndicatorName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z_]([-A-Za-z0-9_.]*[A-Za-z0-9_])?$")]
"""Name of a measurement as monitors write it, for example population_stability_index."""

KindName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Z][A-Za-z0-9]*$")]
ApiVersion = Annotated[
    str,
    Field(
        max_length=317, pattern=r"^(([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?v[a-z0-9]+)?$"
    ),
]
"""`apps/v1`, `v1`, or empty where the kind is known to the operator."""

LabelKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=317,
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
    ),
]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]
TimeZone = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9]+([/_+-][A-Za-z0-9]+)*$")]
"""The name of a time zone in the IANA database."""

SecretKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
Uid = Annotated[str, Field(min_length=1, max_length=128)]
Username = Annotated[str, Field(min_length=1, max_length=1024)]
Text = Annotated[str, Field(max_length=1024), Lines()]
UNIT_PATTERN = r"^([^\s\p{C}]([^\p{C}]*[^\s\p{C}])?)?$"
Unit = Annotated[str, Field(max_length=32, pattern=UNIT_PATTERN)]
"""Unit of a measurement as people write it, for example `%` or `ms`."""
LongText = Annotated[str, Field(max_length=4096), Lines()]
Sha256 = Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f]{64}$")]
MAX_EXACT_INTEGER = 2**53 - 1
"""Beyond it JSON implementations lose digits, and RFC 8785 (the form that records are hashed in) has no integers."""

Generation = Annotated[int, Field(ge=0, le=MAX_EXACT_INTEGER)]
Count = Annotated[int, Field(ge=0, le=MAX_EXACT_INTEGER)]

ReasonWord = Annotated[str, Field(max_length=64, pattern=r"^[A-Z][A-Za-z0-9]*$")]
"""A reason: one word, see reasons.py."""

SHARE_PATTERN = r"^([1-9][0-9]?|100)%$"
MOST_TARGETS = 10_000


def _parse_at_most(value: Any) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_TARGETS:
        return value
    if isinstance(value, str) and re.fullmatch(SHARE_PATTERN, value):
        return value
    raise ValueError(f"expected a number from 1 to {MOST_TARGETS}, or a share from 1% to 100%")


AtMost = Annotated[
    int | str,
    BeforeValidator(_parse_at_most),
    WithJsonSchema(
        {"x-kubernetes-int-or-string": True, "pattern": SHARE_PATTERN, "minimum": 1, "maximum": MOST_TARGETS}
    ),
]
"""A number of targets, or a share of them such as `30%`."""

HttpUrl = Annotated[
    str,
    Field(max_length=2048),
    Rule(
        "self.matches('^https?://[^/?#\\\\s]+[^\\\\s]*$')",
        "must be an http or https URL, for example https://host/path",
    ),
]
Link = Annotated[
    str,
    Field(max_length=2048),
    Rule(
        "self.matches('^[A-Za-z][A-Za-z0-9+.-]*:/[^\\\\s]+$') && !self.matches('^(?i)(javascript|vbscript|data):')",
        "must be a link with a scheme, for example https://host/path, s3://bucket/key or models:/name/3",
    ),
]
"""Where a person finds more: model card, lineage, report. Shown to readers, never fetched."""

FiniteNumber = Annotated[float, Field(allow_inf_nan=False)]
"""A JSON number. NaN and infinities have no JSON form and are refused."""
