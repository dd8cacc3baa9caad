"""The command itself: which checks are made, in which order, and what keeps one from being made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated

import typer

from riskladder.cli.doctor import installation, ladders, preflight, server, uninstall
from riskladder.cli.doctor.report import Check, bad, exit_code, show, skipped
from riskladder.cli.doctor.site import Site, Unseen
from riskladder.cli.output import fail
from riskladder.cli.people.options import As, AsGroup, Context, Form, Kubeconfig, access_of
from riskladder.cli.people.session import Session, run_in_session
from riskladder.cluster.client import ApiError, Forbidden, NotFound

OWN_NAMESPACE = "riskladder-system"

Made = tuple[str, Callable[[Site], Awaitable[list[Check]]]]
"""The name under which a check is skipped, and the check."""


def doctor(
    before: Annotated[
        bool, typer.Option("--preflight", help="Only whether it can be installed here, and by you.")
    ] = False,
    after: Annotated[bool, typer.Option("--uninstall", help="Only what has to be done before it is removed.")] = False,
    exported: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="With --uninstall: the exported records, which have to be all there are, and whole; repeatable.",
        ),
    ] = None,
    channels: Annotated[
        bool, typer.Option("--channels", help="Try the channels of all ladders, with a message marked as TEST.")
    ] = False,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Only the ladders of this namespace. Default: of all.")
    ] = None,
    operator_namespace: Annotated[str, typer.Option(help="Namespace of the operator.")] = OWN_NAMESPACE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_user: As = None,
    as_group: AsGroup = None,
    output: Annotated[Form, typer.Option("--output", "-o", help="table for people, json or yaml.")] = Form.TABLE,
) -> None:
    """Check an installation: what is missing, altered or outdated, and what mends it.

    Changes nothing, and sends nothing without --channels. What you may not look at
    is skipped, and says which permission it takes.

    Exit code 0: nothing to mend; 1: a check failed; 2: nothing could be looked at.

    \b
    riskladder doctor --preflight
    """
    if before and after:
        fail("give either --preflight or --uninstall")
    if exported and not after:
        fail("--exported goes with --uninstall")

    async def work(session: Session) -> list[Check]:
        site = await Site.look(session.client, operator_namespace, namespace)
        if before:
            made = before_installation()
        elif after:
            made = before_removal(exported or [])
        else:
            made = of_installation(channels=channels)
        found = []
        for name, check in made:
            found += await made_or_skipped(name, check, site)
        return without_repetitions(found)

    checks = run_in_session(access_of(kubeconfig, context, as_user, as_group), namespace, work)
    show(checks, output)
    raise typer.Exit(exit_code(checks))


def before_installation() -> list[Made]:
    """Return the checks of ``--preflight``."""
    return [
        (server.SERVER, server.check_version),
        (preflight.INSTALLER, preflight.check_installer),
        (installation.KINDS, preflight.check_nothing_there),
        (server.CLOCK, server.check_clock),
    ]


def before_removal(exported: list[str]) -> list[Made]:
    """Return the checks of ``--uninstall``, in the order in which they are to be seen to."""
    return [
        (uninstall.OPEN, uninstall.check_open),
        (uninstall.HELD, uninstall.check_held),
        (uninstall.EXPORTED, partial(uninstall.check_exported, paths=exported)),
        (uninstall.OBJECTS, uninstall.check_objects),
        (uninstall.GUARD, uninstall.check_guard),
    ]


def of_installation(*, channels: bool) -> list[Made]:
    """Return the checks of an installation.

    Args:
        channels: Whether to try the channels.
    """
    return [
        (server.SERVER, server.check_version),
        (installation.KINDS, installation.check_kinds),
        (installation.POLICIES, installation.check_policies),
        (server.IDENTITY_SERVED, server.check_mutating),
        (installation.OPERATOR, installation.check_operator),
        (installation.VERSION, installation.check_version),
        (installation.PERMISSIONS, installation.check_permissions),
        (installation.SINGLE, installation.check_single),
        (ladders.LADDERS, ladders.check_ladders),
        (ladders.COMPONENTS, ladders.check_components),
        (ladders.ROLES, ladders.check_roles),
        (ladders.CHANNELS, partial(ladders.check_channels, send=channels)),
        (installation.LEFTOVERS, installation.check_leftovers),
        (server.CLOCK, server.check_clock),
    ]


async def made_or_skipped(name: str, check: Callable[[Site], Awaitable[list[Check]]], site: Site) -> list[Check]:
    """Make a check; what may not be looked at is skipped, and keeps no other check from being made.

    Raises:
        ApiError: The API server does not answer, or does not know who asks.
    """
    try:
        return await check(site)
    except Forbidden as error:
        return [skipped(name, f"you may not {error.verb} {error.resource}")]
    except Unseen as unseen:
        return [skipped(name, str(unseen))]
    except NotFound as error:
        return [skipped(name, f"this cluster has no {error.resource}")]
    except ApiError as error:
        if error.status in (0, 401):
            raise
        return [bad(name, f"the API server refuses to say: {error}")]


def without_repetitions(checks: list[Check]) -> list[Check]:
    """Leave out what ladders say that a check of its own has said in the same words."""
    others = [check.what for check in checks if check.name != ladders.LADDERS]
    return [c for c in checks if c.name != ladders.LADDERS or not any(_says(c.what, other) for other in others)]


def _says(what: str, other: str) -> bool:
    """Return whether the condition of a ladder ends in what a check has found: its reason and its message."""
    return ", " in what and what.endswith(f", {other}")
