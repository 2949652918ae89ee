"""The options that say where broker, store and archive are, given to commands by one decorator."""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, Final, Literal

from agentbus.cli import options
from agentbus.cli.running import run, settings_of

Option = Literal["archive", "backup", "amqp", "store", "prefix", "partitions", "scope", "wait"]

Given = dict[str, Any]
"""What was given on the command line, by the names that `settings_of` takes; None where nothing was."""

Command = Callable[..., Coroutine[Any, Any, None]]

_KINDS: Final[dict[Option, Any]] = {
    "archive": options.ArchiveUrl,
    "backup": options.BackupUrl,
    "amqp": options.Amqp,
    "store": options.StoreUrl,
    "prefix": options.Prefix,
    "partitions": options.Partitions,
    "scope": options.ScopePolicy,
    "wait": options.Wait,
}
_SETTINGS: Final[dict[Option, str]] = {
    "archive": "archive_url",
    "backup": "backup_url",
    "amqp": "amqp_url",
    "store": "store_url",
}
"""The settings that are called otherwise than their options."""

_OUTPUT: Final = Parameter("_output", Parameter.KEYWORD_ONLY, default=None, annotation=options.Output)


def connecting(
    *names: Option, wait: float | None = None, quiet: bool = False, patient: bool = False
) -> Callable[[Command], Callable[..., None]]:
    """Return a decorator that makes a coroutine function a command with these options, and runs it to its end.

    They stand in the place of its parameter `settings`, which gets what they come to (`quiet` and `patient` as
    `settings_of` says), or of `given`, for a command that decides for itself what holds where nothing was given.
    `--wait`, by default `wait`, comes after a page's options. What has `--json` has `-o` as well.
    """

    def decorate(command: Command) -> Callable[..., None]:
        taken = signature(command).parameters

        @wraps(command)
        def started(**values: Any) -> None:
            values.pop(_OUTPUT.name, None)
            given: Given = {_SETTINGS.get(name, name): values.pop(name) for name in names}
            if "settings" in taken:
                values["settings"] = settings_of(quiet=quiet, patient=patient, **given)
            else:
                values["given"] = given
            run(command(**values))

        parameters = list(_parameters(list(taken.values()), names, wait))
        vars(started)["__signature__"] = Signature(parameters)
        started.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": None}
        return started

    return decorate


def _parameters(taken: Sequence[Parameter], names: Sequence[Option], wait: float | None) -> Iterator[Parameter]:
    """Yield a command's own parameters with the options among them, in the order in which its help shows them."""
    paged = any(one.name == "cursor" for one in taken)
    waiting = [_option("wait", wait)] if "wait" in names else []
    for one in taken:
        if one.name in ("settings", "given"):
            yield from (_option(name, None) for name in names if name != "wait")
            yield from () if paged else waiting
            continue
        yield one.replace(kind=Parameter.KEYWORD_ONLY)
        if one.name == "cursor":
            yield from waiting
        if one.name == "as_json":
            yield _OUTPUT


def _option(name: Option, default: object) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=_KINDS[name])
