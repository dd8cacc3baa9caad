"""A real API server, spoken to in raw requests: the texts under test reach it as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from kubernetes import config

from riskladder.api.base import GROUP, VERSION
from riskladder.api.kinds import KINDS
from tests.refusals.documents import Document


@dataclass(frozen=True)
class Answer:
    """What the API server said: its status code, and the object or Status."""

    code: int
    body: Document

    @property
    def causes(self) -> list[tuple[str, str]]:
        """The fields it refuses and why."""
        causes = self.body.get("details", {}).get("causes", ())
        return [(cause.get("field", ""), cause["message"]) for cause in causes]


class Server:
    """Raw requests by an administrator, under the operator's name where that alone may write.

    For the admission policies, where another test has installed them, let nobody else write escalations and statuses,
    and the operator nothing else: only the schema is to stand in the way.
    """

    _IS_THE_OPERATORS: ClassVar[re.Pattern[str]] = re.compile(
        r"/(escalations|escalationrecords|containmentindexes)(/|\?|$)|/status(\?|$)"
    )

    _OPERATOR: ClassVar[Mapping[str, str]] = {
        "Impersonate-User": "system:serviceaccount:riskladder-system:riskladder",
        "Impersonate-Group": "system:masters",
    }

    def __init__(self, kubeconfig: Path) -> None:
        self.api = config.new_client_from_config(str(kubeconfig))
        self.namespace = ""

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content: str = "application/json",
        accept: str = "application/json",
    ) -> Answer:
        as_operator = self._OPERATOR if self._IS_THE_OPERATORS.search(path) else {}
        headers = {"Accept": accept, "Content-Type": content, **as_operator}
        headers |= {auth["key"]: auth["value"] for auth in self.api.configuration.auth_settings().values()}
        text = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        url = self.api.configuration.host + path
        response = self.api.rest_client.pool_manager.request(method, url, body=text, headers=headers)
        try:
            return Answer(response.status, json.loads(response.data))
        except ValueError:
            return Answer(response.status, {"message": response.data.decode()})

    def caller(self) -> Document:
        """Return whom the API server takes us for, as spec.decidedBy of a decision has it."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        user = self.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review).body["status"][
            "userInfo"
        ]
        return {key: user[key] for key in ("username", "uid", "groups") if key in user}

    def path(self, kind: str, name: str = "", query: str = "", subresource: str = "") -> str:
        parts = [f"/apis/{GROUP}/{VERSION}/namespaces/{self.namespace}/{KINDS[kind].plural}", name, subresource]
        return "/".join(part for part in parts if part) + (f"?{query}" if query else "")

    def create(self, document: Mapping[str, Any], query: str = "") -> Answer:
        kind = document["kind"]
        placed = {**document, "metadata": {**document["metadata"], "namespace": self.namespace}}
        if kind == "EscalationRecord":  # the policies, where they are installed, let it name no other namespace
            found = self.request("GET", f"/api/v1/namespaces/{self.namespace}").body
            placed["spec"] = {**document["spec"], "namespaceUid": found["metadata"]["uid"]}
        return self.request("POST", self.path(kind, query=query), placed)

    def apply(self, document: Mapping[str, Any], manager: str, query: str = "") -> Answer:
        path = self.path(document["kind"], document["metadata"]["name"], f"fieldManager={manager}&{query}")
        return self.request("PATCH", path, document, content="application/apply-patch+yaml")

    def patch(self, kind: str, name: str, operations: list[Document], subresource: str = "") -> Answer:
        path = self.path(kind, name, subresource=subresource)
        return self.request("PATCH", path, operations, content="application/json-patch+json")

    def row(self, kind: str, name: str, operations: list[Document], subresource: str = "") -> dict[str, Any]:
        """The row that kubectl shows of an object, by column, as it is right after a patch."""
        path = self.path(kind, name, subresource=subresource)
        content, accept = "application/json-patch+json", "application/json;as=Table;v=v1;g=meta.k8s.io"
        answer = self.request("PATCH", path, operations, content=content, accept=accept)
        assert answer.code == 200, answer.body["message"]
        columns = [column["name"].upper() for column in answer.body["columnDefinitions"]]
        return dict(zip(columns, answer.body["rows"][0]["cells"], strict=True))
