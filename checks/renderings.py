"""Render k8s/ in every supported combination, and list its objects."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from checks import kubectl
from checks.violations import Violation

# An overlay or example, and the components on top of it.
RENDERINGS: tuple[tuple[str, ...], ...] = (
    ("data",),
    ("base",),
    ("overlays/minimal",),
    ("overlays/minimal", "gpu"),
    ("overlays/minimal", "serverless", "internet"),
    ("overlays/production",),
    ("overlays/production", "private-servers", "ca"),
    ("overlays/production", "gpu"),
    ("overlays/production", "gpu", "gpu-operator", "ca"),
    ("overlays/production", "judge", "internet"),
    ("overlays/production", "upstreams", "internet"),
    ("overlays/production", "serverless", "upstreams", "internet"),
    ("overlays/production", "serverless"),
    ("overlays/production", "serverless", "internet"),
    ("overlays/production", "serverless", "scale-to-zero"),
    ("seed",),
    ("examples/external-secrets",),
)
_ORIGIN = "config.kubernetes.io/origin"


@dataclass(frozen=True)
class Object:
    """One rendered object, and the file that it was begun in."""

    content: dict[str, Any]
    file: str

    @property
    def kind(self) -> str:
        return str(self.content.get("kind", ""))

    @property
    def name(self) -> str:
        """Its name, with the hash that kustomize adds to generated ones."""
        return str(self.metadata.get("name", ""))

    @property
    def metadata(self) -> dict[str, Any]:
        return self.content.get("metadata") or {}

    @property
    def labels(self) -> dict[str, str]:
        return self.metadata.get("labels") or {}

    @property
    def spec(self) -> dict[str, Any]:
        return self.content.get("spec") or {}

    @property
    def place(self) -> str:
        """File, kind and name, for a message."""
        return f"{self.file}: {self.kind}/{self.name}"

    def violation(self, what: str, container: str = "") -> Violation:
        """Make a violation by this object, or by one of its containers."""
        return Violation(f"{self.place}{container and f' container {container}'}", what)


@dataclass(frozen=True)
class Rendering:
    """One combination: ``overlays/production + serverless``."""

    name: str
    text: str
    root: Path
    folder: Path

    @property
    def is_data(self) -> bool:
        """Whether it is what outlives the application, k8s/data."""
        return self.name.startswith("data")

    @cached_property
    def objects(self) -> list[Object]:
        return [
            Object(content, self._origin(content))
            for content in yaml.load_all(self.text, yaml.CSafeLoader)
            if content
        ]

    def of(self, *kinds: str) -> Iterator[Object]:
        return (one for one in self.objects if one.kind in kinds)

    def named(self, kind: str, name: str) -> Object | None:
        return next((one for one in self.of(kind) if one.name == name), None)

    def _origin(self, content: dict[str, Any]) -> str:
        """Find the object's file within the project, and remove kustomize's note of it."""
        annotations = content["metadata"].get("annotations", {})
        note = yaml.safe_load(annotations.pop(_ORIGIN, "{}"))
        if not annotations:
            content["metadata"].pop("annotations", None)
        path = self.folder / (note.get("path") or note.get("configuredIn") or ".")
        return os.path.relpath(os.path.normpath(path), self.root)


def render_all(
    root: Path, which: Sequence[tuple[str, ...]] = RENDERINGS
) -> tuple[list[Rendering], list[Violation]]:
    """Render every combination; returns those that worked and the errors of the others."""
    root = root.resolve()
    with (
        tempfile.TemporaryDirectory(prefix="babylon-tasks-rendering-") as folder,
        ThreadPoolExecutor(max_workers=2) as pool,
    ):
        own = Path(folder).resolve()
        done = list(pool.map(lambda parts: _render(root, own / "-".join(parts), parts), which))
    return (
        [found for found in done if isinstance(found, Rendering)],
        [found for found in done if isinstance(found, Violation)],
    )


def _render(root: Path, folder: Path, parts: tuple[str, ...]) -> Rendering | Violation:
    # As an operator's own overlay would, with a note in each object of its origin.
    manifests = Path(os.path.relpath(root / "k8s", folder))
    base, *components = parts
    folder.mkdir(parents=True)
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "buildMetadata": ["originAnnotations"],
        "resources": [str(manifests / base)],
        "components": [str(manifests / "components" / name) for name in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(document), "utf-8")
    name = " + ".join(parts)
    try:
        return Rendering(name, kubectl.render(folder), root, folder)
    except ValueError as error:
        return Violation(f"k8s/{name}", f"cannot be rendered: {error}")
