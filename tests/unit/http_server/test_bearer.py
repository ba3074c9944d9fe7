"""The scheme before a key, as RFC 9110 has it: in any case, and any number of spaces after it."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from babylon_tasks.gateway.clients import ClientKeys
from babylon_tasks.http_server.refusals import Refused
from babylon_tasks.training.inference.access import check_key

KEY = b"a-key-of-sixteen"


@pytest.mark.parametrize("before", [b"Bearer ", b"bearer ", b"BEARER ", b"Bearer   ", b""])
def test_the_key_after_the_scheme_is_taken(before: bytes) -> None:
    check_key({b"authorization": before + KEY}, KEY)
    keys = ClientKeys(SecretStr(f"one:{KEY.decode()}"), SecretStr("another"))
    client = keys.client(before + KEY + b":agent-7")
    assert client is not None
    assert (client.name, client.agent) == ("one", "agent-7")


@pytest.mark.parametrize("before", [b"Basic ", b"Bearer", b"Bearer Bearer ", b" "])
def test_nothing_else_is(before: bytes) -> None:
    with pytest.raises(Refused):
        check_key({b"authorization": before + KEY}, KEY)
    assert ClientKeys(SecretStr(f"one:{KEY.decode()}"), SecretStr("x")).client(before + KEY) is None
