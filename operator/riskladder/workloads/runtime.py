"""What every serving runtime has to say: one small adapter each, chosen by the kind of the target.

An adapter holds no state and does no I/O: stored objects in, facts and JSON Patches out. Whatever two runtimes do alike
is in ``replicas``; what one lacks it says as ``Impossible``, with the reason for people.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from riskladder.api.resource import Resource
from riskladder.workloads.facts import JsonPatch, Revision, Workload
from riskladder.workloads.grant import Grant

Object = Mapping[str, Any]
"""An object as the API server stores it."""


@dataclass(frozen=True, slots=True)
class Write:
    """One PATCH: of the object, or of one of its subresources."""

    patch: JsonPatch
    subresource: str | None = None


@dataclass(frozen=True, slots=True)
class Impossible:
    """Why something cannot be done."""

    why: str


@dataclass(frozen=True, slots=True)
class Proof:
    """How far a containment has got; each step needs the one before it."""

    applied: bool
    """The write that contains has been accepted by the API server."""
    endpoints_empty: bool
    """No EndpointSlice lists a ready pod of what was contained."""
    pods_gone: bool
    """No pod of what was contained may still answer, and the controller has seen the write."""
    clear: bool
    """Nothing of what was contained is to be seen, whatever the controller has seen: a proof once given holds on."""
    left: str
    """What is still there, for people."""
    shown: str = "no ready endpoint and no pod of it is left"
    """What shows that nothing is left, for people."""


@runtime_checkable
class Settling(Protocol):
    """A runtime where a containment takes a second write, after the one that contains, before it can be proved."""

    def settle(self, workload: Workload, wanted: str | None) -> Write | None:
        """What is still to be told to its controller, if anything, and if the time has come.

        Args:
            workload: As it was seen, contained.
            wanted: Hash of the revision that was gone back to; ``None`` for a stop.
        """


class Runtime(Protocol):
    """How workloads of one kind are read, stopped, rolled back, proved and restored."""

    @property
    def resource(self) -> Resource:
        """The kind."""

    @property
    def component(self) -> str:
        """Name of the kustomize component, and of ``--enable``, that turns it on; empty: always on."""

    @property
    def history(self) -> Resource | None:
        """Objects that hold the pod templates of earlier revisions, if the runtime keeps any."""

    @property
    def by_labels(self) -> bool:
        """Whether its pods are told by their labels (``Workload.pod_labels``), not by who controls them."""

    @property
    def permissions(self) -> tuple[Grant, ...]:
        """What the operator must be allowed for it, beyond what it always is."""

    @property
    def level(self) -> str:
        """CEL: how much of it is asked to run, of ``object``: 0 is stopped. The lock refuses to raise it."""

    @property
    def is_switch(self) -> bool:
        """Whether it runs or does not, without a number of replicas that is asked for (and without ``/scale``)."""

    @property
    def content(self) -> str:
        """CEL: what a rollback puts back, of ``object``. The lock refuses to change it; empty: no rollback."""

    def read(self, obj: Object) -> Workload:
        """The facts of a stored object; history, pods and endpoints are joined by the cache."""

    def stop(self, workload: Workload) -> Write | Impossible:
        """Have nothing of it run, only if it is still the object and as it was seen (a compare-and-swap)."""

    def stopping(self, workload: Workload) -> str:
        """What ``stop`` does, for people: for example ``scale from 3 to 0``."""

    def restore(self, workload: Workload, replicas: int, fields: Mapping[str, str | None]) -> Write:
        """Give back what a stop took away, if nobody has asked for anything else meanwhile.

        Args:
            workload: As it was seen.
            replicas: How many to ask for.
            fields: ``Workload.fields`` as they were before.
        """

    def rollback_target(
        self, workload: Workload, *, quarantined: str, known_good: Collection[str], breached: Collection[str] = ()
    ) -> Revision | Impossible:
        """The revision to go back to; never the quarantined one.

        Args:
            workload: The workload with its history.
            quarantined: Hash of the breached revision.
            known_good: Hashes that were live while readings were at baseline.
            breached: Hashes that an escalation was about: none of them is gone back to, unless it is known to be good.
        """

    def roll_back(self, live: Object, old: Object | None, to: Revision) -> Write:
        """Put a revision back, only if the object is as it was read.

        Args:
            live: The object as it is stored.
            old: The stored object of ``history`` that holds the revision.
            to: The revision.
        """

    def prove_stopped(self, workload: Workload) -> Proof:
        """Whether a stop has taken effect."""

    def prove_rolled_back(self, workload: Workload, *, quarantined: str, wanted: str) -> Proof:
        """Whether a rollback has taken effect, by the hashes of the revision left and the one wanted."""
