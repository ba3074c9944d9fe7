"""An HTTP server for agents none of whose waits or sizes is unbounded, with errors like OpenAI's.

A connection (``connections``) carries requests to an ASGI application, which reads a body only
where it is wanted (``body``) and whose errors have OpenAI's shape (``refusals``, ``deliver``). How
much of everything is taken, and for how long: ``limits``. The trainer's endpoint, the gateway and
the dashboard are such applications.
"""
