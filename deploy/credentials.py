"""Generate the secrets that compose.yaml mounts: ``make secrets``. Needs only Python.

Passwords are random; DATABASE_URL, REDIS_URL, FLOWER_BASIC_AUTH, WANDB_API_KEY,
BABYLON_RULER_API_KEY, BABYLON_GATEWAY_UPSTREAM_KEYS and HF_TOKEN are taken from the environment
where set. With DATABASE_URL, KEDA gets an address of its own, keda_connection, and its role is in
keda_role.sql, for psql.

Only the owner can open the folder (0700). The files in it are readable (0444):
Compose mounts each of them unchanged, for users with other ids.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

PIP = "# Your pip.conf while the images are built, if you need one; it ends up in no image.\n"

KEDA = "babylon_tasks_keda"
KEDA_TABLES = tuple(
    f"training.{name}"
    for name in (
        *("windows", "lineage_windows", "pauses", "lifted_pauses"),
        *("tripwires", "accepted_tripwires"),
    )
)
KEDA_AUTHORITIES = "/custom/ca"
_SERVERS = ("database_url", "redis_url")
_ACCOUNTS = (
    "wandb_api_key",
    "babylon_ruler_api_key",
    "babylon_gateway_upstream_keys",
    "hf_token",
)


def generate(environment: Mapping[str, str]) -> dict[str, str]:
    """Make the content of every file, by its name."""
    postgres, redis = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    files = {
        "postgres_password": postgres,
        "redis_password": redis,
        "database_url": f"postgresql://babylon:{postgres}@postgres:5432/babylon",
        "redis_url": f"redis://:{redis}@redis:6379/0",
        "flower_basic_auth": f"babylon:{secrets.token_urlsafe(24)}",
        "babylon_dashboard_login": f"babylon:{secrets.token_urlsafe(24)}",
        "babylon_inference_api_key": secrets.token_urlsafe(24),
        "babylon_gateway_keys": f"agents:{secrets.token_urlsafe(24)}",
    }
    for name in (*_SERVERS, "flower_basic_auth", *_ACCOUNTS):
        if given := environment.get(name.upper(), "").strip():
            files[name] = given
    if environment.get("DATABASE_URL", "").strip():
        files |= _for_keda(files["database_url"])
    return files


def _for_keda(database_url: str) -> dict[str, str]:
    """Make the address by which KEDA counts windows, and the SQL that makes its role."""
    parts = urlsplit(database_url)
    password = secrets.token_hex(24)
    server = parts.netloc.rpartition("@")[2]
    options = urlencode(_tls_of_keda(dict(parse_qsl(parts.query))))
    address = ("postgresql", f"{KEDA}:{password}@{server}", parts.path, options, "")
    return {
        "keda_connection": urlunsplit(address),
        "keda_role.sql": "\\set ON_ERROR_STOP on\n"
        f"CREATE ROLE {KEDA} LOGIN PASSWORD '{password}';\n"
        f"GRANT USAGE ON SCHEMA training TO {KEDA};\n"
        f"GRANT SELECT ON {', '.join(KEDA_TABLES)} TO {KEDA};\n"
        f"GRANT SELECT (lineage, state, windows) ON training.steps TO {KEDA};\n"
        f"GRANT SELECT (id, lineage, kind) ON training.events TO {KEDA};\n",
    }


def _tls_of_keda(given: Mapping[str, str]) -> dict[str, str]:
    """Translate parameters of TLS for its driver, pgx: as `babylon_tasks.postgres_parameters`."""
    strict = given.get("sslaccept") == "strict"
    authority = given.get("sslrootcert")
    if strict and authority is None:
        authority = given.get("sslcert", "system") if "sslkey" not in given else "system"
    options = {"sslmode": given["sslmode"]} if "sslmode" in given else {}
    if strict or authority == "system":
        options["sslmode"] = "verify-full"
    if authority is not None:
        # Our pods' files are not in KEDA's.
        here = authority == "system"
        options["sslrootcert"] = authority if here else f"{KEDA_AUTHORITIES}/{Path(authority).name}"
    return options


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Create the folder with all of the files, or nothing; raises FileExistsError."""
    if folder.exists():
        raise FileExistsError(
            f"{folder} exists and is left as it is: it may hold the only copy of a password; "
            "to rotate secrets see docs/operations.md"
        )
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))  # 0700
    try:
        for name, content in files.items():
            file = scratch / name
            file.write_text(content, "utf-8")
            file.chmod(0o444)
        scratch.rename(folder)
    except BaseException:
        shutil.rmtree(scratch)
        raise


def main() -> None:
    """Write the folder named by the first argument, ``secrets`` by default."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "secrets").absolute()
    files = generate(os.environ)
    try:
        write(folder, {**files, "pip.conf": PIP})
    except OSError as error:
        sys.exit(f"no secrets were written: {error}")
    taken = [name.upper() for name in files if os.environ.get(name.upper(), "").strip()]
    print(f"{folder}: {', '.join(sorted(files))}")
    print(f"taken from the environment: {', '.join(taken) or 'nothing, all are random'}")


if __name__ == "__main__":
    main()
