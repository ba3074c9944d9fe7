"""Give a window back after scoring it has failed, whatever has happened to Postgres meanwhile."""

from __future__ import annotations

import structlog
from tenacity import retry, retry_if_exception, stop_after_delay, wait_random_exponential

from babylon_tasks.db import scoring as claims
from babylon_tasks.db.scoring import Claim
from babylon_tasks.db.session import session
from babylon_tasks.decode import bounded
from babylon_tasks.errors import BabylonTasksError, StaleLease
from babylon_tasks.faults import Fault, fault_of
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState

log = structlog.get_logger(__name__)


def release_claim(
    settings: Settings, claimed: Claim, why: str, fault: Fault, *, actor: str
) -> None:
    """Release the claim; the attempt counts only if the fault is the window's own.

    A claim that is not released counts as lost once its lease is over. So after a fault that may
    have befallen Postgres too it is tried for as long as the lease lasts. Raises nothing.
    """
    patient = not fault.uses_up_attempts and fault is not Fault.INTERRUPTED

    @retry(
        retry=retry_if_exception(_may_pass),
        stop=stop_after_delay(settings.lease_seconds if patient else 0),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        reraise=True,
    )
    def release() -> WindowState:
        with session(settings) as connection:
            return claims.release(
                connection, claimed, bounded(why), settings, actor=actor, fault=fault
            )

    try:
        state = release()
    except BabylonTasksError as error:
        # The first error is the one to raise; without a release the lease expires.
        log.warning("claim.not_released", window=claimed.window, why=str(error))
    else:
        log.warning("claim.released", window=claimed.window, state=state, why=bounded(why))


def _may_pass(error: BaseException) -> bool:
    return not isinstance(error, StaleLease) and not fault_of(error).uses_up_attempts
