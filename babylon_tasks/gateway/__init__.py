"""One address for all agents, in OpenAI's protocol: the lineage's checkpoints and other servers.

A request (``app``) names a client (``clients``) and an agent (``asker``, ``prompt_agent``). Its
model is resolved once (``routes``), by the pointer kept in memory (``pointer``), to a checkpoint or
another server (``servers``). What a checkpoint's server is asked, and what of its answer the client
gets, is ``trainer_body`` and ``trainer_reply``, as the server's kind needs it (``profiles``,
``probe_server``); a stream is made of the whole answer (``stream``).
How each was sampled is kept (``captured``) and written behind the requests
(``capture``, ``call_spool``). ``process`` runs it. No database, Redis or disk is waited for between
a request and its answer.
"""
