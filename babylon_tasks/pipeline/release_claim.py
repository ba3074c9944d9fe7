"""Give a window back after scoring it has failed, whatever has happened to Postgres meanwhile."""

from __future__ import annotations

import structlog

from babylon_tasks.db import scoring as claims
from babylon_tasks.db.scoring import Claim
from babylon_tasks.db.session import Connection
from babylon_tasks.decode import bounded
from babylon_tasks.errors import BabylonTasksError
from babylon_tasks.faults import Fault
from babylon_tasks.mask_secrets import Mask
from babylon_tasks.pipeline.patient_write import write_patiently
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState

log = structlog.get_logger(__name__)


def release_claim(
    settings: Settings, claimed: Claim, why: str, fault: Fault, *, actor: str
) -> None:
    """Release the claim; the attempt counts only if the fault is the window's own.

    A secret in ``why`` is masked: it is stored, and shown by the pages and ``why``. A claim that is
    not released counts as lost, so after a fault that may have befallen Postgres
    too it is tried until Postgres takes writes again, also after the lease. Raises nothing but what
    a signal raises, which ends the wait.
    """
    why = bounded(Mask(settings).text(why))
    patient = not fault.uses_up_attempts and fault is not Fault.INTERRUPTED

    def release(connection: Connection) -> WindowState:
        return claims.release(connection, claimed, why, settings, actor=actor, fault=fault)

    try:
        state = write_patiently(settings, release, patient=patient)
    except BabylonTasksError as error:
        # The first error is the one to raise; without a release the lease expires.
        log.warning("claim.not_released", window=claimed.window, why=str(error))
    else:
        log.warning("claim.released", window=claimed.window, state=state, why=why)
