"""The words of the pages that do not come from the policy layer: one catalogue, English first."""

from __future__ import annotations

from collections.abc import Mapping

ENGLISH: Mapping[str, str] = {
    "app": "Riskladder",
    "nav.waiting": "Waiting for you",
    "nav.models": "Models",
    "nav.ladders": "Ladders",
    "nav.commitments": "Acceptances and duties",
    "nav.drills": "Drills",
    "nav.records": "Records",
    "nav.skip": "Go to the content",
    "nav.label": "Pages",
    "sign-out": "Sign out",
    "sign-in.title": "Sign in",
    "sign-in.why": "You see and decide here what the cluster allows you, under your own name.",
    "sign-in.openid": "Sign in with your organisation’s account",
    "sign-in.token": "Sign in with a token",
    "sign-in.token.label": "Token",
    "sign-in.token.help": "An administrator makes one with kubectl create token. It stays on the server "
    "and is not shown again.",
    "sign-in.kept": "What you had typed is kept, and will be there when you have signed in.",
    "sign-in.local": "This console serves whoever started it: open the link that it has printed.",
    "sign-in.out": "You are signed out here.",
    "sign-in.elsewhere": "Sign out at the provider, too",
    "sign-in.none": "No way to sign in is set up here.",
    "waiting.title": "Waiting for you",
    "waiting.none": "Nothing waits for you.",
    "waiting.others": "Waiting for others",
    "waiting.others.none": "No other escalation is open that you may see.",
    "waiting.more": "Show more",
    "waiting.where": "You may not list escalations in all namespaces. Which one do you mean?",
    "namespace": "Namespace",
    "show": "Show",
    "esc.happened": "What happened",
    "esc.options": "What you can do",
    "esc.others": "What others can do",
    "esc.ladder": "The ladder",
    "esc.people": "Who has answered",
    "esc.duties": "Duties",
    "esc.timeline": "Timeline",
    "esc.details": "All details",
    "esc.due": "by",
    "esc.no-deadline": "No deadline is running",
    "esc.silence": "If nobody does:",
    "esc.suspended": "The ladder is suspended: decisions count, and nothing happens by itself.",
    "esc.links": "Find more",
    "esc.rationale": "Why? It goes on record and cannot be changed.",
    "esc.role": "As",
    "esc.until": "Until",
    "esc.until.help": "A date such as 2026-12-01, or a duration such as 14d.",
    "esc.policy-updated": "The policy was, or will be, changed because of it",
    "esc.satisfaction": "How it went, from 1 (not at all well) to 5 (entirely)",
    "esc.lessons": "What was learnt",
    "esc.stale": "Nothing was sent: something has happened since you opened the page. What you typed is still here.",
    "esc.other-session": "Nothing was sent: you have signed in again since you opened the page. What you typed is "
    "still here.",
    "esc.refused": "Nothing was decided",
    "esc.restored": "What you had typed before you signed in is still here. Nothing was sent.",
    "esc.typed": "What you had typed, about something that is not possible any more:",
    "esc.full": "The whole timeline",
    "esc.report": "Download the report",
    "esc.records": "Download the records",
    "esc.drill": "Drill: the model is not touched",
    "error.title": "This page cannot be shown",
    "error.typed": "What you had typed:",
    "error.back": "Back to what waits for you",
}


def text(key: str) -> str:
    """Return the words of a key.

    Raises:
        KeyError: There are none: a mistake of a template.
    """
    return ENGLISH[key]
