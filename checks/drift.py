"""What is deployed has not parted from the code: ``python -m checks.drift [FOLDER]``.

Every container of ours in Compose and in each rendering of k8s/ is read as its process would
read it: settings and secrets (checks/told.py), command, queues and image (checks/started.py),
ports and probes (checks/listening.py). Nothing is started.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from babylon_tasks.errors import SettingsError
from babylon_tasks.settings import Settings
from checks.composition import Composition
from checks.faults import Fault, end
from checks.listening import listens
from checks.renderings import RENDERINGS, render_all
from checks.stages import arguments, environments
from checks.started import built, runs, table, together
from checks.stores import keys, stores
from checks.told import fits, named, settings_of, unknown
from checks.units import Deployment, of_compositions, of_rendering

_IMAGE = {"babylon-tasks-worker": "worker"}  # the others are the trainer's


def check(root: Path, which: Sequence[tuple[str, ...]] = RENDERINGS) -> tuple[list[Fault], int]:
    """Every fault, each once; and how many units were looked at."""
    images = environments(root / "Dockerfile")
    main = Composition(root / "compose.yaml")
    overrides = [Composition(path) for path in sorted(root.glob("compose.*.yaml"))]
    renderings, unrendered = render_all(root, which)
    whole = [one for one in renderings if any(one.of("Deployment"))]
    compose = list(of_compositions(main, overrides))
    kubernetes = [of_rendering(one) for one in whole]
    faults = dict.fromkeys([*unrendered, *table(_any_settings())])
    for name in ("worker", "trainer"):
        for what in unknown(iter(images.get(name, {})), prefix="BABYLON_"):
            faults[Fault(f"Dockerfile: target {name}", what)] = None
    faults |= dict.fromkeys(_build(main, overrides, images, arguments(root / "Dockerfile")))
    for deployment in [*compose, *kubernetes]:
        faults |= dict.fromkeys(_deployment(deployment, images, root))
    for rendering in whole:
        faults |= dict.fromkeys(stores(rendering, main))
    faults |= dict.fromkeys(keys(renderings))
    return list(faults), sum(len(one.units) for one in [*compose, *kubernetes])


def _deployment(
    deployment: Deployment, images: dict[str, dict[str, str]], root: Path
) -> Iterator[Fault]:
    read: dict[str, Settings] = {}
    for unit in deployment.units:
        image = images.get(_IMAGE.get(unit.image_name, "trainer"), {})
        yield from named(unit)
        try:
            settings = settings_of(unit, image)
        except SettingsError as error:
            yield unit.fault(f"would not start: {error}")
            continue
        yield from fits(unit, settings)
        read[unit.name] = settings
        yield from runs(unit, settings)
        yield from built(unit, settings, root)
        in_kubernetes = deployment.name.startswith("k8s/")
        yield from listens(unit, settings, in_kubernetes=in_kubernetes)
    yield from together(deployment, read)


def _build(
    main: Composition,
    overrides: list[Composition],
    images: dict[str, dict[str, str]],
    known: set[str],
) -> Iterator[Fault]:
    for file in (main, *overrides):
        for name, service in file.services.items():
            build = service.get("build") or {}
            keys = ("services", name, "build")
            target = build.get("target")
            if target is not None and target not in images:
                yield file.fault(keys, f"the Dockerfile has no target {target}")
            given = build.get("args") or {}
            for argument in given:
                if argument not in known:
                    yield file.fault(keys, f"the Dockerfile takes no argument {argument}")
            image = str(service.get("image", "")).partition(":")[0]
            extra = given.get("EXTRAS")
            if extra is not None and image != f"babylon-tasks-trainer-{extra}":
                yield file.fault(keys, f"EXTRAS {extra} makes an image that is named {image}")


def _any_settings() -> Settings:
    return Settings(_env_file=None, DATABASE_URL="postgresql://user@postgres/babylon")


def main() -> None:
    """Check the project in the folder named by the first argument, the current one by default."""
    faults, units = check(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    end("Drift", faults, f"{units} containers of Compose and k8s/ fit settings, queues and ports")


if __name__ == "__main__":
    main()
