"""Guesses at a login: each is logged, and soon they are answered without being looked at."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import structlog

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


def _source(address: str) -> str:
    """Return what one guesser has: an IPv4 address, or a whole /64 of IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    return str(ipaddress.ip_network((found, 64), strict=False))
