"""How much the server takes of one request and one connection, and how long it waits for them."""

from __future__ import annotations

HEAD_BYTES = 16_384
# Of a connection. Without a request in progress it is idle, and makes room where it is needed.
SPARE_CONNECTIONS = 256  # beside one for each request
HEAD_SECONDS = 10.0  # from the first byte of a request, or the connection, to the end of its head
BODY_SECONDS = 30.0
# Longer than clients and proxies keep an idle one (Go and reqwest 90 s, .NET, nginx and AWS's load
# balancers 60 s): who asks just when we close it gets no answer, but a reset.
KEEP_ALIVE_SECONDS = 120
FLUSH_SECONDS = 30.0  # for a client that does not read its answer
# What is still read of a request that is refused: a client that writes does not read, and a
# connection that is closed at once may lose the refusal.
STRANGERS_LINGER_BYTES = 65_536
LINGER_BYTES = 16 * 2**20  # with the key
LINGER_SECONDS = 2.0

RETRY_AFTER_SECONDS = 5
