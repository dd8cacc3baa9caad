"""What a ladder, and the command line, say about the installation: admission policies and CustomResourceDefinitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from riskladder.api.conditions import MESSAGE_LIMIT
from riskladder.api.reasons import Reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """A condition in the making."""

    status: bool | None
    """``None`` where it is not known."""
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class PolicyFindings:
    """The admission policies that are not in force as they were shipped: by name, what of each."""

    missing: Mapping[str, str] = field(default_factory=dict)
    altered: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def faulty(self) -> set[str]:
        """The names of all."""
        return {*self.missing, *self.altered, *self.unknown}


@dataclass(frozen=True, slots=True)
class DefinitionFindings:
    """The CustomResourceDefinitions that are not those of this version: by name, a clause about each."""

    outdated: Mapping[str, str] = field(default_factory=dict)
    """What this version writes is dropped there, or there is none."""
    altered: Mapping[str, str] = field(default_factory=dict)
    newer: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    """Of this program."""
    remedy: str = ""
    """The command that applies those of this version."""

    @property
    def is_current(self) -> bool:
        """Whether nothing is to be said."""
        return not (self.outdated or self.altered or self.newer or self.unknown)

    @property
    def is_usable(self) -> bool:
        """Whether nothing is known that keeps what is written from being stored."""
        return not self.outdated


def judge_policies(found: PolicyFindings) -> Verdict:
    """Return whether every admission policy is in force; each that is not is named."""
    if not (found.missing or found.altered or found.unknown):
        return Verdict(True, Reason.POLICIES_AS_SHIPPED, "every admission policy is in force as it was shipped")
    parts = [f"{name} is missing ({what})" for name, what in sorted(found.missing.items())]
    parts += [f"{name} is altered ({what})" for name, what in sorted(found.altered.items())]
    parts += [f"{name} is unknown ({what})" for name, what in sorted(found.unknown.items())]
    advice = "apply the manifests of this version again; delete one that is altered first, with its binding"
    message = f"{'; '.join(parts)}: {advice}"
    if len(message) > MESSAGE_LIMIT:  # the names matter most
        named = (("missing", found.missing), ("altered", found.altered), ("unknown", found.unknown))
        message = "; ".join(f"{word}: {', '.join(sorted(names))}" for word, names in named if names) + f": {advice}"
    is_known = bool(found.missing or found.altered)
    reason = Reason.POLICY_MISSING if found.missing else Reason.POLICY_ALTERED if is_known else Reason.POLICY_UNKNOWN
    return Verdict(False if is_known else None, reason, message)


def judge_definitions(found: DefinitionFindings) -> Verdict:
    """Return whether the kinds store what this version writes; each that does not is named, with the command."""
    apply = f"apply those of version {found.version}: {found.remedy}"
    if found.outdated:
        why = f"what this operator writes there is not stored, so {apply}"
        return Verdict(False, Reason.CUSTOM_RESOURCES_OUTDATED, _named({**found.outdated, **found.altered}, why))
    if found.altered:
        return Verdict(False, Reason.CUSTOM_RESOURCES_ALTERED, _named(found.altered, apply))
    if found.newer:
        advice = f"update the operator, or go back to those of version {found.version}: {found.remedy}"
        return Verdict(False, Reason.CUSTOM_RESOURCES_NEWER, _named(found.newer, advice))
    if found.unknown:
        advice = "bind the ClusterRole riskladder-policies to the operator's account; it works all the same"
        return Verdict(None, Reason.CUSTOM_RESOURCES_UNKNOWN, _named(found.unknown, advice))
    message = f"every kind is that of version {found.version}"
    return Verdict(True, Reason.CUSTOM_RESOURCES_AS_SHIPPED, message)


def _named(found: Mapping[str, str], advice: str) -> str:
    """Return what is wrong with each, and what to do; of many the names alone: what to do has to be there."""
    message = f"{'; '.join(f'{name} {what}' for name, what in sorted(found.items()))}: {advice}"
    return message if len(message) <= MESSAGE_LIMIT else f"{', '.join(sorted(found))}: {advice}"
