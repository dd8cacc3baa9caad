"""Write kubeconfig files that need no other file: certificates and keys are inside."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.certs import KeyPair


def write_kubeconfig(file: Path, *, cluster: str, server: str, ca: bytes, user: str, pair: KeyPair) -> Path:
    """Write a kubeconfig of one context, readable by its owner only, and return its path."""
    context = f"{user}@{cluster}"
    write_private(
        file,
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": cluster, "cluster": {"server": server, "certificate-authority-data": _base64(ca)}},
            ],
            "users": [
                {
                    "name": user,
                    "user": {
                        "client-certificate-data": _base64(pair.certificate),
                        "client-key-data": _base64(pair.key),
                    },
                }
            ],
            "contexts": [{"name": context, "context": {"cluster": cluster, "user": user}}],
            "current-context": context,
        },
    )
    return file


def write_private(file: Path, content: dict[str, Any]) -> None:
    """Write YAML to a file that only its owner may read, from its first byte on."""
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(content, sort_keys=False))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
