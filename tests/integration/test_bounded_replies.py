"""A reply of Redis that is too long is read to its end and not kept."""

from __future__ import annotations

import pytest
import redis

from babylon_tasks.tasks.bounded_replies import MAX_REPLY_BYTES, BoundedParser, Oversized

pytestmark = pytest.mark.contract(None)


@pytest.mark.parametrize("protocol", [2, 3])
def test_only_the_beginning_of_a_long_reply_is_kept_and_the_next_is_read(
    redis_url: str, protocol: int
) -> None:
    with redis.Redis.from_url(redis_url, parser_class=BoundedParser, protocol=protocol) as client:
        client.set("longest", b"x" * MAX_REPLY_BYTES)
        client.rpush("too long", b"y" * (MAX_REPLY_BYTES + 1), b"after it")
        client.set("next", b"z")

        assert client.get("longest") == b"x" * MAX_REPLY_BYTES
        beginning, after = client.lrange("too long", 0, -1)  # type: ignore[misc]
        assert isinstance(beginning, Oversized)
        assert (beginning, beginning.size) == (b"y" * 4096, MAX_REPLY_BYTES + 1)
        assert (after, client.get("next")) == (b"after it", b"z")
