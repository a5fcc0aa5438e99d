"""Who may ask this server: a page of its own, in a browser of this machine, with the token.

Every request is checked before anything reads it: the name it was sent to (against rebinding), the
page that sent it (against other sites), the token, and the size of what it brings.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 512 * 1024**2
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self' data:; font-src 'self' data:; worker-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Guard:
    """ASGI middleware.

    Attributes:
        app: what is guarded.
        hosts: what may stand in the Host header, such as 127.0.0.1:8765.
        token: that a request must know.
    """

    app: ASGIApp
    hosts: frozenset[str]
    token: str
    max_body: int = MAX_BODY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on with the headers that keep the page to itself."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # there are no websockets here
        refusal = self.refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send))
            return
        await self._bounded(scope, receive, send)

    def refusal(self, scope: Scope) -> PlainTextResponse | RedirectResponse | None:
        """Why a request is refused; None where it is not."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host not in self.hosts:
            return PlainTextResponse("this server does not answer to that name", 400)
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return PlainTextResponse("another site may not ask this server", 403)
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return PlainTextResponse("another site may not ask this server", 403)
        given = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["path"] == "/" and self._knows(given.get("token", [""])[0]):
            return self._let_in(given, host)
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if not (self._knows(bearer) or self._knows(_cookie(headers, host))):
            text = "the address lacks the token; open the one that `dpcenet app` printed"
            return PlainTextResponse(text, 401)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.max_body:
            return PlainTextResponse(f"at most {self.max_body} bytes", 413)
        return None

    def _knows(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())

    def _let_in(self, given: dict[str, list[str]], host: str) -> RedirectResponse:
        """The page, without the token in its address: addresses are shown, copied and kept."""
        rest = urlencode({k: v[0] for k, v in given.items() if k != "token"})
        answer = RedirectResponse(f"/?{rest}" if rest else "/", 303)
        answer.set_cookie(cookie_name(host), self.token, httponly=True, samesite="strict", path="/")
        return answer

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on; a body that is longer than it may be ends the request."""
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.max_body:
                raise HTTPException(413, f"at most {self.max_body} bytes")
            return message

        await self.app(scope, counted, _with_headers(send))


def cookie_name(host: str) -> str:
    """Cookies do not tell ports apart, so the name does."""
    return f"dpcenet-{host.rpartition(':')[2]}"


def _cookie(headers: Headers, host: str) -> str:
    cookies: SimpleCookie = SimpleCookie(headers.get("cookie", ""))
    found = cookies.get(cookie_name(host))
    return "" if found is None else found.value


def _with_headers(send: Send) -> Send:
    """Add the headers to every answer."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            extra = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await send(message)

    return sent
