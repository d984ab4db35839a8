"""Who may talk to the studio: this machine alone, or whoever holds the token; no other site's page in any case.

A page of another site can make a browser send requests to 127.0.0.1. It cannot choose the header Host, which is checked
against DNS rebinding, nor forge Origin and Sec-Fetch-Site, which are checked against requests that it makes itself.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

Scope = MutableMapping[str, Any]
Handler = Callable[[Scope, Any, Any], Awaitable[None]]

COOKIE = "stylegraft-studio"
LOCAL = ("127.0.0.1", "localhost", "::1", "[::1]")
MOST_BODY = 600 << 20  # bytes of a request: an upload of pictures; others are refused far below
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:;"
    " object-src 'none'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """An ASGI app around another that answers what is refused itself.

    token: None lets this machine in alone, by the names in `LOCAL`; else every request needs it, once in the address
    (`?token=`) and from then on as a cookie, and any Host will do, since no other site has the cookie.
    """

    def __init__(self, app: Handler, token: str | None = None) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        why = refusal(scope["method"], headers, self.token, given)
        if why:
            await _answer(send, 403, f'{{"error": "{why}"}}', {"content-type": "application/json"})
            return
        if self.token and given:
            # The token leaves the address, so that no history and no bookmark holds it.
            cookie = f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/"
            await _answer(send, 303, "", {"location": scope["path"], "set-cookie": cookie})
            return

        async def guarded(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = {key.lower() for key, _ in message["headers"]}
                extra = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in own]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        await self.app(scope, receive, guarded)


def refusal(method: str, headers: dict[str, str], token: str | None, given: str = "") -> str:
    """Why a request is refused, in words without quotation marks; empty where it is not."""
    host = headers.get("host", "")
    if token is None:
        if hostname(host) not in LOCAL:
            return "this studio answers on this machine alone: open it as 127.0.0.1"
    elif not _same(given or cookie(headers), token):
        return "this studio needs its token: open the address that was printed when it started"
    origin = headers.get("origin")
    if origin is not None and _place(origin) != host:
        return "this request comes from another site"
    if method not in ("GET", "HEAD") and headers.get("sec-fetch-site", "same-origin") not in (
        "same-origin",
        "none",
    ):
        return "this request comes from another site"
    if method not in ("GET", "HEAD") and "x-studio" not in headers:
        return "this request does not come from the page of the studio"
    length = headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 12 or int(length) > MOST_BODY:
        return f"more than {MOST_BODY >> 20} MB in one request"
    return ""


def _place(origin: str) -> str | None:
    """Host and port of an origin; None of one that is no address."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def hostname(host: str) -> str:
    """`127.0.0.1:7860` -> `127.0.0.1`, `[::1]:7860` -> `[::1]`."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def cookie(headers: dict[str, str]) -> str:
    """The token that the browser kept."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except Exception:  # a malformed header is no cookie
        return ""
    return found.value if found else ""


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


async def _answer(send: Any, status: int, text: str, headers: dict[str, str]) -> None:
    pairs = [(key.encode(), value.encode()) for key, value in (HEADERS | headers).items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": text.encode()})
