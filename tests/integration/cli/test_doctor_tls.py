"""`doctor` says whether TLS protects as it seems to; commands say what to do where it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result, Run, finished, one_contract
from documents import executed_by
from tls import Authority, at

Start = Callable[..., subprocess.Popen[str]]


def lines(found: Result, check: str) -> list[tuple[str, str]]:
    every = found.document["findings"]
    return [(one["outcome"], one["detail"]) for one in every if one["check"] == check]


@one_contract
def test_without_tls_nothing_is_said_about_it(run: Run) -> None:
    found = run("doctor", "--json")
    assert lines(found, "redis tls") == lines(found, "postgres tls") == []


@one_contract
@pytest.mark.parametrize(
    ("query", "outcome"),
    [
        ({}, "ok"),
        ({"ssl_cert_reqs": "required"}, "ok"),
        ({"ssl_check_hostname": "false"}, "warn"),
        ({"ssl_cert_reqs": "none"}, "warn"),
    ],
)
def test_doctor_warns_of_a_redis_that_is_not_verified(
    run: Run,
    tls_redis_url: str,
    authority: Authority,
    query: dict[str, str],
    outcome: str,
) -> None:
    ca = {"ssl_ca_certs": str(authority.file)}
    url = at(tls_redis_url, **ca, **query)
    found = run("doctor", "--json", REDIS_URL=url)
    assert found.code == 0
    ((said, _),) = lines(found, "redis tls")
    assert said == outcome


@one_contract
@pytest.mark.parametrize(
    ("query", "outcome"),
    [
        ({"sslaccept": "strict"}, "ok"),
        ({"sslmode": "require"}, "warn"),
        ({}, "warn"),
        ({"sslmode": "require", "sslaccept": "accept_invalid_certs"}, "warn"),
    ],
)
def test_doctor_warns_of_a_postgres_that_is_not_verified(
    run: Run,
    tls_database_url: str,
    authority: Authority,
    query: dict[str, str],
    outcome: str,
) -> None:
    ca = {"sslcert": str(authority.file)} if "sslaccept" in query else {}
    found = run("doctor", "--json", DATABASE_URL=at(tls_database_url, **query, **ca))
    assert found.code == 0
    ((said, _),) = lines(found, "postgres tls")
    assert said == outcome


@one_contract
def test_doctor_names_parameters_that_are_of_prisma_s_pool(run: Run, database_url: str) -> None:
    query = "?connection_limit=5&socket_timeout=9&connect_timeout=4"
    ((outcome, detail),) = lines(
        run("doctor", "--json", DATABASE_URL=database_url + query), "database url"
    )
    assert outcome == "ok"
    assert detail.startswith("connection_limit, socket_timeout: of Prisma's pool")


@one_contract
def test_commands_that_send_work_over_tls_or_say_what_hinders_them(
    start: Start, tls_redis_url: str, authority: Authority, tmp_path: Path
) -> None:
    def sent(**query: str) -> Result:
        url = at(tls_redis_url, **query)
        return finished(start("train", "--enqueue", REDIS_URL=url))

    assert sent(ssl_ca_certs=str(authority.file)).code == 0
    for query, code, why in (
        ({}, 1, "ssl_ca_certs in REDIS_URL must name the file of the authority"),
        ({"ssl_ca_certs": str(tmp_path / "nowhere")}, 2, "nowhere, cannot be read"),
    ):
        found = sent(**query)
        assert found.code == code
        assert why in found.err
        assert "fault in babylon-tasks" not in found.err
        assert "Traceback" not in found.err


@one_contract
def test_what_the_document_says_to_do_before_an_address_is_changed(
    environment: dict[str, str],
    tls_redis_url: str,
    tls_database_url: str,
    authority: Authority,
) -> None:
    given = {
        **os.environ,
        **environment,
        "DATABASE_URL": at(tls_database_url),
        "REDIS_URL": at(tls_redis_url),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for block in executed_by(__file__):
        done = subprocess.run(
            ["bash", "-euc", block.text],
            env=given,
            cwd=authority.file.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("encrypted, the server is verified") == 2


@one_contract
@pytest.mark.parametrize("name", ["beat", "cpu-worker", "flower"])
def test_a_process_does_not_start_without_the_file_of_the_authority(
    start: Start, tls_redis_url: str, tmp_path: Path, name: str
) -> None:
    nowhere = str(tmp_path / "nowhere.crt")
    url = at(tls_redis_url, ssl_ca_certs=nowhere)
    found = finished(start("run", name, REDIS_URL=url, FLOWER_BASIC_AUTH="user:long-enough"))
    assert found.code != 0
    assert f"ssl_ca_certs, {nowhere}, cannot be read" in found.out + found.err
    assert "Traceback" not in found.out + found.err
