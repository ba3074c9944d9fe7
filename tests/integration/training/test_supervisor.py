"""A trainer's life and death: what its worker sees, and what it must never leave behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psutil
import pytest
from dotenv import load_dotenv
from recorded import SECRETS, many, train_request, trainer_settings, yes_pays

from babylon_tasks.errors import BackendUnavailable, TrainerDied, TrainingError
from babylon_tasks.faults import Fault
from babylon_tasks.settings import Settings
from babylon_tasks.training.checkpoints import newest_step
from babylon_tasks.training.protocol import GRADIENT_STEPS, Heartbeat, RequestProgress
from babylon_tasks.training.supervisor import Trainer
from babylon_tasks.training.trainer_start import StartTrainer, TrainerReady

ROOT = Path(__file__).parents[3]


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody waited for has ended too."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def until(what: str, happened: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until it has happened; the bound ends a hanging test, it is no expectation."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


def answers(port: int | None) -> bool:
    assert port is not None
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def settings(tiny_model: Path, tmp_path: Path) -> Settings:
    return trainer_settings(
        tmp_path / "data", base_model=str(tiny_model), packed_sequence_length=64
    )


def test_no_secret_is_in_the_trainers_environment_arguments_or_log(
    trainer: Trainer, worker_settings: Settings
) -> None:
    trainer.ready()
    process = psutil.Process(trainer.pid)
    exposed = "\n".join([*process.environ(), *process.environ().values(), *process.cmdline()])
    log = trainer.log_path.read_text()

    for name, value in SECRETS.items():
        word = value if "word" not in value else "word-of-" + value.split("word-of-")[1][:5]
        assert word not in exposed, name
        assert word not in log, name
    assert not any(name.upper().startswith("BABYLON_") for name in process.environ())
    assert (
        worker_settings.inference_api_key.get_secret_value() == SECRETS["BABYLON_INFERENCE_API_KEY"]
    )  # it did reach the trainer: the endpoint's tests use it


def test_a_trainer_does_without_litellm_whose_libraries_take_seconds(trainer: Trainer) -> None:
    trainer.ready()
    loaded = [one.path for one in psutil.Process(trainer.pid).memory_maps()]

    assert any("/tokenizers/" in path for path in loaded)
    assert not any("/tiktoken/" in path for path in loaded)


def test_a_dotenv_file_does_not_bring_the_secrets_back(
    trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer.ready()
    file = tmp_path / ".env"
    file.write_text("WANDB_API_KEY=word-of-wandb")
    name = "PYTHON_DOTENV_DISABLED"
    monkeypatch.setenv(name, psutil.Process(trainer.pid).environ()[name])

    assert not load_dotenv(file)  # what `import art` calls
    assert "WANDB_API_KEY" not in os.environ


def test_a_second_trainer_of_the_same_lineage_is_refused(
    trainer: Trainer, worker_settings: Settings
) -> None:
    trainer.ready()
    with Trainer(worker_settings) as second:
        with pytest.raises(
            BackendUnavailable, match=f"process {trainer.pid}.* is running for lineage tests"
        ):
            second.ready()
        assert trainer.pid is not None  # the first is none the worse for it

    assert trainer.backend_step().step >= 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [({}, "another trainer"), ({"backend": "abacus", "lineage": "free"}, "abacus is not tested")],
    ids=["refused", "broken"],
)
def test_a_trainer_that_cannot_start_exits_with_the_reason(
    trainer: Trainer, worker_settings: Settings, change: dict[str, str], reason: str
) -> None:
    trainer.ready()
    start = StartTrainer(
        **{
            "backend": "cpu",
            "lineage": "tests",
            "base_model": worker_settings.base_model,
            "project": "babylon",
            "data_dir": str(worker_settings.data_dir),
            "inference_host": "127.0.0.1",
            "inference_port": 0,
            "inference_api_key": SECRETS["BABYLON_INFERENCE_API_KEY"],
            **change,
        }
    )
    with subprocess.Popen(
        [sys.executable, "-m", "babylon_tasks.training.trainer"],
        stdin=subprocess.PIPE,  # stays open: nobody ends it but itself
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as started:
        assert started.stdin is not None
        assert started.stdout is not None
        assert started.stderr is not None
        started.stdin.write(msgspec.json.encode(start) + b"\n")
        started.stdin.flush()

        assert started.wait(timeout=60) == 1
        assert reason in (started.stdout.read() + started.stderr.read()).decode()


def test_a_trainer_that_refuses_a_request_lives_on(trainer: Trainer, tmp_path: Path) -> None:
    trainer.ready()
    pid, at = trainer.pid, trainer.backend_step().step
    missing = train_request(tmp_path, [yes_pays()], base_step=at)
    Path(missing.groups_path).unlink()

    with pytest.raises(TrainingError, match=r"groups\.json"):
        trainer.train(missing)
    with pytest.raises(TrainingError, match=f"starts from {at + 7} but the backend is at {at}"):
        trainer.train(train_request(tmp_path, [yes_pays()], base_step=at + 7))
    with pytest.raises(TrainingError, match="checkpoint 99: its weights are not on this machine"):
        trainer.train(train_request(tmp_path, [yes_pays()], base_step=at, parent_step=99))
    with pytest.raises(TrainingError, match=f"discard step {at + 7}"):
        trainer.discard(at + 7)

    assert trainer.pid == pid
    assert trainer.backend_step().step == at


def test_a_trainer_killed_in_a_step_is_replaced_by_one_that_goes_on_as_if_nothing_had_happened(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a backend with processes of its own would be: a child in the trainer's group.
    child = tmp_path / "child"
    (tmp_path / "sitecustomize.py").write_text(
        "from subprocess import *\n"
        "child = Popen(['sleep', '600'], stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)\n"
        f"open({str(child)!r}, 'w').write(str(child.pid))\n"
    )

    def second_step(trainer: Trainer) -> str | None:
        groups = [yes_pays("Another question?"), *many(3)]
        return trainer.train(train_request(tmp_path, groups, base_step=1)).adapter_hash

    with Trainer(settings) as trainer:
        with monkeypatch.context() as patch:
            patch.setenv("PYTHONPATH", str(tmp_path))
            trainer.ready()
        pid = trainer.pid
        assert pid is not None
        assert not gone(int(child.read_text()))
        first = trainer.train(train_request(tmp_path, many(3)))
        warm = second_step(trainer)
        trainer.discard(2)
        reloaded = second_step(trainer)
        trainer.discard(2)
        # Leftovers of a process that died while it wrote, and of one that died while it discarded.
        checkpoints = Path(first.uri).parent
        for name in (".writing-0002-1", ".discarded-0002"):
            (checkpoints / name).mkdir()
            (checkpoints / name / "adapter_model.safetensors").write_bytes(b"half")
        reported: list[RequestProgress] = []

        def end(progress: RequestProgress) -> None:
            if progress.counted == GRADIENT_STEPS and progress.total:
                reported.append(progress)
                if len(reported) == 1:
                    os.kill(pid, signal.SIGKILL)

        with pytest.raises(TrainerDied, match="signal SIGKILL") as died:
            trainer.train(train_request(tmp_path, many(40), base_step=1), end)

        assert died.value.fault is Fault.TRAINER_KILLED
        assert reported[0].total > len(reported)  # it was in the middle
        assert trainer.pid is None
        until("the child has ended", lambda: gone(int(child.read_text())))
        assert newest_step(checkpoints) == 1

        assert trainer.backend_step().step == 1
        assert trainer.pid not in (None, pid)
        assert trainer.backend_step().result == first
        assert [path.name for path in checkpoints.iterdir()] == ["0001"]  # the leftovers are gone
        restarted = second_step(trainer)
        trainer.discard(2)
        (checkpoints / "0001" / "optimizer.pt").unlink()
        forgetful = second_step(trainer)

        address, last = trainer.ready().base_url, trainer.pid
        trainer.close()
        trainer.close()  # twice is harmless

    assert warm == reloaded == restarted
    assert forgetful != restarted  # so the optimizer's state does count
    assert last is not None
    assert gone(last)
    assert not answers(urlsplit(address).port)


def test_a_truncated_parent_fails_the_request_by_its_fault_and_the_trainer_lives_on(
    settings: Settings, tmp_path: Path
) -> None:
    with Trainer(settings) as trainer:
        first = Path(trainer.train(train_request(tmp_path, many(1))).uri)
    weights = first / "adapter_model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)

    with Trainer(settings) as trainer:
        trainer.ready()
        pid = trainer.pid
        for _ in range(3):
            with pytest.raises(TrainingError) as damaged:
                trainer.train(train_request(tmp_path, many(1), base_step=1))
            assert damaged.value.fault is Fault.FILE_DAMAGED
        assert trainer.pid == pid


def test_that_a_trainer_cannot_start_is_no_windows_fault(settings: Settings) -> None:
    missing = settings.model_copy(update={"base_model": "/nowhere"})
    with Trainer(missing) as trainer, pytest.raises(TrainingError) as refused:
        trainer.ready()
    assert not refused.value.fault.uses_up_attempts


def test_no_trainer_is_started_for_a_line_of_the_history(settings: Settings) -> None:
    with Trainer(settings) as trainer:
        with pytest.raises(TrainerDied, match="gets it when one starts"):
            trainer.log_steps(())
        assert trainer.pid is None


def test_a_silent_trainer_is_ended(settings: Settings) -> None:
    impatient = settings.model_copy(update={"trainer_silence_timeout_seconds": 2.0})
    with Trainer(impatient) as trainer:
        trainer.ready()
        pid = trainer.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)

        with pytest.raises(TrainerDied, match=r"no progress for 2 s.*trainer\.log"):
            trainer.backend_step()

        assert trainer.pid is None
        assert gone(pid)


@pytest.fixture
def start_as(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What runs in the trainer's place, in the shell's language."""

    def put(script: str) -> None:
        trainer = tmp_path / "python"
        trainer.write_text(f"#!/bin/sh\n{script}\n")
        trainer.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(trainer))

    return put


def says(message: msgspec.Struct) -> str:
    return f"echo '{msgspec.json.encode(message).decode()}'"


def test_a_trainer_that_lives_and_does_not_advance_is_ended(
    settings: Settings, start_as: Callable[[str], None]
) -> None:
    start_as(f"for _ in $(seq 100); do {says(Heartbeat())}; sleep 0.1; done")
    impatient = settings.model_copy(update={"trainer_start_timeout_seconds": 2.0})
    with Trainer(impatient) as trainer, pytest.raises(TrainerDied, match="no progress for 2 s"):
        trainer.ready()


def test_a_trainer_that_advances_may_take_longer(
    settings: Settings, start_as: Callable[[str], None]
) -> None:
    ready = TrainerReady(backend="cpu", base_url="http://127.0.0.1:1/v1", inference_name="b@0")
    advances = says(RequestProgress(done=1, total=2))
    start_as(f"for _ in $(seq 6); do {advances}; sleep 0.5; done; {says(ready)}")
    impatient = settings.model_copy(update={"trainer_start_timeout_seconds": 2.0})
    with Trainer(impatient) as trainer:
        assert trainer.ready() == ready


def test_agents_get_the_address_that_the_operator_publishes(
    settings: Settings, start_as: Callable[[str], None]
) -> None:
    listens = TrainerReady(backend="cpu", base_url="http://127.0.0.1:1/v1", inference_name="b@0")
    start_as(f"read start; {says(listens)}; read close")
    published = settings.model_copy(update={"inference_url": "http://inference:8100/v1"})
    with Trainer(published) as trainer:
        assert trainer.ready().base_url == "http://inference:8100/v1"


def test_a_trainer_does_not_outlive_its_worker(settings: Settings) -> None:
    program = (
        "import sys, time, msgspec;"
        "from recorded import trainer_settings;"
        "from babylon_tasks.training.supervisor import Trainer;"
        "from pathlib import Path;"
        "t = Trainer(trainer_settings(Path(sys.argv[1]), base_model=sys.argv[2]));"
        "print(t.ready().base_url, t.pid, flush=True);"
        "time.sleep(600)"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", program, str(settings.data_dir), settings.base_model],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with worker:
        assert worker.stdout is not None
        address, pid = worker.stdout.readline().split()
        port = urlsplit(address).port
        assert answers(port)

        worker.kill()

        until("the trainer has ended", lambda: gone(int(pid)))
        until("its port is free", lambda: not answers(port))


def test_a_trainer_that_does_not_understand_its_worker_ends_and_says_so() -> None:
    started = subprocess.run(
        [sys.executable, "-m", "babylon_tasks.training.trainer"],
        input=b'{"type": "StartTrainer", "backend": 7}\n',
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert started.returncode == 2
    assert (
        b"cannot decode a request of the worker: Expected `str`, got `int` - at `$.backend`"
        in started.stderr
    )
    assert b"Traceback" not in started.stderr


def test_a_trainer_ends_with_its_stdin_even_before_it_knows_who_it_is() -> None:
    started = subprocess.run(
        [sys.executable, "-m", "babylon_tasks.training.trainer"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert started.returncode == 0
    assert started.stderr == b""
