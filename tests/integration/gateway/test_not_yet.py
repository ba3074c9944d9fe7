"""A checkpoint that its server does not have yet: clients ask again, unless they are told 404."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from gateways import Played

from babylon_tasks.gateway.breaker import FAILURES

pytestmark = pytest.mark.contract(None)

Play = Callable[..., AbstractContextManager[Played]]


@pytest.mark.parametrize("name", ["tests", "tests@0"])
def test_a_name_of_the_lineage_is_asked_for_again(played: Play, name: str) -> None:
    with played() as made:
        made.trainer.status = 404
        reply = made.ask(name)
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
        assert "the checkpoints' server does not have tests@0 yet" in reply.text

        made.trainer.status = 200
        assert made.ask(name).status_code == 200


def test_a_name_that_nobody_knows_is_not(played: Play) -> None:
    with played() as made:
        made.trainer.status = 404
        for name in ("tests@7", "tests@x", "anybody"):
            reply = made.ask(name)
            assert (reply.status_code, "retry-after" in reply.headers) == (404, False)
        asked = [body for _, body in made.trainer.came if b"ACME" in body]
        assert len(asked) == 1, "only the server knows whether there is a newer one"


def test_one_checkpoint_that_is_not_there_pauses_no_other(played: Play) -> None:
    with played(gateway_fallback="other/m") as made:
        made.trainer.status = 404
        assert {made.ask("tests@0").status_code for _ in range(2 * FAILURES)} == {503}
        made.trainer.status = 200
        assert "x-babylon-fallback" not in made.ask().headers
