"""Guesses at Flower's login: each is logged, and soon they are answered without being looked at."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from flower.views import BaseHandler
from tornado.web import HTTPError

log = structlog.get_logger(__name__)
_FREE = 5  # failures of a person who mistypes
_MAX_PAUSE_SECONDS = 60.0
_FORGET_SECONDS = 900.0
_MAX_ADDRESSES = 4096  # remembered; beyond, the address that failed least recently is forgotten


@dataclass
class _Failures:
    count: int = 0
    last: float = -math.inf
    ends: float = -math.inf  # of the pause


class Logins:
    """Count failed logins by address: after five, each doubles a pause of at most a minute.

    A pause and not a delay: what is delayed can be guessed many times at once. During it the right
    login is refused as well, else the answer would show whether a guess was right.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, _Failures] = OrderedDict()

    def pause(self, address: str) -> int:
        """Return the seconds, rounded up, for which logins from an address are refused; 0: none."""
        failures = self._seen.get(_source(address))
        return max(0, math.ceil(failures.ends - self._clock())) if failures else 0

    def failed(self, address: str) -> None:
        """Count and log a failed login."""
        now = self._clock()
        source = _source(address)
        failures = self._seen.pop(source, None)
        if failures is None or now - failures.last > _FORGET_SECONDS:
            failures = _Failures()
        failures.count += 1
        failures.last = now
        beyond = failures.count - _FREE
        pause = min(_MAX_PAUSE_SECONDS, 2.0 ** min(beyond, 10)) if beyond >= 0 else 0.0
        failures.ends = now + pause
        self._seen[source] = failures
        if len(self._seen) > _MAX_ADDRESSES:
            self._seen.popitem(last=False)
        # Not the name that was given: people type their password there.
        log.warning(
            "login.refused", address=address, failures=failures.count, pause_seconds=int(pause)
        )

    def succeeded(self, address: str) -> None:
        """Forget the failures of an address."""
        self._seen.pop(_source(address), None)


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


def _source(address: str) -> str:
    """Return what one guesser has: an IPv4 address, or a whole /64 of IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    return str(ipaddress.ip_network((found, 64), strict=False))
