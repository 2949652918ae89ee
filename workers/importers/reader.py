"""Opening a history of any format: a file, a folder or a zip; finding out by their content which they are."""

import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from pathlib import Path, PurePosixPath
from typing import Final

from agentbus.workers.importers import irc, jsonl, slack, telegram, whatsapp
from agentbus.workers.importers.formats import HEAD_BYTES, Foreign, format_of, text_of
from agentbus.workers.importers.places import Place, check_regular, files_in, members_of, open_zip
from agentbus.workers.importers.port import (
    History,
    HistoryFormat,
    HistoryOptions,
    HistoryUnreadable,
    NotUnderstood,
    Reader,
    Reading,
)
from agentbus.workers.importers.slack_files import slack_top
from agentbus.workers.importers.source import Source

_READERS: Final[dict[HistoryFormat, Callable[[Source], Reader]]] = {
    module.FORMAT: module.read for module in (irc, telegram, slack, whatsapp, jsonl)
}

_TRY: Final = "say which with --format, if you know"
_TELEGRAM_NAME: Final = "result.json"
_WHATSAPP_NAME: Final = "_chat.txt"
_LOG: Final = re.compile(r".+\.(?:txt|log|weechatlog|jsonl|log\.\d{8}|\d{8})", re.IGNORECASE)
_JSON: Final = re.compile(r".+\.(?:json|html?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Part:
    """One of the files that make up a history; of a Slack export all of it."""

    place: Place
    format: HistoryFormat


def read_history(
    path: Path,
    format: HistoryFormat = HistoryFormat.AUTO,  # noqa: A002 - the word that people know it by
    *,
    account: str = "default",
    chat: str | None = None,
    first_day: date | None = None,
    day_first: bool | None = None,
    zone: tzinfo | None = None,
    now: datetime | None = None,
) -> History:
    """Open the history at `path`, a file, a zip or a folder, to be read message by message.

    The options are those of `HistoryOptions`. Reading the same file again yields the same ids, so that what has been
    taken in once is not taken in twice. Raises HistoryUnreadable, here or while reading.
    """
    given = {} if now is None else {"now": now}
    options = HistoryOptions(account=account, chat=chat, first_day=first_day, day_first=day_first, zone=zone, **given)
    return read_with(path, format, options)


def read_with(path: Path, format: HistoryFormat, options: HistoryOptions) -> History:  # noqa: A002 - as above
    """Open the history at `path`, as `read_history` does."""
    reading = Reading()
    parts = list(_parts(path, format, reading))
    return History(path, parts[0].format, _entries(parts, options, reading), reading)


def detect_format(path: Path) -> HistoryFormat:
    """Return the format of the history at `path`: a file, a zip or a folder.

    An empty file is JSON lines with none. Raises HistoryUnreadable if it can't tell, or can't read; for what is known
    and not read it says what it is.
    """
    return next(iter(_parts(path, HistoryFormat.AUTO, Reading()))).format


def _entries(parts: Sequence[_Part], options: HistoryOptions, reading: Reading) -> Reader:
    for part in parts:
        yield from _READERS[part.format](Source(part.place, options, reading))


def _parts(path: Path, format_: HistoryFormat, reading: Reading) -> Iterator[_Part]:
    """Yield what makes up the history, at least one part; what of a folder or zip can't be told is noted."""
    try:
        check_regular(path)
        if path.is_dir():
            yield from _of_many(path, format_, files_in(path), reading, zipped=False)
        elif zipfile.is_zipfile(path):
            with open_zip(path) as archive:
                members = members_of(archive)
            yield from _of_many(path, format_, members, reading, zipped=True)
        else:
            place = Place(path)
            yield _Part(place, _format_at(place) if format_ is HistoryFormat.AUTO else format_)
    except OSError as error:
        raise HistoryUnreadable.of(path, error.strerror or str(error)) from error


def _of_many(
    path: Path, format_: HistoryFormat, names: list[str], reading: Reading, *, zipped: bool
) -> Iterator[_Part]:
    chosen = _chosen(path, format_, names)
    if chosen is None:
        yield _Part(Place(path), HistoryFormat.SLACK)
        return
    found = 0
    refused: list[HistoryUnreadable] = []
    for name in chosen:
        place = Place(path, name) if zipped else Place(path / name)
        try:
            yield _Part(place, _format_at(place) if format_ is HistoryFormat.AUTO else format_)
            found += 1
        except HistoryUnreadable as error:
            refused.append(error)
            reading.count(NotUnderstood(name, str(error).removeprefix(f"{path}, {name}: ")))
    if not found:
        what = "zip" if zipped else "folder"
        raise refused[0] if refused else HistoryUnreadable.of(path, f"a {what} without a chat history in it")


def _chosen(path: Path, format_: HistoryFormat, names: list[str]) -> list[str] | None:
    """Return the files of a folder or zip that are histories, by their names; None for an export of Slack."""
    of_telegram = [name for name in names if PurePosixPath(name).name == _TELEGRAM_NAME]
    if format_ is HistoryFormat.SLACK or (format_ is HistoryFormat.AUTO and not of_telegram and _is_of_slack(names)):
        return None
    if of_telegram and format_ in (HistoryFormat.AUTO, HistoryFormat.TELEGRAM):
        return of_telegram
    # What was shared in a chat lies beside its text.
    of_whatsapp = [name for name in names if PurePosixPath(name).name in (_WHATSAPP_NAME, f"{path.stem}.txt")]
    if of_whatsapp and format_ in (HistoryFormat.AUTO, HistoryFormat.WHATSAPP):
        return of_whatsapp
    logs = [name for name in names if _LOG.fullmatch(PurePosixPath(name).name)]
    return logs or [name for name in names if _JSON.fullmatch(PurePosixPath(name).name)]


def _is_of_slack(names: list[str]) -> bool:
    return slack_top(names) is not None


def _format_at(place: Place) -> HistoryFormat:
    with place.open() as file:
        head = file.read(HEAD_BYTES)
    found = format_of(text_of(head))
    if isinstance(found, Foreign):
        raise HistoryUnreadable.of(place.path, f"this is {found.name}, which is not read: {found.advice}", place.member)
    if found is None:
        raise HistoryUnreadable.of(place.path, f"no telling what kind of history this is: {_TRY}", place.member)
    return found
