"""Every block of a document works: it is executed, or at least parsed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from documents import ROOT, Block, commands, documents, says
from shell import commands as parsed
from shell import variables, violation

from babylon_tasks.setting_names import RETIRED
from babylon_tasks.tasks.app import training_queue
from tests.command_tree import every_command

BLOCKS = [block for path in documents() for block in commands(path)]
NAMED = re.compile(r"\bBABYLON_[A-Z][A-Z_]*[A-Z]\b")
DOCUMENT = re.compile(r"[\w-]+\.md\b")
QUOTED = re.compile(r"`(\S[^`\n]*)`")
OPTIONS = {
    " ".join(name): {option for one in command.params for option in one.opts} | {"--help-json"}
    for name, command in every_command()
}
OF_OTHERS = {
    *("--brief", "--build-arg", "--generation-config", "--measured", "--only", "--pdb"),
    *("--resume.step", "--secret", "--trajectories"),
    *("--help", "--help-json", "--install-completion", "--version"),  # of all of ours
}
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?!https?:)([^)#]*)(#[^)]*)?\)|!\[[^\]]*\]\(([^)]+)\)")


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.where)
def test_a_block_is_shell(block: Block) -> None:
    found = subprocess.run(
        ["bash", "-n"], input=block.text, text=True, capture_output=True, check=False
    )
    assert found.stderr == "" or block.language == "console"


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.executed_by], ids=lambda block: block.where
)
def test_a_block_that_is_marked_as_executed_is_executed(block: Block) -> None:
    executor = ROOT / str(block.executed_by)
    assert executor.name.startswith("test_")
    text = executor.read_text("utf-8")
    by_one = "iter(executed_by(__file__))" in text and "assert next(typed, None) is None" in text
    assert "for block in executed_by(__file__):" in text or by_one


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if not block.executed_by], ids=lambda block: block.where
)
def test_every_command_of_another_block_can_be_typed(block: Block) -> None:
    violations = {str(command): violation(command) for command in parsed(block)}
    assert violations, "an empty block"
    assert {what: why for what, why in violations.items() if why is not None} == {}


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_a_document_names_only_settings_that_there_are(path: Path) -> None:
    known = variables() | (set(RETIRED) if path.name == "CHANGELOG.md" else set())
    assert set(NAMED.findall(path.read_text("utf-8"))) <= known


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_a_document_points_only_at_what_is_there(path: Path) -> None:
    text = path.read_text("utf-8")
    for file, heading, picture in LINK.findall(text):
        target = path.parent / (picture or file) if picture or file else path
        assert target.exists(), target
        if heading:
            assert heading[1:] in anchors(target), f"{target.name} has no heading {heading}"


def named_wrongly(quote: str) -> set[str]:
    """What a quoted command, or an option by itself, has that there is not."""
    typed = quote.removeprefix("babylon-tasks ").split()
    given = {word for word in typed if re.fullmatch("--[a-z.-]+", word)}
    for name in (" ".join(typed[:2]), typed[0]):
        if name in OPTIONS:
            return given - OPTIONS[name]
    if quote.startswith("--"):
        return {typed[0]} & given - set().union(*OPTIONS.values(), OF_OTHERS)
    known = typed[0] in {name.partition(" ")[0] for name in OPTIONS} | OF_OTHERS
    return set() if known or not quote.startswith("babylon-tasks ") else {typed[0]}


@pytest.mark.parametrize(
    "path",
    [path for path in documents() if path.name != "CHANGELOG.md"],
    ids=lambda path: path.name,
)
def test_a_sentence_names_only_commands_and_options_that_there_are(path: Path) -> None:
    sentences = re.sub("^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    wrong = {quote: named_wrongly(quote) for quote in QUOTED.findall(sentences)}
    assert {quote: what for quote, what in wrong.items() if what} == {}


@pytest.mark.parametrize(
    ("quote", "wrong"),
    [
        ("babylon-tasks windows backfill --sinse HOUR", {"--sinse"}),
        ("babylon-tasks backfill", {"backfill"}),
        ("compare start --anchor", {"--anchor"}),
        ("--backfill", {"--backfill"}),
        ("babylon-tasks windows retry WINDOW", set()),
        ("--since", set()),
    ],
)
def test_a_quoted_command_that_there_is_not_is_found(quote: str, wrong: set[str]) -> None:
    assert named_wrongly(quote) == wrong


def test_every_document_that_a_file_names_is_there() -> None:
    there = {path.name for path in documents()}
    folders = ("babylon_tasks", "bench", "checks", "deploy", "docs", "k8s", "migrations", "tests")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file()]
    kinds = {".md", ".py", ".sql", ".toml", ".yaml", ".sh", ".txt", ""}
    texts = {
        str(path.relative_to(ROOT)): path.read_text("utf-8")
        for path in files
        if path.suffix in kinds and path.name != ".git"
    }
    unknown = {file: set(DOCUMENT.findall(text)) - there for file, text in texts.items()}
    assert {file: names for file, names in unknown.items() if names} == {}


def anchors(path: Path) -> set[str]:
    """The headings of a document, as addresses within it."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def typed(text: str) -> list[str | None]:
    block = Block("somewhere", 1, "sh", text, "", None, None)
    return [violation(command) for command in parsed(block)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("babylon-tasks status --colour\n", "--colour"),
        ("babylon-tasks statsu\n", "statsu"),
        ("babylon-tasks score\n", "WINDOW"),
        ("babylon-tasks retry 2026-01-31T09:00\n", "babylon-tasks windows retry"),
        ("babylon-tasks windows lst\n", "lst"),
        ("babylon-tasks windows backfill\n", "--since"),
        ("babylon-tasks demo --json report.json\n", "--report"),
        ("babylon-tasks run gpu-workers\n", "gpu-workers"),
        ("babylon-tasks status && babylon-tasks windows list --limit many | less\n", "--limit"),
        ("make demonstration\n", "demonstration"),
        ('make demo ARGS="--windows 3 --loud"\n', "--loud"),
        ("BABYLON_LINAGE=x babylon-tasks status\n", "BABYLON_LINAGE"),
        ("export BABYLON_BACKENDS=cpu\n", "BABYLON_BACKENDS"),
        ("pip install '.[cpus]'\n", "cpus"),
        ("frobnicate --now\n", "frobnicate"),
        ("docker compose --profile nobody up -d\n", "nobody"),
        ("docker compose logs cpu-workers\n", "cpu-workers"),
        ("docker compose exec beat babylon-tasks statsu\n", "statsu"),
        ("kubectl -n x rollout status deployment/cpu-workers\n", "cpu-workers"),
        ("kubectl -n x delete job migration\n", "migration"),
        ("kubectl exec deployment/beat -- babylon-tasks statsu\n", "statsu"),
        ("kubectl apply -k k8s/overlays/nobody\n", "k8s/overlays/nobody"),
    ],
)
def test_what_would_not_work_is_found(text: str, why: str) -> None:
    (found,) = [one for one in typed(text) if one is not None]
    assert why in found


def test_what_works_is_let_through() -> None:
    text = """
        # a comment
        export DATABASE_URL=postgresql://… BABYLON_LINEAGE=x
        BABYLON_BACKEND=cpu babylon-tasks score 2026-01-31T09:00 --json >report.json 2>&1
        babylon-tasks migrate --sql | less
        babylon-tasks run cpu-worker -- --loglevel=INFO
        make demo ARGS="--seed 3 \\
            --windows 40"
        """
    assert set(typed(text)) == {None}


@pytest.mark.parametrize("text", ["cat <<E\nx\nE\n", "echo $(babylon-tasks status)\n"])
def test_what_cannot_be_parsed_must_be_executed(text: str) -> None:
    with pytest.raises(ValueError, match="let a test execute it"):
        typed(text)


def test_output_is_compared_line_by_line() -> None:
    promised = "window  state\n…\n2026-01-31T09:00  trained  …\nready…\n"
    assert says("window   state\na\nb\n2026-01-31T09:00 trained 0.5  \nready\n", promised)
    assert says("window state\n2026-01-31T09:00 trained\nready, with 1 warnings\n", promised)
    assert not says("window state\n2026-01-31T09:00 failed\nready\n", promised)
    assert not says("window state\n2026-01-31T09:00 trained\nready\nand more\n", promised)
    assert not says("something\nwindow state\n2026-01-31T09:00 trained\nready\n", promised)


def quoted_symptoms() -> list[str]:
    """What docs/operations.md says one sees, in its own quotes, without what varies."""
    text = (ROOT / "docs/operations.md").read_text("utf-8")
    rows = text.partition("## Recover")[2].partition("\n## ")[0]
    seen = [row.split(" | ")[0] for row in rows.splitlines() if row.startswith("| ")]
    quotes = [quote for cell in seen for quote in re.findall(r"`([^`]+)`", cell)]
    parts = [part for quote in quotes for part in re.split(r"…|\b[A-Z]{4,}\b|\d+", quote)]
    return sorted({part.strip(" ,:;") for part in parts} - {""})


def test_the_symptoms_are_quoted_as_the_code_prints_them() -> None:
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "babylon_tasks").rglob("*.py"))
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # a message over several lines
    code = re.sub(r"\{[^{}]*\}", "", code)  # what it says in between
    symptoms = quoted_symptoms()
    assert len(symptoms) > 20
    theirs = {"No space left on device", "babylon-tasks train"}  # the system's, the reader's own
    assert [one for one in symptoms if one not in code and one not in theirs] == []


def test_a_gpu_worker_is_drained_from_the_queue_that_steps_are_sent_to() -> None:
    text = (ROOT / "docs/operations.md").read_text("utf-8")
    drain = text.partition("## Drain")[2].partition("\n## ")[0]
    assert f"With `{training_queue('LINEAGE')}`" in drain


def test_the_errors_of_inference_are_all_that_it_answers() -> None:
    folders = ("training/inference", "training/vllm_front", "http_server")
    files = [p for folder in folders for p in (ROOT / "babylon_tasks" / folder).glob("*.py")]
    answered = {code for p in files for code in re.findall(r'code="(\w+)"', p.read_text("utf-8"))}
    text = (ROOT / "docs/inference.md").read_text("utf-8")
    rows = text.partition("## Errors")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| \d{3}[^|]*\|([^|]*)\|$", rows, re.MULTILINE)
    assert {code for row in listed for code in re.findall(r"`([a-z]+_?\w*)`", row)} == answered


@pytest.mark.parametrize("path", ["README.md", "docs/quickstart.md"])
def test_the_extra_gpu_is_installed_with_its_own_versions(path: str) -> None:
    """Those of constraints.txt contradict what ART's extra requires: pip would install nothing."""
    _, gpu, after = (ROOT / path).read_text("utf-8").partition("[gpu]")
    assert gpu
    assert "-c constraints-gpu.txt" in after[:100]


def test_the_key_of_the_guess_test_names_files_that_there_are() -> None:
    text = (ROOT / "docs/house.md").read_text("utf-8").partition("<!-- guess test -->")[2]
    named = re.findall(r"^\| [^|]+ \| `([^`]+)` \|$", text, re.MULTILINE)
    assert len(named) == 19
    assert [name for name in named if not (ROOT / name).is_file()] == []
