"""Parked inputs: looked at, mended, replayed, discarded; one, or exactly those that were chosen."""

import json
from codecs import getincrementaldecoder
from collections import Counter
from collections.abc import Sequence
from io import StringIO
from time import monotonic
from typing import Any, Final

from starlette.responses import Response

from agentbus.contracts.documents import json_in
from agentbus.contracts.errors import BusError, InvalidInput, SchemaViolation, StoreError
from agentbus.contracts.parked import ParkedId, ParkedInput, ParkedStatus
from agentbus.contracts.text import encodable
from agentbus.contracts.urls import masked_in
from agentbus.http.dashboard.door import Page, action
from agentbus.http.dashboard.shown import hexdump, link, path
from agentbus.http.dashboard.visit import Place, Same, Visit
from agentbus.operations.parked import (
    ParkedNotFound,
    ReplayRefused,
    discard_parked,
    get_parked,
    list_parked,
    replay_parked,
)
from agentbus.workers.concurrency import raise_if_cancelled

MOST: Final = 500
"""Inputs that are looked at together: the latest ones."""

MOST_MENDED: Final = 256 * 1024
"""Bytes of an input that is mended in a browser."""

_SECONDS: Final = 45.0
"""Seconds for which those that were chosen are worked on. An action may take longer: it says how far it got."""

_LAYOUT: Final = json.JSONEncoder(indent=2, ensure_ascii=False)
_PAGE: Final = 100
_SHOWN: Final = 100
_SHOWN_REASONS: Final = 3


async def listing(visit: Visit) -> Response:
    """List them, grouped by error."""
    status, code = _status(visit.asked("status")), visit.asked("code")
    found, more = await _latest(visit, status)
    shown = [one for one in found if not code or one.code == code]
    everyone = "" if status is ParkedStatus.PARKED else " --all"
    return visit.page(
        "parked.html",
        title="Parked inputs",
        same=Same(link("GET /v1/parked", {"status": status}), f"agentbus parked list{everyone}"),
        groups=_groups(found),
        parked=shown[:_SHOWN],
        everything=[one.parked_id for one in shown],
        more=more,
        most=MOST,
        code=code,
        kept=status,
        statuses=list(ParkedStatus),
    )


async def show(visit: Visit) -> Response:
    """Show one with its original bytes."""
    return await _one(visit, ParkedId(visit.named("parked")))


async def body(visit: Visit) -> Response:
    """Give its bytes as a file."""
    parked = await get_parked(visit.app.store, ParkedId(visit.named("parked")))
    named = {"Content-Disposition": f'attachment; filename="parked-{parked.parked_id}.bin"'}
    return Response(parked.body, headers=named, media_type="application/octet-stream")


async def replay(visit: Visit) -> Response:
    """Publish one again."""
    parked_id = ParkedId(visit.named("parked"))
    queue = await replay_parked(visit.app.bus, visit.app.store, parked_id, scope=visit.app.settings.session.scope)
    return visit.to("/parked", f"{parked_id} was published again, to {queue}.")


async def mend(visit: Visit) -> Response:
    """Publish what somebody made of one in its place; what can't be read either comes back to them with the reason."""
    parked_id, text = ParkedId(visit.named("parked")), visit.form.get("body")
    corrected = text.replace("\r\n", "\n").encode("utf-8", "replace")
    try:
        queue = await replay_parked(
            visit.app.bus,
            visit.app.store,
            parked_id,
            scope=visit.app.settings.session.scope,
            corrected=corrected,
            by=visit.app.by,
        )
    except InvalidInput as error:
        return await _one(visit, parked_id, text=text, wrong=str(error))
    return visit.to("/parked", f"{parked_id} was mended and published again, to {queue}.")


async def discard(visit: Visit) -> Response:
    """Say of one that it is not needed."""
    parked_id = ParkedId(visit.named("parked"))
    await discard_parked(visit.app.store, parked_id)
    return visit.to("/parked", f"{parked_id} is discarded. It stays in the list of the discarded ones.")


async def ask(visit: Visit) -> Response:
    """Say how many were chosen, and ask whether it is meant."""
    chosen = _chosen(visit)
    what = _what(visit)
    if not chosen:
        return visit.to("/parked", "Nothing was chosen.", failed=True)
    found = [one for parked_id in chosen[:_SHOWN] if (one := await visit.app.store.parked.get(parked_id))]
    return visit.page(
        "parked_chosen.html",
        title=f"{'Replay' if what == 'replay' else 'Discard'} {len(chosen)}",
        same=Same("", f"agentbus parked {what} <id>"),
        chosen=chosen,
        shown=found,
        what=what,
    )


async def carry_out(visit: Visit) -> Response:
    """Do it with exactly those that were chosen, the oldest first; what fails is said, and the others go on."""
    what, chosen = _what(visit), _chosen(visit)
    done, failed, ended, until = 0, Counter[str](), "", monotonic() + _SECONDS
    for parked_id in reversed(chosen):  # the latest came first
        if monotonic() > until:
            ended = f"{_SECONDS:g} seconds were over."
            break
        try:
            if what == "replay":
                scope = visit.app.settings.session.scope
                await replay_parked(visit.app.bus, visit.app.store, parked_id, scope=scope)
            else:
                await discard_parked(visit.app.store, parked_id)
            done += 1
        except (ParkedNotFound, ReplayRefused, InvalidInput) as error:
            failed[type(error).code] += 1
        except (BusError, StoreError) as error:
            raise_if_cancelled()
            ended = masked_in(str(error))
            break
    words = "published again" if what == "replay" else "discarded"
    said = f"{done} of {len(chosen)} {words}."
    for code, count in failed.most_common(_SHOWN_REASONS):
        said += f" {count} failed: {code}."
    if ended:
        said += f" Then it ended: {ended} The others are as they were."
    return visit.to("/parked", said, failed=bool(failed or ended))


async def _one(visit: Visit, parked_id: ParkedId, *, text: str | None = None, wrong: str = "") -> Response:
    parked = await get_parked(visit.app.store, parked_id)
    return visit.page(
        "parked_one.html",
        title="Parked input",
        same=Same(f"GET /v1/parked/{parked.parked_id}", f"agentbus parked show {parked.parked_id}"),
        parked=parked,
        original=_as_text(parked.body),
        cut=len(parked.body) > MOST_MENDED,
        editable=_as_editable(parked.body) if text is None else text,
        wrong=wrong,
        dump=hexdump(parked.body),
        where=path("parked", parked.parked_id),
        status=422 if wrong else 200,
    )


async def _latest(visit: Visit, status: ParkedStatus | None) -> tuple[list[ParkedInput], bool]:
    """Return the latest ones, without more of their bodies than a list gives, and whether there are more."""
    found: list[ParkedInput] = []
    cursor = None
    while len(found) < MOST:
        page = await list_parked(visit.app.store, status, limit=_PAGE, cursor=cursor)
        found += [one.model_copy(update={"body": b""}) for one in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    return found[:MOST], cursor is not None


def _groups(found: Sequence[ParkedInput]) -> list[dict[str, Any]]:
    """Return each error that there is: how often, the latest, and what was said most."""
    groups = []
    for code, count in Counter(one.code for one in found).most_common():
        own = [one for one in found if one.code == code]
        reasons = Counter(one.reason for one in own).most_common(_SHOWN_REASONS)
        groups.append({"code": code, "count": count, "latest": own[0].parked_at, "reasons": reasons})
    return groups


def _status(asked: str) -> ParkedStatus:
    try:
        return ParkedStatus(asked or ParkedStatus.PARKED)
    except ValueError:
        raise SchemaViolation(f"{asked!r} is none of {', '.join(ParkedStatus)}") from None


def _chosen(visit: Visit) -> list[ParkedId]:
    """Return those that were chosen, as they were shown: the latest first, each once."""
    named = visit.form.get("everything").split() if visit.form.get("choice") == "everything" else visit.form.all("id")
    if len(named) > MOST:
        raise SchemaViolation(f"{MOST} can be chosen at once")
    return list(dict.fromkeys(ParkedId(one) for one in named))


def _what(visit: Visit) -> str:
    what = visit.form.get("what")
    if what not in {"replay", "discard"}:
        raise SchemaViolation("replay or discard")
    return what


def _as_text(body: bytes) -> str | None:
    """Return bytes as the text that they are, of long ones the beginning; None for what is no text."""
    decoder = getincrementaldecoder("utf-8")()
    try:
        return decoder.decode(body[:MOST_MENDED], final=len(body) <= MOST_MENDED)
    except UnicodeDecodeError:
        return None


def _as_editable(body: bytes) -> str | None:
    """Return what somebody may mend: JSON laid out to be read, other text as it is, None for what is no text."""
    text = _as_text(body)
    if text is None or len(body) > MOST_MENDED:
        return None
    laid_out = StringIO()
    try:
        # Piece by piece, with an end: what is nested deep becomes a thousand times as long.
        for piece in _LAYOUT.iterencode(json_in(text)):
            laid_out.write(piece)
            if laid_out.tell() > 2 * MOST_MENDED:
                return text
    except (ValueError, RecursionError):
        return text
    made = laid_out.getvalue()
    return made if encodable(made) == made else text  # an escape may stand for what UTF-8 can't hold


PAGES: Final = (
    Page("GET", "/parked", listing, place=Place("/parked", "Parked", "Decide")),
    action("/parked/chosen", ask),
    action("/parked/chosen/done", carry_out),
    Page("GET", "/parked/{parked}", show),
    Page("GET", "/parked/{parked}/body", body),
    action("/parked/{parked}/replay", replay),
    action("/parked/{parked}/mend", mend),
    action("/parked/{parked}/discard", discard),
)
