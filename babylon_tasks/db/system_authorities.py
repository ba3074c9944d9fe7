"""The certificate authorities that this machine trusts, as a file.

The OpenSSL of psycopg's wheels looks for them in a folder that exists nowhere: there libpq's
``sslrootcert=system`` trusts nobody.
"""

from __future__ import annotations

import ssl
from pathlib import Path

_USUAL = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, macOS
)


def system_authorities() -> str:
    """Return the file's path, after SSL_CERT_FILE and Python; ``system`` where there is none."""
    found = (ssl.get_default_verify_paths().cafile, *_USUAL)
    return next((path for path in found if path is not None and Path(path).is_file()), "system")
