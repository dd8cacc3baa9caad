"""JSON schemas of the kinds that are installed, of every version of Kubernetes that is promised.

``python -m tests.charts.schemas`` makes ``kubernetes/*.json`` of the OpenAPI documents in the Go module
k8s.io/kubernetes, 20 MB for each version, verified by Go's checksum database. The tests only read them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests import yaml_text
from tests.cluster.build import cache_directory, print_progress
from tests.cluster.gotool import environment, find_go
from tests.cluster.install import ROOT

DIRECTORY = Path(__file__).parent / "kubernetes"
MODULE = "k8s.io/kubernetes"
VERSIONS = ("1.30.14", "1.31.14", "1.32.13", "1.33.13", "1.34.5", "1.35.4", "1.36.3")
DOCUMENT = "api/openapi-spec/swagger.json"

KINDS = frozenset(
    {
        *("ClusterRole", "ClusterRoleBinding", "ConfigMap", "CustomResourceDefinition", "Deployment", "FlowSchema"),
        *("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "Namespace", "NetworkPolicy", "Pod"),
        *("PodDisruptionBudget", "PriorityLevelConfiguration", "ResourceQuota", "Role", "RoleBinding", "Service"),
        *("ServiceAccount", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
    }
)

Schema = dict[str, Any]
REFERENCE = "#/definitions/"
KEPT = ("type", "properties", "required", "items", "additionalProperties", "enum", "$ref")
EITHER = {"type": ["string", "integer", "number"]}
"""Of quantities and of what is a number or a name."""


def reduced(document: Schema) -> Schema:
    """Return the definitions of our kinds, and of what these refer to, without any text."""
    definitions = document["definitions"]
    found: dict[str, Schema] = {}
    kinds: dict[str, str] = {}
    waiting = []
    for name, definition in definitions.items():
        for entry in definition.get("x-kubernetes-group-version-kind", ()):
            if entry["kind"] in KINDS:
                api_version = "/".join(part for part in (entry["group"], entry["version"]) if part)
                kinds[f"{api_version} {entry['kind']}"] = name
                waiting.append(name)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _reduced(definitions[name]) if not name.endswith(".Quantity") else EITHER
            waiting += [reference.removeprefix(REFERENCE) for reference in _references(found[name])]
    return {"kinds": dict(sorted(kinds.items())), "definitions": dict(sorted(found.items()))}


def _reduced(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node.get("format") == "int-or-string":
        return EITHER
    kept = {key: node[key] for key in KEPT if key in node}
    for key in ("items", "additionalProperties"):
        if key in kept:
            kept[key] = _reduced(kept[key])
    if "properties" in kept:
        kept["properties"] = {name: _reduced(value) for name, value in kept["properties"].items()}
        kept["additionalProperties"] = False
    return kept


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)


def write_schemas(directory: Path) -> None:
    """Write a schema for each kind of each version, as kubeconform looks for them, and those of our own kinds."""
    for version in VERSIONS:
        stored = json.loads((DIRECTORY / f"v{version}.json").read_text("utf-8"))
        target = directory / f"v{version}"
        target.mkdir()
        for title, name in stored["kinds"].items():
            api_version, kind = title.split()
            schema = {"definitions": stored["definitions"], "$ref": f"{REFERENCE}{name}"}
            (target / file_name(api_version, kind)).write_text(json.dumps(schema))
        for file in (ROOT / "crds").glob("*.yaml"):
            spec = yaml_text.load(file.read_text("utf-8"))["spec"]
            for each in spec["versions"]:
                schema = _strict(each["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}
                name = file_name(f"{spec['group']}/{each['name']}", spec["names"]["kind"])
                (target / name).write_text(json.dumps(schema))


def file_name(api_version: str, kind: str) -> str:
    """Return the name of a schema in kubeconform's template ``{{.ResourceKind}}{{.KindSuffix}}.json``."""
    group, _, version = api_version.rpartition("/")
    return "-".join(part for part in (kind.lower(), group.partition(".")[0], version) if part) + ".json"


def _strict(node: Any) -> Any:
    """Return the schema of a kind in which unknown fields are an error."""
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: _strict(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict):
        found["properties"] = {name: _strict(value) for name, value in node["properties"].items()}
        found.setdefault("additionalProperties", False)
    return found


def _download(version: str) -> Schema:
    with TemporaryDirectory() as home:
        done = subprocess.run(
            [find_go(cache_directory(), print_progress), "mod", "download", "-json", f"{MODULE}@v{version}"],
            cwd=home,
            env=environment() | {"GOMODCACHE": home, "GOFLAGS": "-modcacherw"},
            capture_output=True,
            text=True,
            check=False,
        )
        answer = json.loads(done.stdout or "{}")
        if done.returncode != 0:
            sys.exit(f"{MODULE} {version} could not be downloaded: {answer.get('Error') or done.stderr}")
        with zipfile.ZipFile(answer["Zip"]) as archive:
            document: Schema = json.loads(archive.read(f"{MODULE}@v{version}/{DOCUMENT}"))
        print_progress(f"{MODULE} {version}: {answer['Sum']}")
        return reduced(document) | {"source": f"{MODULE} v{version} {answer['Sum']}"}


def main() -> None:
    """Make the files anew."""
    DIRECTORY.mkdir(exist_ok=True)
    for version in VERSIONS:
        text = json.dumps(_download(version), sort_keys=True, separators=(",", ":"))
        (DIRECTORY / f"v{version}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
