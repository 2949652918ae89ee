"""All commands, put together."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, ClassVar

import typer

from agentbus.cli.lazy import MARKUP, CommandAt, LazyGroup


def _command(module: str, told: str, **settings: object) -> CommandAt:
    return CommandAt(f"agentbus.cli.{module}", told, settings)


def _group(module: str, told: str) -> CommandAt:
    return CommandAt(f"agentbus.cli.{module}", told)


class Commands(LazyGroup):
    """Every command, in the order of the help."""

    places: ClassVar[Mapping[str, CommandAt]] = {
        "demo": _command("demo", "Run a whole AgentBus in this process, and check the result."),
        "up": _command(
            "up", "Run everything on this machine, for a try, until Ctrl-C: broker, store, all workers, the HTTP API."
        ),
        "publish": _command("publish", "Publish one chat message, confirmed by the broker."),
        "replay": _command(
            "replay", "Replay a chat history: publish its messages in order, wait for them, check what became of them."
        ),
        "import": CommandAt(
            "agentbus.cli.replay",
            "Import a chat history into the store: Telegram, Slack, WhatsApp, IRC, or JSON lines.",
            {},
            function="import_",
        ),
        "export": _command("export", "Write a session with its history to a file, which `agentbus import` reads."),
        "worker": _command(
            "run_workers",
            "Run workers in this process until SIGTERM or Ctrl-C; they then finish what they have begun.",
            no_args_is_help=True,
        ),
        "erase": _command(
            "erase",
            "Erase a user: their conversations, what they wrote in others', records, parked inputs, archive. For good.",
        ),
        "doctor": _command(
            "doctor",
            "Check broker, store, installation, workers and clocks, and say what to do. Exits with 1 on a failure.",
        ),
        "workers": _group("workers", "The workers: who is there, who owns what, and having a partition go to another."),
        "sessions": _group("sessions", "Look at sessions and their histories."),
        "events": _group("events", "Watch what happens to sessions."),
        "parked": _group("parked", "Inputs that failed for good: look at them, replay them, discard them."),
        "replies": _group(
            "replies", "Replies that wait to be sent, and those of which nobody knows whether they were."
        ),
        "identity": _group(
            "identity", "Link the sessions of one person on several channels, so that they share their context."
        ),
        "sync": _group("sync", "Share context between the linked sessions of a person: see `agentbus identity`."),
        "expiry": _group("expiry", "Sessions that end by rules: the rules, what is due, what was done."),
        "stats": _command(
            "usage", "Show how sessions were used: when, how much, who waited for whom, where it is going."
        ),
        "predict": _command("predict", "Say how likely it is that somebody writes again, and that their session ends."),
        "tracking": _group(
            "tracking", "The figures of how sessions are used, which a worker keeps: agentbus worker tracking."
        ),
        "archive": _group("archive", "Sessions that left the store: look at them, check them, bring them back."),
        "backup": _group(
            "backup", "Backups of the store: make them, look at them, verify them, restore them, remove old ones."
        ),
        "store": _group("store", "Look after the store."),
        "api-keys": _group("api_keys", "The keys of the HTTP API: who may call it, and for what."),
        "topology": _group("topology", "The exchanges and queues on the broker."),
        "contracts": _group("contracts", "The published schemas of everything that travels."),
    }


app = typer.Typer(
    name="agentbus",
    cls=Commands,
    help="The session backbone behind chat systems: chat messages in, ordered sessions and events out.\n\n"
    "Start with: agentbus demo",
    no_args_is_help=True,
    rich_markup_mode=MARKUP,
    pretty_exceptions_show_locals=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"agentbus {version('agentbus')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main() -> None:
    """Run the command line."""
    app()
