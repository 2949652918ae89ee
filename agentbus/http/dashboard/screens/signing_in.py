"""Signing in with a key of the HTTP API, and out."""

from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from agentbus.http.access import tell_refused
from agentbus.http.dashboard.door import Page
from agentbus.http.dashboard.shown import link
from agentbus.http.dashboard.visit import Same, Visit
from agentbus.http.problems import TooManyCalls
from agentbus.operations.api_keys import Role
from agentbus.operations.sign_ins import LASTS, sign_in, sign_out

COOKIE: Final = "agentbus"
"""The cookie of whoever is signed in; before that, of what binds the form to a browser."""

SAME: Final = Same("", "agentbus api-keys create <name> --role read --role operate")


def give(answer: Response, request: Request, token: str) -> None:
    """Have the browser keep a token: no script reads it, no other site sends it."""
    secure = request.url.scheme == "https"
    age = int(LASTS.total_seconds())
    answer.set_cookie(COOKIE, token, max_age=age, httponly=True, samesite="strict", secure=secure)


def ask(request: Request) -> Response:
    """Return the way to the form, and back to where somebody was going."""
    if request.headers.get("hx-request"):  # a part of a page that is live: all of it has to be left
        return Response(status_code=401, headers={"HX-Redirect": "/sign-in"})
    query = f"?{request.url.query}" if request.url.query else ""
    back = f"{request.url.path}{query}" if request.method == "GET" else ""
    return RedirectResponse(link("/sign-in", {"back": back if back != "/" else ""}), 303)


async def form(visit: Visit) -> Response:
    """Show the form."""
    if visit.key:
        return visit.to("/")
    return visit.page("sign_in.html", title="Sign in", same=SAME, back=visit.asked("back"), wrong="")


async def enter(visit: Visit) -> Response:
    """Exchange a key for a token."""
    if not visit.strangers.allows():
        raise TooManyCalls("Too many keys are tried out. Wait a moment.")
    back = visit.form.get("back")
    found = await sign_in(visit.app.store, visit.app.clock, visit.form.get("key").strip())
    if found is None:
        tell_refused(visit.request)
        wrong = "This is no key, or it is one no more: agentbus api-keys list"
        return visit.page("sign_in.html", title="Sign in", same=SAME, back=back, wrong=wrong, status=403)
    token, key = found
    if Role.READ not in key.roles:
        await sign_out(visit.app.store, token)
        wrong = "This key has not the role read, which the dashboard needs."
        return visit.page("sign_in.html", title="Sign in", same=SAME, back=back, wrong=wrong, status=403)
    answer = visit.to(back if _is_ours(back) else "/")
    give(answer, visit.request, token)
    return answer


async def leave(visit: Visit) -> Response:
    """Sign out."""
    if token := visit.request.cookies.get(COOKIE):
        await sign_out(visit.app.store, token)
    answer = visit.to("/sign-in", "You are signed out.")
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


def _is_ours(back: str) -> bool:
    """Whether somebody may be led there: a path of ours, and nothing that a browser reads as another host."""
    return back.startswith("/") and not back.startswith(("//", "/\\")) and back.isprintable() and back.isascii()


PAGES: Final = (
    Page("GET", "/sign-in", form, role=None),
    Page("POST", "/sign-in", enter, role=None),
    Page("POST", "/sign-out", leave, role=None),
)
