"""The OpenAI-compatible endpoint of the ``cpu`` backend, for agents; docs/inference.md.

A connection (``connections``) carries requests to the application (``app``), which checks the key
before it reads a body (``body``). What is asked (``chat_request``) becomes a prompt, waits in the
queue (``batches``), and is answered (``chat``, ``completion``) or refused (``refusals``). How much
of everything is taken, and for how long: ``limits``.
"""
