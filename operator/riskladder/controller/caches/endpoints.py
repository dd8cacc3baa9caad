"""What EndpointSlices list: which endpoints traffic may go to, and whose their addresses are, whatever a slice says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

Object = Mapping[str, Any]

Name = tuple[str, str]
"""Namespace and name."""


def serves(conditions: Object) -> bool:
    """Return whether traffic may go to an endpoint: where one of the conditions says so, it does, and unknown is yes.

    Where none is ready, kube-proxy sends it to those that serve while they terminate. A Service that publishes
    addresses that are not ready has them listed as ready, whatever they serve.
    Source: discovery/v1 EndpointConditions, KEP-1669 (proxy terminating endpoints), pkg/proxy/topology.go.
    """
    ready, serving = conditions.get("ready"), conditions.get("serving")
    is_ending = conditions.get("terminating") is True
    return ready is not False or serving is True or (is_ending and serving is not False)


def pod_of(endpoint: Object) -> str:
    """Return the name of the pod that an endpoint says it is; empty where it names none."""
    of = endpoint.get("targetRef") or {}
    return str(of.get("name") or "") if of.get("kind") == "Pod" else ""


class ListedAddresses:
    """The addresses that slices list and that are not of the pod that they name.

    Traffic goes by addresses alone. A controller writes the address of the pod that it names; somebody who writes a
    slice by hand may name none, or another one. Where a slice comes before its pod, the pod ends that.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._of_slice: dict[Name, dict[str, str]] = {}
        """By slice: such addresses, each with the pod that is named, or none."""
        self._listing: dict[Name, set[Name]] = {}
        """By namespace and address: the slices."""
        self._pods: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
        """By namespace, by address: the names of the pods that have it."""

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._of_slice)

    def put_pod(self, namespace: str, pod: str, before: Iterable[str], now: Iterable[str]) -> None:
        """Note the addresses of a pod, in place of those that it had before."""
        pods = self._pods[namespace]
        for address in before:
            if left := tuple(name for name in pods.get(address, ()) if name != pod):
                pods[address] = left
            else:
                pods.pop(address, None)
        for address in now:
            pods[address] = (*pods.get(address, ()), pod)
            for by in list(self._listing.get((namespace, address), ())):
                if self._of_slice[by][address] == pod:
                    self._forget(by, address)
        if not pods:
            del self._pods[namespace]

    def put_slice(self, name: Name, endpoints: Iterable[tuple[str, Iterable[Any]]]) -> set[str]:
        """Note what a slice lists now; return the addresses of which something has changed.

        Args:
            name: Of the slice.
            endpoints: Those that traffic may go to: the pod that each names, and its addresses.
        """
        pods = self._pods.get(name[0], {})
        listed = {
            address: pod
            for pod, addresses in endpoints
            for address in map(str, addresses)
            if pod not in pods.get(address, ())
        }
        before = set(self._of_slice.get(name, ()))
        for address in before:
            self._forget(name, address)
        if listed:
            self._of_slice[name] = listed
        for address in listed:
            self._listing.setdefault((name[0], address), set()).add(name)
        return before ^ listed.keys()

    def _forget(self, by: Name, address: str) -> None:
        del self._of_slice[by][address]
        if not self._of_slice[by]:
            del self._of_slice[by]
        self._listing[by[0], address].discard(by)
        if not self._listing[by[0], address]:
            del self._listing[by[0], address]

    def pods_at(self, namespace: str, addresses: Iterable[str]) -> list[str]:
        """Return the names of the pods that have one of these addresses, each once."""
        pods = self._pods.get(namespace, {})
        return list(dict.fromkeys(pod for address in addresses for pod in pods.get(address, ())))

    def listed_by(self, slices: Iterable[Name]) -> set[str]:
        """Return such addresses of some slices."""
        return {address for name in slices for address in self._of_slice.get(name, ())}

    def has_any_of(self, namespace: str, addresses: Collection[str]) -> bool:
        """Return whether a slice of a namespace lists one of these addresses so."""
        return bool(self._listing) and any((namespace, address) in self._listing for address in addresses)

    def of(self, namespace: str) -> frozenset[str]:
        """Return all such addresses of a namespace."""
        return frozenset(address for of, address in self._listing if of == namespace)
