"""The services that are reached through Apprise: those that send a message to people, and nothing else.

Left out on purpose is whatever sends to any URL (json, xml, form, apprise), writes to the machine (syslog, dbus, file),
or runs something; and Opsgenie, whose plugin keeps state between messages and without it reports success and sends
nothing. Each service names its plugin, so no other plugin of Apprise is ever loaded.
"""

from __future__ import annotations

from dataclasses import dataclass

from riskladder.notify.forms import Form


@dataclass(frozen=True, slots=True)
class Service:
    """One service."""

    module: str
    plugin: str
    hosts: tuple[str, ...] = ()
    """Where it is, for one that has hosts of its own; empty where the URL names the host."""
    form: Form = Form.TEXT


_EMAIL = Service("apprise.plugins.email", "NotifyEmail", form=Form.HTML)
_GOTIFY = Service("apprise.plugins.gotify", "NotifyGotify")
_MATRIX = Service("apprise.plugins.matrix", "NotifyMatrix", form=Form.CHAT)
_MATTERMOST = Service("apprise.plugins.mattermost", "NotifyMattermost", form=Form.CHAT)
_NTFY = Service("apprise.plugins.ntfy", "NotifyNtfy", hosts=("ntfy.sh",))
_ROCKET = Service("apprise.plugins.rocketchat", "NotifyRocketChat", form=Form.CHAT)
_WEBEX = Service(
    "apprise.plugins.webexteams", "NotifyWebexTeams", hosts=("api.ciscospark.com", "webexapis.com"), form=Form.CHAT
)
_WORKFLOWS = Service("apprise.plugins.workflows", "NotifyWorkflows", form=Form.CHAT)

SERVICES: dict[str, Service] = {
    "mailto": _EMAIL,
    "mailtos": _EMAIL,
    "slack": Service(
        "apprise.plugins.slack",
        "NotifySlack",
        hosts=("hooks.slack.com", "hooks.slack-gov.com", "slack.com"),
        form=Form.SLACK,
    ),
    "workflow": _WORKFLOWS,
    "workflows": _WORKFLOWS,
    "discord": Service("apprise.plugins.discord", "NotifyDiscord", hosts=("discord.com",), form=Form.CHAT),
    "tgram": Service("apprise.plugins.telegram", "NotifyTelegram", hosts=("api.telegram.org",), form=Form.CHAT),
    "gchat": Service("apprise.plugins.google_chat", "NotifyGoogleChat", hosts=("chat.googleapis.com",), form=Form.CHAT),
    "wxteams": _WEBEX,
    "webex": _WEBEX,
    "pover": Service("apprise.plugins.pushover", "NotifyPushover", hosts=("api.pushover.net",), form=Form.SHORT),
    "twilio": Service("apprise.plugins.twilio", "NotifyTwilio", hosts=("api.twilio.com",), form=Form.SHORT),
    "sns": Service("apprise.plugins.sns", "NotifySNS", hosts=("*.amazonaws.com",), form=Form.SHORT),
    "ses": Service("apprise.plugins.ses", "NotifySES", hosts=("*.amazonaws.com",), form=Form.HTML),
    "zulip": Service("apprise.plugins.zulip", "NotifyZulip", hosts=("*.zulipchat.com",), form=Form.CHAT),
    "gotify": _GOTIFY,
    "gotifys": _GOTIFY,
    "matrix": _MATRIX,
    "matrixs": _MATRIX,
    "mmost": _MATTERMOST,
    "mmosts": _MATTERMOST,
    "ntfy": _NTFY,
    "ntfys": _NTFY,
    "rocket": _ROCKET,
    "rockets": _ROCKET,
}
"""By the scheme of the Apprise URL."""

# fmt: off
PARAMETERS = frozenset(
    (
        "apikey", "avatar", "bcc", "botname", "cc", "channel", "channels", "cto", "e2ee", "email",
        "entity", "from", "id", "image", "key", "mode", "msgtype", "name", "pass", "path", "port", "preview",
        "priority", "region", "reply", "route", "rto", "sid", "sig", "signature", "silent", "smtp", "sound", "tags",
        "team", "thread", "threadkey", "to", "token", "topic", "tts", "user", "v", "ver", "version", "webhook",
        "workflow", "workspace",
    )
)
# fmt: on
"""The parameters that a URL may have. Not among them are those that name a file (template, pgppub, attach), a URL to be
fetched or shown (avatar_url, click), switch off the check of certificates (verify), change how text is read (format,
mdv, emojis), or allow redirects."""
