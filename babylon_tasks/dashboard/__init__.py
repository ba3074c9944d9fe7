"""The report's pages behind a login: what `report --html` writes to a file, as it is now.

A process of its own that can write nothing: each page is one read-only transaction. A request comes
through `http_server`, then the login (``login``), then finds its page (``pages``).
"""
