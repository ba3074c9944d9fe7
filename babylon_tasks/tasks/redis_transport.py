"""kombu's Redis transport, reduced to what we need of it: one bounded list for each queue.

- What is taken from a queue is gone from Redis. kombu by default notes it in `unacked` and puts it
  back at the end or after an hour, so that a message that ends its worker ends the next one too.
  A lost message costs a period of beat.
- Everything that arrives passes ``message_gate`` before kombu or Celery looks at it.
- A worker that takes messages writes nothing, so that it works off the queue of a full Redis.
- The newest messages of a queue are kept, whoever sends how many.
"""

from __future__ import annotations

import functools
from queue import Empty
from random import randint
from typing import Any

import structlog
from kombu.transport import redis as kombu_redis
from kombu.utils.json import dumps
from redis.exceptions import ReadOnlyError, ResponseError

from babylon_tasks.tasks.app import KEPT_MESSAGES, family
from babylon_tasks.tasks.bounded_replies import BoundedParser, Oversized
from babylon_tasks.tasks.message_gate import ForeignMessage, ForeignMessages, admit, admit_reply

# Of a command or an event. Flower keeps the events of 10,000 tasks; the largest of ours, of an
# error with its traceback, have about 10 KiB.
_MAX_COMMAND_BYTES = 64 * 1024
_REPLIES = ".reply.celery.pidbox"  # the answers of workers to `inspect`
_foreign = ForeignMessages()
log = structlog.get_logger(__name__)


class _Client(kombu_redis.PrefixedStrictRedis):  # type: ignore[misc]  # kombu is untyped
    """Replace what BRPOP takes by what the gate lets through; None, as for nothing, if refused."""

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        """Read one reply."""
        reply = super().parse_response(connection, command_name, **options)
        if command_name != "BRPOP" or not reply:
            return reply
        key, raw = reply
        queue = key.decode("utf-8", "replace") if isinstance(key, bytes) else key
        try:
            if family(queue) is not None:
                return key, admit(queue, raw)
            if queue.endswith(_REPLIES):
                return key, admit_reply(raw)
            raise ForeignMessage("queue")
        except ForeignMessage as error:
            _foreign.note(queue if family(queue) is not None else "replies", str(error), raw)
            return None


class Channel(kombu_redis.Channel):  # type: ignore[misc]
    """One channel; its queues need no bindings, since they are sent to by their names."""

    do_restore = False  # what a closing channel has taken is not put back either

    def _get_client(self) -> Any:
        return functools.partial(_Client, global_keyprefix=self.global_keyprefix)

    def _connparams(self, asynchronous: bool = False) -> Any:
        return super()._connparams(asynchronous) | {"parser_class": BoundedParser}

    # --- taking

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            self._remove_wrong_types()
            raise Empty from error

    def _remove_wrong_types(self) -> None:
        with self.conn_or_acquire() as client:
            for queue in self.active_queues:
                kind = client.type(self.global_keyprefix + queue).decode()
                if kind not in ("list", "none"):
                    client.delete(queue)
                    _foreign.note(queue, "not_a_list", kind.encode())

    def _receive_one(self, c: Any) -> Any:
        try:
            return super()._receive_one(c)
        except RecursionError as error:  # its JSON; what kombu expects, it handles
            _foreign.note("commands", "envelope", b"too deep")
            raise Empty from error

    def _handle_message(self, client: Any, r: Any) -> Any:
        payload = super()._handle_message(client, r)
        data = payload["data"]
        if isinstance(data, bytes) and (
            len(data) > _MAX_COMMAND_BYTES or isinstance(data, Oversized)
        ):
            _foreign.note("commands", "too_large", data)
            raise Empty
        return payload

    def _deliver_fanout_message(self, message: Any, exchange: str) -> Any:
        # Commands to workers, and events on their way to Flower.
        try:
            return super()._deliver_fanout_message(message, exchange)
        except Exception as error:
            # Whatever it was about, a command must not end the worker or its connection.
            log.warning("command.failed", error=type(error).__name__, exc_info=True)
            _foreign.note("commands", "envelope", dumps(message).encode())
            raise Empty from error

    # --- sending
    # Beat sends its tasks in turn. If each that is run takes several of its periods, the same
    # number of messages would always be left when a worker takes the oldest, and that would always
    # be the same task: reconcile, say, never ran while discover waited for a lock that only
    # reconcile frees. With one more or one less, at random, each has its turn.

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        ours = family(queue)
        if ours is None:
            super()._put(queue, message, **kwargs)
            return
        kept = KEPT_MESSAGES[ours] - randint(0, 1)
        try:
            with self.conn_or_acquire() as client, client.pipeline(transaction=False) as pipe:
                pipe.lpush(queue, dumps(message))
                pipe.ltrim(self.global_keyprefix + queue, 0, kept - 1)
                pipe.execute()
        except ReadOnlyError:
            # After a failover the server's name leads to another one, but not this connection.
            self._disconnect_pools()
            raise

    # --- bindings: kombu would write them for every queue at each start

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        if self.typeof(exchange).type == "fanout":
            self._fanout_queues[queue] = (exchange, routing_key.replace("#", "*"))
        elif family(queue) is None:
            super()._queue_bind(exchange, routing_key, pattern, queue)

    def _delete(self, queue: str, *args: Any, **kwargs: Any) -> None:
        if queue not in self._fanout_queues:
            super()._delete(queue, *args, **kwargs)

    def maybe_refresh_binding_expiry(self) -> None:
        """Refresh the bindings of queues for replies; those of fanout queues are not stored."""
        if any(queue in self._expires for queue in self.active_queues):
            super().maybe_refresh_binding_expiry()


class Transport(kombu_redis.Transport):  # type: ignore[misc]
    """The transport that ``broker_transport`` names."""

    Channel = Channel
