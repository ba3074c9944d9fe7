"""Train a step again from what was kept of it, beside the lineage, and compare the adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from babylon_tasks.dataset import checkpoint_tree
from babylon_tasks.dataset.eligibility import RESCORED, PolicyNames, policy_step
from babylon_tasks.errors import BackendUnavailable
from babylon_tasks.pipeline.kept_step import KeptState, KeptStep
from babylon_tasks.pipeline.step_request import request_of
from babylon_tasks.settings import Settings
from babylon_tasks.step_records import CommittedCheckpoint
from babylon_tasks.training.checkpoints import WEIGHTS, adapter_hash
from babylon_tasks.training.compare_adapters import compare_adapters
from babylon_tasks.training.groups_file import write_groups
from babylon_tasks.training.protocol import RequestProgress
from babylon_tasks.training.replay_folder import ReplayFolder
from babylon_tasks.training.supervisor import Trainer

ReadStep = Callable[[int], KeptStep]


class TrainedAgain(Struct, frozen=True):
    """The adapter that a replay made, compared with the one that was committed.

    ``started_from``: a checkpoint; ``steps``: those that were trained from it, the last one is the
    step itself, or the first whose adapter differs. ``new_optimizer``: the optimizer's state of
    ``started_from`` is pruned, and began anew. ``relative_norm`` (of the difference over the
    committed adapter's) and ``largest`` (of its elements) are None where the adapters are equal,
    or the committed weights are not here.
    """

    equal: bool
    started_from: int
    steps: list[int]
    new_optimizer: bool
    adapter_hash: str | None
    committed_hash: str | None
    relative_norm: float | None = None
    largest: float | None = None


class NotTrainedAgain(Struct, frozen=True):
    """Why a step cannot be trained again here."""

    why: str


class ReplayStart(Struct, frozen=True):
    """A checkpoint, and the steps to train from it; see ``TrainedAgain``."""

    checkpoint: int
    steps: list[KeptStep]
    new_optimizer: bool


def train_again(
    settings: Settings,
    step: KeptStep,
    read: ReadStep,
    *,
    parents: Mapping[int, int],
    committed: Sequence[CommittedCheckpoint],
    back: int,
    on_progress: Callable[[RequestProgress], None],
) -> TrainedAgain | NotTrainedAgain:
    """Train a step again in a temporary folder, by a trainer that serves nothing.

    Where the optimizer's state of the parent is pruned, at most ``back`` earlier steps are trained
    first, from the nearest checkpoint that has it. ``read`` reads a step by its number. Neither
    the lineage's rows nor its folder are changed. Raises TrainingError where the trainer fails.
    """
    backend = step.about.backend
    if backend != "cpu":
        return NotTrainedAgain(f"backend {backend} cannot train a step beside the lineage")
    if step.state is not KeptState.WHOLE:
        return NotTrainedAgain(f"what it was trained on is {step.state.replace('_', ' ')}")
    data_dir = settings.data_dir.absolute()
    with ReplayFolder(data_dir, settings.project, settings.lineage, committed) as folder:
        start = choose_start(folder, step, read, parents, back)
        if isinstance(start, NotTrainedAgain):
            return start
        ours = {"data_dir": folder.path, "backend": "cpu", "wandb_api_key": None}
        with Trainer(settings.model_copy(update=ours), serves=False) as trainer:
            try:
                folder.take(start.checkpoint, optimizer=folder.has_optimizer(start.checkpoint))
                return _train(trainer, folder, start, on_progress)
            except OSError as error:  # pruned meanwhile, or the disk is full
                return NotTrainedAgain(f"a checkpoint cannot be copied: {error}")
            except BackendUnavailable as error:
                return NotTrainedAgain(str(error))
            except BaseException:
                trainer.kill()  # it need not finish
                raise


def choose_start(
    folder: ReplayFolder, step: KeptStep, read: ReadStep, parents: Mapping[int, int], back: int
) -> ReplayStart | NotTrainedAgain:
    """Choose the checkpoint to start from; reads files."""
    chain = [step]
    while True:
        parent = checkpoint_tree.parent(chain[0].step.target_step, parents)
        supervised = chain[0].manifest.supervised is not None  # it begins with a new state
        if folder.missing(parent) is None and (supervised or folder.has_optimizer(parent)):
            return ReplayStart(parent, chain, new_optimizer=False)
        earlier = read(parent) if parent and len(chain) <= back else None
        if earlier is None or earlier.state is not KeptState.WHOLE:
            break
        chain.insert(0, earlier)
    parent = checkpoint_tree.parent(step.step.target_step, parents)
    missing = folder.missing(parent)
    if missing is not None:
        return NotTrainedAgain(f"the weights that it started from are not here: {missing}")
    return ReplayStart(parent, [step], new_optimizer=True)


def _train(
    trainer: Trainer,
    folder: ReplayFolder,
    start: ReplayStart,
    on_progress: Callable[[RequestProgress], None],
) -> TrainedAgain:
    done: list[int] = []
    for one in start.steps:
        number = one.step.target_step
        _take_policies(folder, one)
        folder.stand_in(one.step.base_step)
        groups = folder.path / "groups" / f"{number}.json"
        write_groups(groups, one.groups)
        trainer.train(request_of(one.step, groups), on_progress)
        done.append(number)
        made = folder.checkpoint(number)
        found = adapter_hash(made)
        if found != one.about.content_hash:
            return _differing(folder, one, made / WEIGHTS, found, start, done)
    return TrainedAgain(True, start.checkpoint, done, start.new_optimizer, found, found)


def _take_policies(folder: ReplayFolder, step: KeptStep) -> None:
    """Copy the checkpoints whose answers the step scores again."""
    if step.manifest.logprobs != RESCORED:
        return
    names = PolicyNames(lineage=step.manifest.lineage, base_model=step.manifest.base_model)
    calls = (call for member in step.members.values() for call in member.calls)
    for number in sorted({policy_step(call, names) for call in calls}):
        if isinstance(number, int) and not (folder.checkpoint(number) / WEIGHTS).exists():
            folder.take(number, optimizer=False)


def _differing(
    folder: ReplayFolder,
    step: KeptStep,
    made: Path,
    found: str | None,
    start: ReplayStart,
    done: list[int],
) -> TrainedAgain:
    original = folder.original(step.step.target_step)
    apart = None if original is None else compare_adapters(original, made)
    return TrainedAgain(
        False,
        start.checkpoint,
        done,
        start.new_optimizer,
        found,
        step.about.content_hash,
        None if apart is None else apart.relative_norm,
        None if apart is None else apart.largest,
    )
