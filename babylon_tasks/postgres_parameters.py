"""Parameters of DATABASE_URL: Prisma's become libpq's or are refused by name. PURE.

Prisma's are those of its connector for PostgreSQL. ``schema``, ``pgbouncer`` and
``statement_cache_size`` are obeyed where connections are opened.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

# They bound Prisma's own pool and client, and say nothing about ours.
_OF_PRISMA_ALONE = ("connection_limit", "pool_timeout", "socket_timeout")
_OBEYED_ELSEWHERE = ("schema", "pgbouncer", "statement_cache_size")
_UNVERIFIED = ("disable", "allow", "prefer", "require")
_DOCUMENT = 'docs/operations.md, "Encrypt connections"'


def for_libpq(query: str) -> dict[str, str]:
    """Translate a query; raises ValueError, without a value, for what libpq cannot be given.

    ``sslrootcert`` may be ``system``: see ``db.system_authorities``.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    given = dict(pairs)
    if len(given) < len(pairs):
        raise ValueError("DATABASE_URL has a parameter twice: remove one of them")
    kept = {
        name: value
        for name, value in given.items()
        if value and name not in (*_OF_PRISMA_ALONE, *_OBEYED_ELSEWHERE, "sslaccept")
    }
    _refuse_identity(given)
    match given.get("sslaccept"):
        case "strict":
            return _strict(kept)
        case "accept_invalid_certs":
            return _lenient(kept)
        case None:
            if "sslcert" in kept and "sslkey" not in kept:
                raise ValueError(
                    "DATABASE_URL has sslcert without sslkey: if it is the authority that signs "
                    "the server's certificate (Prisma's meaning), add sslaccept=strict or call it "
                    "sslrootcert; if it is this client's certificate (libpq's), add sslkey"
                )
        case _:
            raise ValueError(
                "sslaccept in DATABASE_URL must be strict or accept_invalid_certs, as in Prisma"
            )
    if kept.get("sslrootcert") == "system":
        _require_full(kept, "sslrootcert=system")
        kept["sslmode"] = "verify-full"
    return kept


def of_prisma_alone(query: str) -> list[str]:
    """List the parameters that are accepted and mean nothing here, for `doctor`."""
    return sorted({name for name, _ in parse_qsl(query)} & set(_OF_PRISMA_ALONE))


def _refuse_identity(given: dict[str, str]) -> None:
    if "sslidentity" in given:
        raise ValueError(
            "DATABASE_URL has sslidentity, a PKCS 12 file, which libpq cannot read: convert it "
            f"with openssl, and name its parts by sslcert and sslkey ({_DOCUMENT})"
        )
    if "sslpassword" in given and "sslkey" not in given:
        raise ValueError(
            "DATABASE_URL has sslpassword without sslkey: it is the password of that file"
        )


def _strict(kept: dict[str, str]) -> dict[str, str]:
    _require_full(kept, "sslaccept=strict")
    if "sslkey" not in kept:  # else sslcert is libpq's: Prisma knows no sslkey
        authority = kept.pop("sslcert", "system")
        kept.setdefault("sslrootcert", authority)
    kept.setdefault("sslrootcert", "system")
    return kept | {"sslmode": "verify-full"}


def _lenient(kept: dict[str, str]) -> dict[str, str]:
    if kept.get("sslmode") not in (None, *_UNVERIFIED) or "sslrootcert" in kept:
        raise ValueError(
            "DATABASE_URL has sslaccept=accept_invalid_certs, but also sslrootcert or an sslmode "
            "that verifies: remove one of them"
        )
    if "sslkey" not in kept:
        kept.pop("sslcert", None)  # an authority that decides nothing
    return kept


def _require_full(kept: dict[str, str], by: str) -> None:
    # Prisma knows no mode above `require`; with libpq's meaning, `disable` contradicts.
    weaker = ("disable",) if by.startswith("sslaccept") else (*_UNVERIFIED, "verify-ca")
    if kept.get("sslmode") in weaker:
        raise ValueError(
            f"DATABASE_URL has {by} and an sslmode that verifies less: write sslmode=verify-full"
        )
