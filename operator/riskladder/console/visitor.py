"""Who asks: every read and every write of a page goes to the API server with their own credential."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from riskladder.api.decision import DecidedBy
from riskladder.api.labels import CONSOLE, VIA
from riskladder.cluster.authority import who_am_i
from riskladder.cluster.client import ApiError, Client
from riskladder.cluster.connection import Connection
from riskladder.console.sessions import Credential

FIELD_MANAGER = "riskladder-console"
"""How managedFields name what people write on these pages."""


VIA_CONSOLE = (f"Impersonate-Extra-{quote(VIA, safe='')}", CONSOLE)
"""How a request that is made in somebody's name says so; it goes on record with a decision."""


class NotKnown(Exception):  # noqa: N818 - reads as a sentence at the call site
    """The API server does not take the credential: it has ended, or never was one."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody whom the API server knows."""

    client: Client
    """Asks as them."""
    me: DecidedBy
    credential: Credential
    binding: str
    """What tokens of forms are bound to: the session, or the user where there is none."""

    @property
    def name(self) -> str:
        """What to call them: the name that their provider gives, else their user name."""
        return self.credential.name or self.me.username


def client_of(connection: Connection, credential: Credential) -> Client:
    """Return a client that asks as somebody.

    Args:
        connection: Without credentials of its own, but for a console that serves one person.
        credential: Theirs.
    """
    if credential.acts_as:
        groups = [("Impersonate-Group", group) for group in credential.groups]
        return Client(connection, headers=[("Impersonate-User", credential.acts_as), *groups, VIA_CONSOLE])
    return Client(connection, headers=[("Authorization", f"Bearer {credential.token}")] if credential.token else ())


async def visitor_of(connection: Connection, credential: Credential, session: str) -> Visitor:
    """Return who that is.

    Raises:
        NotKnown: The API server does not take the credential.
        ApiError: It could not be asked.
    """
    client = client_of(connection, credential)
    try:
        me = await who_am_i(client)
    except ApiError as error:
        if error.status == 401:
            raise NotKnown("the API server does not accept this sign-in any more") from error
        raise
    if me.username == "system:anonymous":
        raise NotKnown("the API server does not accept this sign-in")
    if credential.acts_as and me.username != credential.acts_as:
        raise NotKnown("the API server knows you by another name than the console")
    return Visitor(client, me, credential, session or f"{credential.how}:{me.username}")
