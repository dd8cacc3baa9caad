"""What names a kind of object to the API server, and the URL paths of it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from riskladder.api.text import shared


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of the API server."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """``group/version``, or the version alone for the core group."""
        return shared(f"{self.group}/{self.version}") if self.group else self.version

    @property
    def title(self) -> str:
        """``plural.group``, as ``kubectl`` and RBAC name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of the collection, one object, or one of its subresources; every part is escaped."""
        path = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if namespace is not None:
            path += f"/namespaces/{_escaped(namespace)}"
        path += f"/{self.plural}"
        if name is not None:
            path += f"/{_escaped(name)}"
        return f"{path}/{_escaped(subresource)}" if subresource is not None else path


def _escaped(part: str) -> str:
    """Return one segment of a path, escaped; names that Kubernetes allows need no escaping, and skip it."""
    return part if part.replace("-", "").replace(".", "").isalnum() and part.isascii() else quote(part, safe="")
