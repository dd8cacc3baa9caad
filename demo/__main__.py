"""`python -m demo`: a breach stops a real Deployment, people are notified, and decide; while you watch.

Everything is real: the manifests of the checkout are applied, the operator runs as its own process under its own
service account, the readings are those that the example monitor computed, messages go over HTTP to a receiver that
checks their signature, people decide with the commands that they have, and the times are measured here, by a client
that watches.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from pathlib import Path
from typing import Annotated

import typer

from demo.client import ON_TERM
from demo.ending import Ending
from demo.install import NAMESPACE, InstallError
from demo.run import Demo, End
from demo.scenario import Options
from riskladder.cluster.client import ApiError, Client
from riskladder.cluster.connection import ConnectionFailed, connect

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def demo(
    action: Annotated[str, typer.Option(help="ScaleToZero or Rollback.")] = "ScaleToZero",
    kubeconfig: Annotated[
        str | None, typer.Option(help="Path of an administrator's kubeconfig. Default: $KUBECONFIG.")
    ] = None,
    checkout: Annotated[Path, typer.Option(help="Where manifests/ and examples/ are.")] = Path(),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before using a cluster that is not local.")] = False,
    lock: Annotated[
        bool,
        typer.Option("--lock", help="Show which clients write on a contained model, and how the lock refuses them."),
    ] = False,
    model_image: Annotated[
        str | None,
        typer.Option(
            envvar="RISKLADDER_MODEL_IMAGE",
            help="Image of a model server and its client, where containers really run: shows when the client gets its "
            "last answer. Default: a stand-in that serves nothing.",
        ),
    ] = None,
    on_term: Annotated[
        str, typer.Option(help="What that model server does on SIGTERM: honor, drain or ignore it.")
    ] = "honor",
    short: Annotated[
        bool, typer.Option("--short", help="The breach, the stop and the record only: nobody decides.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep everything running at the end, to look at it, until Ctrl-C.")
    ] = False,
    console: Annotated[
        bool, typer.Option("--console", help="Stop with the breach, and let people decide on pages, until Ctrl-C.")
    ] = False,
    check_options: Annotated[
        bool, typer.Option("--check-options", hidden=True, help="Only say what is wrong with the options.")
    ] = False,
    throwaway: Annotated[
        bool,
        typer.Option(
            envvar="RISKLADDER_THROWAWAY",
            help="The cluster ends with the demo: nothing is removed from it.",
        ),
    ] = False,
) -> None:
    """Show a breach stopping a real model, end to end."""
    if action not in ("ScaleToZero", "Rollback"):
        raise typer.BadParameter(f"{action!r} is not an action of the demo: ScaleToZero or Rollback")
    if short and lock:
        raise typer.BadParameter("--short leaves out what --lock shows: give one of them")
    if console and (short or lock or keep):
        raise typer.BadParameter("--console goes on until Ctrl-C by itself: leave --short, --lock and --keep out")
    if lock and action != "ScaleToZero":
        raise typer.BadParameter("--lock is about a model that was scaled to zero: leave --action out")
    if on_term not in ON_TERM:
        raise typer.BadParameter(f"--on-term: {on_term!r} is none of {', '.join(ON_TERM)}")
    if on_term != "honor" and not model_image and not check_options:
        raise typer.BadParameter("--on-term needs a model server, so --model-image: make demo CLUSTER=node has one")
    if check_options:
        return
    path = kubeconfig or os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    options = Options(action=action, lock=lock, model_image=model_image, on_term=on_term, short=short, console=console)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a script that runs it with & has had it ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
    ending = Ending()
    try:
        asyncio.run(_main(path, checkout, options, End(keep=keep, throwaway=throwaway), ending, yes=yes))
    except (InstallError, ApiError, ConnectionFailed) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        typer.echo("interrupted", err=True)
        raise typer.Exit(128 + (ending.number or signal.SIGINT)) from error


async def _main(kubeconfig: str, checkout: Path, options: Options, end: End, ending: Ending, *, yes: bool) -> None:
    connection = await connect(kubeconfig, namespace=NAMESPACE, agent="demo")
    try:
        host = connection.server.split("//")[-1].rsplit(":", 1)[0]
        if host not in ("127.0.0.1", "localhost", "[::1]") and not yes and os.environ.get("RISKLADDER_YES") != "1":
            typer.confirm(
                f"{connection.server} is not a local cluster. Install Riskladder and run the demo there?", abort=True
            )
        client = Client(connection)
        namespace = f"riskladder-demo-{secrets.token_hex(3)}"
        with ending:
            await Demo(client, Path(kubeconfig), checkout, namespace, options, end, ending).run()
    finally:
        await connection.close()


if __name__ == "__main__":
    app(prog_name="python -m demo")
