"""All comparisons of what is deployed with the code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import dockerfile

from babylon_tasks.errors import SettingsError
from babylon_tasks.settings import Settings
from checks.compose_file import ComposeFile
from checks.drift.agreement import keys, same_authority, same_redis, seeded, without_postgres
from checks.drift.commands import built, runs, table, together
from checks.drift.containers import Deployment, of_compose, of_rendering
from checks.drift.ports import listens
from checks.drift.scaling import scaled
from checks.drift.settings import fits, given, named, settings_of, unknown
from checks.renderings import RENDERINGS, render_all
from checks.stages import arguments, environments
from checks.violations import Violation

_IMAGE = {
    "babylon-tasks-worker": "worker",
    "babylon-tasks-gateway": "gateway",
}  # the others are the trainer's


def check(root: Path, which: Sequence[tuple[str, ...]] = RENDERINGS) -> tuple[list[Violation], int]:
    """List every violation once, and count the checked containers."""
    images = environments(root / "Dockerfile")
    main = ComposeFile(root / "compose.yaml")
    overrides = [ComposeFile(path) for path in sorted(root.glob("compose.*.yaml"))]
    renderings, unrendered = render_all(root, which)
    deployments = [*of_compose(main, overrides)]
    found = dict.fromkeys([*unrendered, *table(_any_settings())])
    for name in ("worker", "gateway", "trainer"):
        for what in unknown(images.get(name, {}), prefix="BABYLON_"):
            found[Violation(f"Dockerfile: target {name}", what)] = None
    found |= dict.fromkeys(_build([main, *overrides], root))
    for rendering in renderings:
        if any(rendering.of("Deployment")):
            deployments.append(of_rendering(rendering))
            found |= dict.fromkeys(scaled(rendering, deployments[-1]))
            found |= dict.fromkeys([*same_redis(rendering, main), *same_authority(rendering)])
            found |= dict.fromkeys(without_postgres(rendering))
    for deployment in deployments:
        found |= dict.fromkeys(_deployment(deployment, images, root))
    found |= dict.fromkeys([*keys(renderings), *seeded(renderings, images.get("trainer", {}))])
    return list(found), sum(len(one.units) for one in deployments)


def _deployment(
    deployment: Deployment, images: dict[str, dict[str, str]], root: Path
) -> Iterator[Violation]:
    read: dict[str, Settings] = {}
    for unit in deployment.units:
        yield from [*named(unit), *given(unit)]
        try:
            image = images.get(_IMAGE.get(unit.image_name, "trainer"), {})
            settings = read[unit.name] = settings_of(unit, image)
        except SettingsError as error:
            yield unit.violation(f"would not start: {error}")
            continue
        yield from fits(unit, settings)
        yield from runs(unit, settings)
        yield from built(unit, settings, root)
        yield from listens(unit, settings)
    yield from together(deployment, read)


def _build(files: Sequence[ComposeFile], root: Path) -> Iterator[Violation]:
    """Check that the Dockerfile has the targets and arguments that Compose builds with."""
    commands = dockerfile.parse_file(str(root / "Dockerfile"))
    targets, known = environments(root / "Dockerfile"), arguments(commands)
    for file in files:
        for name, service in file.services.items():
            build, place = service.get("build") or {}, ("services", name, "build")
            given = build.get("args") or {}
            target = build.get("target")
            if target is not None and target not in targets:
                yield file.violation(place, f"the Dockerfile has no target {target}")
            for argument in set(given) - set(known):
                yield file.violation(place, f"the Dockerfile takes no argument {argument}")
            image = str(service.get("image", "")).partition(":")[0]
            extra = given.get("EXTRAS")
            if extra is not None and image != f"babylon-tasks-trainer-{extra}":
                what = f"EXTRAS {extra} makes an image named {image}"
                yield file.violation(place, what)


def _any_settings() -> Settings:
    return Settings(DATABASE_URL="postgresql://user@postgres/babylon")
