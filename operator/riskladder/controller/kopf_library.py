"""Kopf, without the Kubernetes clients that it imports where they are installed, to recognise their objects.

It is given none of these. The clients and what they bring along take 9 MiB of the operator's memory.
"""

from __future__ import annotations

import sys

CLIENTS = ("kubernetes", "kubernetes_asyncio", "pykube")

loaded = {name: sys.modules[name] for name in CLIENTS if name in sys.modules}
sys.modules.update(dict.fromkeys(CLIENTS))  # type: ignore[arg-type]  # as if it were not installed
try:
    import kopf
    from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory
finally:
    for name in CLIENTS:
        del sys.modules[name]
    sys.modules.update(loaded)

__all__ = ["ResourceMemories", "ResourceMemory", "kopf"]
