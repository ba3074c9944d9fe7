"""The dashboard's ASGI application: a login, one page at a time, and what a browser may do."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from babylon_tasks.cli.html_page import STYLE_HASH, paragraphs
from babylon_tasks.dashboard.login import Login
from babylon_tasks.dashboard.site_page import site_page
from babylon_tasks.http_server.body import Body
from babylon_tasks.http_server.deliver import GONE, Answer, deliver
from babylon_tasks.http_server.limits import RETRY_AFTER_SECONDS
from babylon_tasks.http_server.refusals import ClientGone, Refused

log = structlog.get_logger(__name__)
MOST_REQUESTS = 16  # waiting and answered, with the login
HEALTH = "/healthz"
_HEALTHY = b'{"status":"ok"}'
_METHODS = ("GET", "HEAD")
_GZIP_LEVEL = 5
_NEVER = re.compile(rb"q\s*=\s*0(\.0*)?")
_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    # No script, no other server, no frame; forms only ask this process.
    "content-security-policy": "default-src 'none'; img-src data:; "
    f"style-src '{STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

# The path as it was sent and the query in; HTML out. Raises Refused.
MakePage = Callable[[str, str], str]


class DashboardApp:
    """Answer requests; only the health endpoint needs no login.

    Pages are made one after the other: drawing is not safe in threads, and one connection to
    Postgres is enough for people. One that nobody waits for any more is not begun.
    """

    def __init__(self, login: Login, make_page: MakePage) -> None:
        self._login = login
        self._make = make_page
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="page")
        self._in_progress = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request; ASGI's interface."""
        headers = dict(reversed(scope["headers"]))  # of a repeated one the first counts
        body = Body(headers, receive, most=0)  # no page reads one
        try:
            answer = await self._answer(scope, headers, body)
        except Refused as refusal:
            answer = _refused(refusal)
        except ClientGone:
            answer = Answer(b"", GONE)
        except Exception:
            log.exception("page.failed", path=_path(scope))
            answer = _refused(Refused(500, "this page failed; the dashboard's log says why"))
        await deliver(scope, send, body, answer)

    def close(self) -> None:
        """Begin no further page."""
        self._maker.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, scope: Any, headers: dict[bytes, bytes], body: Body) -> Answer:
        path = _path(scope)
        if scope["method"] not in _METHODS:
            what = f"the dashboard only reads: it takes GET, not {scope['method']}"
            raise Refused(405, what, headers={"allow": ", ".join(_METHODS)})
        if path == HEALTH:
            return Answer(_HEALTHY)
        client = scope["client"]
        self._login.require(client[0] if client else "", headers.get(b"authorization"))
        scope["state"]["connection"].serves()
        body.admit()
        packed = _takes_gzip(headers.get(b"accept-encoding", b""))
        if self._in_progress >= MOST_REQUESTS:
            raise Refused(
                503,
                f"{MOST_REQUESTS} pages are asked for already; try again in a while",
                headers={"retry-after": str(RETRY_AFTER_SECONDS)},
            )
        self._in_progress += 1
        try:
            query = scope["query_string"].decode("latin-1")
            loop = asyncio.get_running_loop()
            page = loop.run_in_executor(self._maker, self._made, path, query, packed)
            return await body.unless_gone(page)
        finally:
            self._in_progress -= 1

    def _made(self, path: str, query: str, packed: bool) -> Answer:
        content = self._make(path, query).encode()
        headers = {**_HEADERS, "vary": "accept-encoding"}
        if packed:
            content = gzip.compress(content, _GZIP_LEVEL)
            headers["content-encoding"] = "gzip"
        return Answer(content, headers=headers)


def _takes_gzip(accepted: bytes) -> bool:
    """Check whether a header accept-encoding names gzip, and not with weight 0."""
    for one in accepted.lower().split(b","):
        name, _, weight = (part.strip() for part in one.partition(b";"))
        if name == b"gzip":
            return _NEVER.fullmatch(weight) is None
    return False


def _path(scope: Any) -> str:
    """Return the path as it was sent: a decoded %2F must not become part of another one."""
    path: str = scope["raw_path"].decode("latin-1")
    return path


def _refused(refusal: Refused) -> Answer:
    page = site_page(f"No page ({refusal.status})", paragraphs([refusal.message]))
    return Answer(page.encode(), refusal.status, {**_HEADERS, **refusal.headers})
