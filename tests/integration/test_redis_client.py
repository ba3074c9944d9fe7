"""Our own clients of Redis try once: a probe waits no longer than its patience."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from redis.exceptions import RedisError

from babylon_tasks.settings import Settings
from babylon_tasks.tasks.redis_connection import open_client

NOWHERE = "postgresql://nobody:no-word@127.0.0.1:1/none"


class Silent:
    """A server that takes every connection and answers nothing, or hangs up at once."""

    def __init__(self, *, hangs_up: bool) -> None:
        self.taken: list[socket.socket] = []
        self._hangs_up = hangs_up
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._take)
        self._thread.start()

    @property
    def settings(self) -> Settings:
        port = self._listener.getsockname()[1]
        return Settings(DATABASE_URL=NOWHERE, REDIS_URL=f"redis://127.0.0.1:{port}/0")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for one in self.taken:
            one.close()

    def _take(self) -> None:
        while True:
            try:
                one, _ = self._listener.accept()
            except OSError:
                return
            self.taken.append(one)
            if self._hangs_up:
                one.close()


@pytest.fixture(params=[False, True], ids=["silent", "hangs up"])
def server(request: pytest.FixtureRequest) -> Iterator[Silent]:
    made = Silent(hangs_up=request.param)
    yield made
    made.close()


def test_a_server_that_does_not_answer_is_asked_once(server: Silent) -> None:
    with open_client(server.settings, 0.2) as client, pytest.raises(RedisError):
        client.ping()

    assert len(server.taken) == 1
