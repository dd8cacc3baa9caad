"""Everything that is generated of the charts: templates, values.yaml, its schema, and the table in the README."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from riskladder import __version__
from riskladder.api.kinds import KINDS
from riskladder.generate import crd
from riskladder.generate.helm.sources import MANIFESTS, Sources, read_sources
from riskladder.generate.helm.templates import WORKLOADS, crd_template, templates
from riskladder.generate.helm.values import ChartValues, CrdValues, values_model, workload_defaults
from riskladder.generate.text import HEADER, WIDTH, dump, load

CHART, CRDS = "riskladder", "riskladder-crds"
OLDEST_KUBERNETES = "1.30"
BEGIN, END = "<!-- The values, generated -->\n", "<!-- The end of what is generated -->\n"
SOURCE = "generate/helm"
COMPONENTS = f"{MANIFESTS}/components"


def files(root: Path, generated: Mapping[Path, str]) -> dict[Path, str]:
    """Return the generated files of both charts.

    Args:
        root: The checkout. Without manifests in it, there are no charts.
        generated: Files that are generated of the same run, which count in place of those that are there.

    Raises:
        ValueError: The manifests have something that no template can be made of.
    """
    if not (root / MANIFESTS / "base" / "kustomization.yaml").is_file():
        return {}

    def read(path: str) -> str:
        return generated.get(root / path) or (root / path).read_text("utf-8")

    written = (root / COMPONENTS).glob("*/kustomization.yaml")
    found = {path.relative_to(root / COMPONENTS).parts[0] for path in written}
    found |= {
        path.relative_to(root / COMPONENTS).parts[0] for path in generated if path.is_relative_to(root / COMPONENTS)
    }
    names = sorted(name for name in found if root / COMPONENTS / name / "kustomization.yaml" in generated)
    names += sorted(found - set(names))  # Those with objects of their own come last.
    sources = read_sources(read, names)
    values = _values(sources)
    charts = root / "charts"
    texts = {
        charts / CHART / "Chart.yaml": _chart(),
        **_about_values(charts / CHART, values),
        charts / CRDS / "Chart.yaml": _crds_chart(),
        **_about_values(charts / CRDS, CrdValues()),
    }
    for name, text in templates(sources).items():
        texts[charts / CHART / "templates" / name] = text
    for kind in KINDS.values():
        document = crd.crd(kind)
        document["metadata"]["labels"] |= sources.labels
        texts[charts / CRDS / "templates" / f"{kind.plural}.yaml"] = crd_template(document, "operator/riskladder/api")
    return texts


def _values(sources: Sources) -> ChartValues:
    """Return the default values: what the manifests have, and what the models say."""
    defaults: dict[str, Any] = {
        values: workload_defaults(sources.find("Deployment", name)) for name, values in WORKLOADS.items()
    }
    for name, values in WORKLOADS.items():
        if values != "console":
            defaults[values]["replicas"] = sources.find("Deployment", name)["spec"]["replicas"]
    endpoints = sources.find("ConfigMap", "riskladder-poll")["data"]["endpoints.yaml"]
    defaults["poll"] |= load(endpoints)
    defaults["console"] |= sources.find("ConfigMap", "riskladder-console")["data"]
    return values_model(sources.components).model_validate(defaults)


# --- Chart.yaml -------------------------------------------------------------------------------------------------------


def _head(name: str, description: str) -> dict[str, Any]:
    return {
        "apiVersion": "v2",
        "name": name,
        "description": description,
        "type": "application",
        "version": __version__,
        "appVersion": __version__,
        "kubeVersion": f">={OLDEST_KUBERNETES}.0-0",  # -0: versions of vendors, such as v1.33.2-gke.100
    }


def _chart() -> str:
    dependency = {
        "name": CRDS,
        "alias": "crds",
        "version": __version__,
        "repository": f"file://../{CRDS}",
        "condition": "crds.enabled",
    }
    description = "A Kubernetes operator that turns a model-risk policy into something the cluster enforces"
    return HEADER.format(source=SOURCE) + dump(_head(CHART, description) | {"dependencies": [dependency]})


def _crds_chart() -> str:
    return HEADER.format(source=SOURCE) + dump(_head(CRDS, "The kinds of Riskladder"))


# --- Values -----------------------------------------------------------------------------------------------------------


def _about_values(chart: Path, values: BaseModel) -> dict[Path, str]:
    head = f"{HEADER.format(source=f'{SOURCE}/values.py')}\n"
    texts = {
        chart / "values.yaml": head + "".join(f"{line}\n" for line in _lines(values)),
        chart / "values.schema.json": json.dumps(_schema(type(values)), indent=2) + "\n",
    }
    readme = chart / "README.md"
    before, begin, rest = (readme.read_text("utf-8") if readme.is_file() else "").partition(BEGIN)
    if not begin:
        before, rest = f"{before}\n", END
    _, end, after = rest.partition(END)
    table = "".join(f"| `{path}` | {default} | {about} |\n" for path, default, about in _rows(values))
    texts[readme] = f"{before}{BEGIN}| Value | Default | |\n|---|---|---|\n{table}{end or END}{after}"
    return texts


def _about(model: BaseModel, name: str) -> str:
    """Return what a value is: its own description, else that of its model."""
    field = type(model).model_fields[name]
    value = getattr(model, name)
    return (
        " ".join(field.description.split())
        if field.description
        else (" ".join((type(value).__doc__ or "").split()) if isinstance(value, BaseModel) else "")
    )


def _lines(model: BaseModel, indent: int = 0) -> Iterator[str]:
    """Yield the lines of values.yaml, with a comment on each value."""
    pad = " " * indent
    for name in type(model).model_fields:
        value = getattr(model, name)
        if not indent and name != next(iter(type(model).model_fields)):
            yield ""
        yield from textwrap.wrap(
            _about(model, name), WIDTH, initial_indent=f"{pad}# ", subsequent_indent=f"{pad}# ", break_on_hyphens=False
        )
        if isinstance(value, BaseModel):
            yield f"{pad}{name}:"
            yield from _lines(value, indent + 2)
        else:
            yield from textwrap.indent(dump({name: _bare(value)}), pad).splitlines()


def _rows(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield path, default and description of each value."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _rows(value, f"{prefix}{name}.")
        else:
            text = json.dumps(_bare(value))
            default = f"`{text}`" if len(text) <= 60 else "see `values.yaml`"
            yield f"{prefix}{name}", default, _about(model, name)


def _bare(value: Any) -> Any:
    """Return a value as plain YAML, without what it does not set."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    return [_bare(item) for item in value] if isinstance(value, list) else value


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of the values, in the draft that every Helm 3 and 4 knows.

    Helm itself puts ``global`` into the values of a chart and of its dependencies.
    """
    schema = model.model_json_schema()
    anything = {"type": "object"}
    schema["properties"]["global"] = anything
    dependency = schema.get("$defs", {}).get("CustomResourceDefinitions")
    if dependency:
        dependency["properties"]["global"] = anything
    return {"$schema": "http://json-schema.org/draft-07/schema#", **_tidied(schema, names=False)}


def _tidied(node: Any, *, names: bool) -> Any:
    """Return a schema without titles, and without defaults, which are in values.yaml.

    Under ``names``, keys are names of values.
    """
    if isinstance(node, list):
        return [_tidied(item, names=False) for item in node]
    if not isinstance(node, dict):
        return " ".join(node.split()) if isinstance(node, str) else node
    return {
        key: _tidied(value, names=not names and key in ("properties", "$defs"))
        for key, value in node.items()
        if names or key not in ("title", "default", "format")
    }
