"""The manifests on a real API server: accepted, least-privileged, and refusing what they promise to refuse."""

from __future__ import annotations

import copy
import itertools
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from riskladder.cluster import manifests
from riskladder.cluster.rbac import NAMESPACED, OWN_NAMESPACE
from tests.cluster import ControlPlane
from tests.cluster.install import FIELD_MANAGER, NAMESPACE, ROOT, kubectl, render
from tests.refusals import DOCUMENTS, Document

OVERLAYS = ("default", "development", "namespaced")
OPERATOR = f"system:serviceaccount:{NAMESPACE}:riskladder"
MERGE = "application/merge-patch+json"
DEADLINE_SECONDS = 30.0

RBAC_API = "/apis/rbac.authorization.k8s.io/v1"
POLICY_API = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
PLURALS = {"Escalation": "escalations", "EscalationRecord": "escalationrecords", "ModelRiskSignal": "modelrisksignals"}


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    body: Document
    headers: Mapping[str, str]

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))

    def refused_by(self, policy: str, *words: str) -> bool:
        """Refused by this policy, with these words for whoever reads it."""
        return (
            self.code == 403
            and f"ValidatingAdmissionPolicy '{policy}'" in self.message
            and all(word in self.message for word in words)
        )


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who sends requests: a connection, and perhaps whom it impersonates."""

    api: client.ApiClient
    headers: Mapping[str, str] = field(default_factory=dict)

    def request(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Answer:
        headers = {"Content-Type": content, "Accept": "application/json", **self.headers}
        if token := self.api.configuration.get_api_key_with_prefix("authorization"):
            headers["Authorization"] = token
        response = self.api.rest_client.pool_manager.request(
            method,
            self.api.configuration.host + path,
            body=None if body is None else json.dumps(body),
            headers=headers,
        )
        return Answer(response.status, json.loads(response.data), response.headers)

    def create(self, namespace: str, document: Document) -> Answer:
        body = {**document, "metadata": {**document["metadata"], "namespace": namespace}}
        return self.request("POST", path(namespace, document), body)

    def merge(self, namespace: str, document: Document, patch: Document, subresource: str = "") -> Answer:
        return self.request("PATCH", path(namespace, document, subresource), patch, MERGE)

    def may(self, verb: str, resource: str, namespace: str = "", name: str = "", group: str = "") -> bool:
        plural, _, subresource = resource.partition("/")
        wanted = {"verb": verb, "group": group, "resource": plural, "subresource": subresource, "name": name}
        answer = self.request(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            {"spec": {"resourceAttributes": {**wanted, "namespace": namespace}}},
        )
        return bool(answer.body["status"]["allowed"])


def path(namespace: str, document: Document, subresource: str = "", *, collection: bool = False) -> str:
    """Path of an object; of its collection when there is no other way to say it, or for a POST."""
    base = f"/apis/riskladder.dev/v1alpha1/namespaces/{namespace}/{PLURALS[document['kind']]}"
    if collection:
        return base
    return "/".join(part for part in (base, document["metadata"]["name"], subresource) if part)
