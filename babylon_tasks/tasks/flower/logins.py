"""Guesses at Flower's login are counted, and soon answered without being looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flower.views import BaseHandler
from tornado.web import HTTPError

from babylon_tasks.http_server.logins import Logins


class _TooManyFailures(HTTPError):
    """429, with the seconds to wait."""

    def __init__(self, seconds: int) -> None:
        super().__init__(429)
        self.seconds = seconds

    def get_message(self) -> str:
        return f"too many failed logins from your address: try again in {self.seconds} s"


def guard(logins: Logins) -> None:
    """Have Flower's handlers count logins; call it before its application is created."""
    current_user: Callable[[Any], Any] = BaseHandler.get_current_user
    write_error: Callable[..., None] = BaseHandler.write_error

    def get_current_user(handler: Any) -> Any:
        tries = (
            handler.application.options.basic_auth and "Authorization" in handler.request.headers
        )
        if not tries:
            return current_user(handler)
        address = handler.request.remote_ip
        if seconds := logins.pause(address):
            raise _TooManyFailures(seconds)
        try:
            user = current_user(handler)
        except TypeError:  # Flower compares as ASCII, and the login that was sent is not
            logins.failed(address)
            raise HTTPError(401) from None
        except HTTPError:
            logins.failed(address)
            raise
        logins.succeeded(address)
        return user

    def write_error_with_pause(handler: Any, status_code: int, **more: Any) -> None:
        error = (more.get("exc_info") or (None, None))[1]
        if isinstance(error, _TooManyFailures):
            handler.set_header("Retry-After", str(error.seconds))
        write_error(handler, status_code, **more)

    BaseHandler.get_current_user = get_current_user
    BaseHandler.write_error = write_error_with_pause
