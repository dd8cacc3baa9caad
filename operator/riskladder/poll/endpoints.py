"""The endpoints that may be asked: the administrator's file. Whoever writes a binding names one, and no address."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from riskladder.api.base import DnsLabel, PositiveDuration

MAX_HEADERS = 16


class EndpointsError(Exception):
    """The file of endpoints cannot be used; the message says where, what was found, and what was expected."""


class Endpoint(BaseModel):
    """One server that answers Prometheus' HTTP API."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: DnsLabel
    url: Annotated[str, Field(max_length=2048, pattern=r"^https?://[^/?#\s@]+(/[^?#\s]*)?$")]
    """Base URL, without credentials, query or fragment; ``/api/v1/query`` is added."""
    caFile: Path | None = None  # noqa: N815 - as it is written in the file
    """Certificates to trust in place of the system's."""
    tokenFile: Path | None = None  # noqa: N815
    """Bearer token, read again for each query, since the kubelet rotates it."""
    headers: Annotated[dict[str, str], Field(max_length=MAX_HEADERS)] = Field(default_factory=dict)
    """Such as X-Scope-OrgID, which names the tenant."""
    timeout: PositiveDuration = Field("10s", validate_default=True)
    """For one query."""

    @model_validator(mode="after")
    def _no_credentials_in_the_clear(self) -> Endpoint:
        if self.tokenFile is not None and urlsplit(self.url).scheme != "https":
            raise ValueError("tokenFile needs an https url: a token is not sent in the clear")
        for name, value in self.headers.items():
            if name.lower() in ("authorization", "cookie", "host", "content-length", "content-type"):
                raise ValueError(f"headers: {name} cannot be set here; for a token, use tokenFile")
            if not (name.isascii() and name.isprintable() and value.isascii() and value.isprintable()):
                raise ValueError(f"headers: {name!r} holds what no header can carry")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    endpoints: Annotated[list[Endpoint], Field(min_length=1, max_length=64)]


def load(file: Path) -> dict[str, Endpoint]:
    """Return the endpoints of a file, by name.

    Raises:
        EndpointsError: It is missing, no YAML, or says what cannot be used.
    """
    try:
        content: Any = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise EndpointsError(f"{file}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise EndpointsError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    try:
        found = _File.model_validate(content).endpoints
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise EndpointsError(f"{file}: {where}: {first['msg']}") from error
    names = [endpoint.name for endpoint in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise EndpointsError(f"{file}: endpoints: {twice} is given twice")
    return {endpoint.name: endpoint for endpoint in found}
