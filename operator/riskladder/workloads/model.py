"""What is known of a serving workload: plain facts, as the caches saw them last; and what every runtime has to say.

A runtime is one small adapter, chosen by the kind of the target. It holds no state and does no I/O: stored objects in,
facts and JSON Patches out. Whatever two runtimes do alike is in ``runtimes.replicas``; what one lacks it says as
``Impossible``, with the reason for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from riskladder.api.intent import ImageRole
from riskladder.api.resource import Resource
from riskladder.workloads.grant import Grant
from riskladder.workloads.holding import NOTHING, Carried
from riskladder.workloads.network import NetworkPath
from riskladder.workloads.results import Impossible, Object, Verification, Write


@dataclass(frozen=True, slots=True)
class Image:
    """A container's image as the kubelet reports it; ``image_id`` is empty until the image is pulled."""

    container: str
    image: str
    image_id: str = ""
    role: ImageRole = ImageRole.CONTAINER


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod of a workload."""

    name: str
    owner_uid: str
    """uid of what controls it: a ReplicaSet, a StatefulSet."""
    active: bool
    """Not yet Succeeded or Failed: its containers may still answer, also while it terminates."""
    images: tuple[Image, ...] = ()
    revision: str = ""
    """``controller-revision-hash``, where its owner has ControllerRevisions."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Its labels, where some runtime recognizes its pods by them."""
    ready: bool = False
    """Whether it says that it is ready to serve."""
    ready_since: datetime | None = None
    """Since when, by its condition, in whole seconds."""
    uid: str = ""
    generate_name: str = ""
    """What its name was made from, by what made it."""
    ips: tuple[str, ...] = ()
    """Its addresses."""
    created: datetime | None = None
    """When it was made, by the API server's clock, in whole seconds."""
    is_ending: bool = False
    """Whether its deletion has been asked for."""
    node: str = ""
    """The node that was the last to say that a container of it runs, and that has not taken that back; empty: none."""
    grace: int = 30
    """Seconds that it asks for to end."""
    vanished_at: datetime | None = None
    """When the API server was seen to have forgotten it, while its node had not said that its containers have ended."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One entry of a workload's history (a ReplicaSet, a ControllerRevision)."""

    name: str
    uid: str
    number: int
    """Its place in the history; it changes when a revision is deployed again."""
    hash: str
    """``pod-template-hash`` and the like: the same template keeps it for ever, so it names the revision."""
    digest: str
    """Digest of the pod template without that label: equal templates, equal digests."""
    replicas: int
    """Replicas it has now, from its status."""
    content: str = ""
    """Digest of the containers that it runs, whatever else its template says; empty where that is not known."""
    created: datetime | None = None
    """When it was made, in whole seconds."""
    reused: bool = False
    """Whether it may have been in place more than once."""
    privileges: frozenset[str] = frozenset()
    """What its pod template grants its pods, see ``workloads/privileges.py``."""


@dataclass(frozen=True, slots=True)
class History:
    """What readings and people have said about the revisions of a workload."""

    known_good: frozenset[str] = frozenset()
    """Hashes of those that served while all readings were at baseline, and have not breached since."""
    breached: frozenset[str] = frozenset()
    """Hashes of those that an escalation was about."""
    observed: frozenset[datetime] = frozenset()
    """When the readings were observed that breach now."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A serving workload and what belongs to it."""

    runtime: Runtime
    """How workloads of its kind are dealt with."""
    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    observed_generation: int
    labels: Mapping[str, str]
    replicas: int
    """Desired replicas; of a runtime that has a switch instead, 1 while it is on and 0 while it is off."""
    updated_replicas: int
    """Replicas of the current template, from its status."""
    total_replicas: int
    """All replicas, from its status."""
    paused: bool
    digest: str
    """Digest of the current pod template."""
    content: str = ""
    """Digest of the containers that the current template runs."""
    available_replicas: int | None = None
    """Replicas that are available, from its status; ``None`` where its kind does not say."""
    served: Mapping[str, datetime] = field(default_factory=dict)
    """By digest of the template: what was seen to be available, and when first, since the operator started."""
    current_hash: str = ""
    """Hash of the current template's revision as its controller reports it, where templates alone do not identify
    it."""
    fallback: str = ""
    """Hash of the stable revision, while another one is rolled out step by step."""
    requested: frozenset[str] = frozenset()
    """What its controller has been asked for in the status, by people or the operator: to abort an update, say."""
    replicas_set_by: str = ""
    """Field manager that last wrote the replicas, from managedFields."""
    template_set_by: str = ""
    """Field manager that last wrote the pod template, from managedFields."""
    replicas_set_at: str = ""
    """When that was (RFC 3339, whole seconds), from managedFields."""
    template_set_at: str = ""
    template_since: datetime | None = None
    """From when on the current pod template has certainly been in place; what was observed earlier is not about it."""
    revisions: tuple[Revision, ...] = ()
    pods: tuple[Pod, ...] = ()
    ready_endpoints: int = 0
    """Pods of this workload that some EndpointSlice lists as ready."""
    declared_images: tuple[Image, ...] = field(default=())
    """Images of the current template: evidence where no pod runs."""
    fields: Mapping[str, str | None] = field(default_factory=dict)
    """What a stop overwrites besides the replicas, as it is now: JSON by JSON Pointer, ``None`` where it is absent."""
    pod_labels: Mapping[str, str] | None = None
    """The labels of its pods, where they are not recognized by their owner."""
    no_rollback: str = ""
    """Why it cannot be rolled back as it is, for people."""
    no_stop: str = ""
    """Why it cannot be stopped, for people."""

    selector: Mapping[str, Any] | None = None
    """The ``metav1.LabelSelector`` of its pods, where it has one."""
    template_labels: Mapping[str, str] = field(default_factory=dict)
    """The labels that its current template gives to pods."""
    privileges: frozenset[str] = frozenset()
    """What its current template grants its pods."""
    carried: Carried = NOTHING
    """What its metadata say of a containment."""
    strays: tuple[str, ...] | None = ()
    """Names of pods that its selector matches and that it no longer owns; ``None`` while nobody has looked."""
    listed: tuple[str, ...] = ()
    """Names of pods that it has made and no longer owns, that its selector does not match, and that a Service lists."""
    unconfirmed: tuple[Pod, ...] = ()
    """Pods of it that the API server has forgotten or calls ended, unconfirmed by their node: they may still answer."""
    network_path: NetworkPath | None = None
    """What traffic passes on its way to its pods, where the operator may change that."""

    @property
    def current(self) -> Revision | None:
        """The revision of the current template, or ``None`` before its controller has made one."""
        same = next((r for r in self.revisions if r.digest == self.digest), None)
        return same or next((r for r in self.revisions if r.hash and r.hash == self.current_hash), None)

    @property
    def is_rolled_out(self) -> bool:
        """Whether the rollout is complete: observed, and every replica is of the current template."""
        return (
            self.observed_generation >= self.generation
            and self.updated_replicas == self.replicas
            and self.total_replicas == self.replicas
            and not self.fallback
        )

    @property
    def is_available(self) -> bool:
        """Whether the rollout is complete, and every replica is available."""
        return self.is_rolled_out and (self.available_replicas is None or self.available_replicas >= self.replicas)

    @property
    def available_since(self) -> datetime | None:
        """From when on a reading is about the current revision alone: all its pods are ready since, or ``None``."""
        times = [pod.ready_since for pod in self.pods if pod.active and pod.ready_since is not None]
        return max([self.template_since, *times]) if self.template_since is not None else None

    def active_pods(self, revision_hash: str | None = None) -> tuple[Pod, ...]:
        """Return the pods that may still answer; with a hash, only those of that revision."""
        active = (pod for pod in self.pods if pod.active)
        return tuple(active) if revision_hash is None else tuple(self.of_revision(active, revision_hash))

    def of_revision(self, pods: Iterable[Pod], revision_hash: str) -> Iterator[Pod]:
        """Yield those of some pods that are of the revision with that hash."""
        owners = {r.uid for r in self.revisions if r.hash == revision_hash}
        yield from (pod for pod in pods if pod.owner_uid in owners or pod.revision == revision_hash)


@runtime_checkable
class HasFollowUp(Protocol):
    """A runtime where a containment takes a second write, after the one that contains, before it can be proved."""

    def follow_up(self, workload: Workload, wanted: str | None) -> Write | None:
        """Return the second write that its controller still needs, if any, and if the time has come.

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
        """Whether its pods are identified by their labels (``Workload.pod_labels``), not by who controls them."""

    @property
    def permissions(self) -> tuple[Grant, ...]:
        """What the operator must be allowed for it, beyond what it always is."""

    @property
    def level(self) -> str:
        """CEL: how much of it is asked to run, of ``object``: 0 is stopped. The lock refuses to raise it."""

    @property
    def annotates(self) -> bool:
        """Whether the write that stops it is on the object itself, so that it can carry the hold as well."""

    @property
    def carries_rollback(self) -> bool:
        """Whether the write of a rollback may carry a hold: not where its controller makes a revision of that."""

    @property
    def is_switch(self) -> bool:
        """Whether it runs or does not, without a number of replicas that is asked for (and without ``/scale``)."""

    @property
    def content(self) -> str:
        """CEL: what a rollback restores, of ``object``. The lock refuses to change it; empty: no rollback."""

    def read(self, obj: Object) -> Workload:
        """Return the facts of a stored object; history, pods and endpoints are joined by the cache."""

    def stop(self, workload: Workload) -> Write | Impossible:
        """Have nothing of it run, only if it is still the object and as it was seen (a compare-and-swap)."""

    def stopping(self, workload: Workload) -> str:
        """Return what ``stop`` does, for people: for example ``scale from 3 to 0``."""

    def restore(self, workload: Workload, replicas: int, fields: Mapping[str, str | None]) -> Write:
        """Restore what a stop took away, if nobody has asked for anything else meanwhile.

        Args:
            workload: As it was seen.
            replicas: How many to ask for.
            fields: ``Workload.fields`` as they were before.
        """

    def rollback_target(self, workload: Workload, *, quarantined: str, history: History) -> Revision | Impossible:
        """Return the revision to go back to; never the quarantined one, and none that ``fitness.unfit`` rejects.

        Args:
            workload: The workload with its revisions.
            quarantined: Hash of the breached revision.
            history: What readings and people have said about its revisions.
        """

    def roll_back(self, live: Object, old: Object | None, to: Revision) -> Write:
        """Put a revision back, only if the object is as it was read.

        Args:
            live: The object as it is stored.
            old: The stored object of ``history`` that holds the revision.
            to: The revision.
        """

    def prove_stopped(self, workload: Workload) -> Verification:
        """Return whether a stop has taken effect."""

    def prove_rolled_back(self, workload: Workload, *, quarantined: str, wanted: str) -> Verification:
        """Return whether a rollback has taken effect, by the hashes of the revision left and the one wanted."""
