"""What the records of an escalation do not say, said plainly. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from riskladder.api.text import listed
from riskladder.people.export import SAME_FILE
from riskladder.people.facts import State, Story
from riskladder.people.particulars import KEY
from riskladder.people.summary import at_words
from riskladder.people.timeline import Timeline

UNREAD = "No reading is on record between "
"""How it is said that nothing was measured, or nothing that was acted on."""


def gaps_of(timeline: Timeline, found: Story) -> tuple[str, ...]:
    """Return the gaps, the worst first: of the chain, of what was erased, of what was never recorded."""
    return (*_chain(timeline), *_erased(found), *_unsaid(timeline, found), *_unread(timeline, found), *_open(found))


def _chain(timeline: Timeline) -> Iterator[str]:
    chain = timeline.chain
    if not chain.intact:
        unverified = sum(not step.verified for step in timeline.steps)
        yield f"The chain is broken: {chain.error}. What {unverified} entries from there on say is not verified."
    if not chain.origins:
        yield "No head is known that was noted elsewhere: a missing end of the chain would not show."
    elif set(chain.origins) == {SAME_FILE}:
        yield "The head comes from the same file as the records: whoever wrote the file wrote it, too."
    if not chain.namespace_uid and chain.length:
        yield "The records do not name the uid of their namespace: they are from before that was recorded."
    uids = {step.detail.get(KEY, "").partition("/")[0] for step in timeline.steps} - {""}
    if len(uids) > 1:
        yield f"The chain holds the records of {len(uids)} escalations of this name."
    unreadable = [str(step.sequence or "?") for step in timeline.steps if step.at is None]
    if unreadable:
        yield f"No readable time is in what record {listed(dict.fromkeys(unreadable))} says."


def _erased(found: Story) -> Iterator[str]:
    for redacted in found.redacted:
        how = f"by {redacted.by}, {redacted.at}: {redacted.reason}" if redacted.by else "and no redaction says so"
        yield f"Erased from record {redacted.record}: {', '.join(redacted.fields)}, {how}"


def _unsaid(timeline: Timeline, found: Story) -> Iterator[str]:
    opening = found.opening
    if opening is None:
        yield "The record of the opening is missing: ladder, policy, readings and what ran are not known from it."
        return
    if not opening.policy_digest:
        yield "The text of the policy is not on record here; only the digest of the ladder is."
    if not opening.model:
        yield "No record says which model and version the workload serves."
    if not any(reading.record == opening.record for reading in found.readings) and not opening.raised_by:
        yield "No reading is on record with the opening."
    without = [r.indicator for r in found.readings if r.is_breach and not r.sample_size]
    if without:
        yield f"No sample size is on record for {listed(dict.fromkeys(without))}."
    for containment in found.containments:
        if containment.proof_record is None and not timeline.drill:
            yield f"No record proves containment {containment.intent} ({containment.action or 'action not on record'})."


def _unread(timeline: Timeline, found: Story) -> Iterator[str]:
    """Say between which times no reading is on record: only those are that put the model in a tier."""
    times = sorted({reading.at for reading in found.readings if reading.at is not None})
    spans = list(itertools.pairwise(times))
    end = found.ended.at if found.ended is not None else found.as_of
    if times and end is not None and end > times[-1]:
        spans.append((times[-1], end))
    for begin, until in spans:
        yield f"{UNREAD}{at_words(begin)} and {at_words(until)}."
    if timeline.steps and not times:
        yield "No time of observation is on record for any reading."


def _open(found: Story) -> Iterator[str]:
    for deadline in found.deadlines:
        if deadline.state is State.UNKNOWN:
            yield (
                f"The deadline to {deadline.what} on rung {deadline.rung}, {at_words(deadline.due_at)}, has passed, "
                "and no record says that it was met or missed."
            )
    if any(not m.delivered for m in found.messages):
        roles = dict.fromkeys(f"{m.role} over {m.channel}" for m in found.messages if not m.delivered)
        yield f"Messages could not be delivered to {listed(roles)}."
    if found.acts and not any(act.credential or act.impersonated for act in found.acts):
        yield "With which credential people decided is not on record: the API server did not say."
    if found.awareness is None:
        yield "No act of a person is on record: none of them says that anybody was aware of it."
    if found.ended is not None and not found.reviews:
        yield "No after-action review is on record."
