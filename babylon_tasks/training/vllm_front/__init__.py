"""Where agents ask backend ``local``: a bounded endpoint before the vLLM that ART starts.

ART's vLLM listens on the loopback alone, on any port, and that is as it should be: its key guards
the paths under ``/v1`` and not those that put it to sleep, and one under ``/v1`` loads any adapter
(docs/decisions.md). The application (``app``) takes what agents ask, lets it wait while vLLM cannot
answer (``gate``), and passes it on (``upstream``).
"""
