"""Options that several subcommands share, so that they are called and explained alike."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Output(StrEnum):
    """How a result is written."""

    TABLE = "table"
    JSON = "json"


Kubeconfig = Annotated[
    str | None,
    typer.Option(
        "--kubeconfig",
        help="Path of a kubeconfig. Default: in a pod its service account, else $KUBECONFIG, else ~/.kube/config.",
    ),
]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Only this namespace. Live: default the context's own.")
]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="table for people, json for programs.")]
NotifyHost = Annotated[
    list[str] | None,
    typer.Option(
        help="Host that notifications may be sent to, or *.example.com; repeatable. Default: only "
        "hosts that come with a channel's type: PagerDuty's, and those of Apprise services with hosts of their own.",
        envvar="RISKLADDER_NOTIFY_HOSTS",
    ),
]
NotifyNetwork = Annotated[
    list[str] | None,
    typer.Option(
        help="Network (CIDR) that notifications may be sent to although it is not public; repeatable.",
        envvar="RISKLADDER_NOTIFY_NETWORKS",
    ),
]
ConsoleUrl = Annotated[
    str,
    typer.Option(
        help="Where people reach the console, for example https://riskladder.example.com: messages link to its pages. "
        "Default: they have commands only.",
        envvar="RISKLADDER_CONSOLE_URL",
        show_default=False,
    ),
]
Enable = Annotated[
    list[str] | None,
    typer.Option(
        help="A component of manifests/components: a serving runtime besides Deployments and StatefulSets, or a "
        "safe state other than off; repeatable. The component gives this option, and grants what it needs.",
        envvar="RISKLADDER_ENABLE",
    ),
]
Scalable = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GROUP/VERSION/PLURAL=KIND",
        help="A further kind of target, known by its scale subresource alone; repeatable. Grant what it needs as in "
        "examples/scalable.",
        envvar="RISKLADDER_SCALABLE",
    ),
]
