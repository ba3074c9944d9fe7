"""The OpenAI-compatible endpoint of the ``cpu`` backend, for agents; docs/inference.md.

The bounded server (``http_server``) carries requests to the application (``app``), which checks the
key before it reads a body. What is asked (``chat_request``) becomes a prompt, waits in the queue
(``batches``), and is answered (``chat``, ``completion``) or refused. How much of a request is
taken: ``limits``.
"""
