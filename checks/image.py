"""Both images, built from the Dockerfile and run as they will be: ``make image-proof``.

No engine and no registry: podman executes the Dockerfile's own steps (isolation chroot) on a
Debian root that debootstrap makes, then runs the result under runc: uid 10001, read-only root, no
capabilities, no new privileges. As root, with Debian's podman, runc and debootstrap; some minutes,
4 GB. pip's and apt's configuration of this machine reach the build as it asks for them: a secret,
and the base image's own files. Prints what was seen, as Markdown; docs/images.md keeps it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from checks.image_run import Image, Proof, prove_trainer, prove_worker
from checks.podman import BASE, Podman

TOOLS = ("podman", "runc", "debootstrap", "tar")
APT = ("etc/apt/sources.list.d/debian.sources", "etc/apt/sources.list")


def main() -> None:
    """Build, run, print; exits with 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m checks.image", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/image"), help="for all it makes")
    parser.add_argument("--keep", action="store_true", help="keep the images and the Debian root")
    parser.add_argument(
        "--target", choices=("worker", "trainer"), action="append", help="this one only"
    )
    given = parser.parse_args()
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        sys.exit(f"image-proof needs {', '.join(missing)}: apt-get install podman runc debootstrap")
    podman = Podman(given.folder.absolute())
    proof = Proof()
    try:
        _base(podman, proof)
        for target in given.target or ("worker", "trainer"):
            image = _build(podman, target, proof)
            {"worker": prove_worker, "trainer": prove_trainer}[target](podman, image, proof)
    finally:
        if not given.keep:
            podman.remove_everything()
    sys.exit(f"{proof.failed} of {proof.count} failed" if proof.failed else 0)


def _base(podman: Podman, proof: Proof) -> None:
    root = podman.folder / "debian"
    start = time.monotonic()
    if not (root / "etc/debian_version").exists():
        with (podman.folder / "debootstrap.log").open("wb") as log:
            _run(["debootstrap", "--variant=minbase", "bookworm", str(root)], log.name, log)
        for name in APT:  # with the security fixes, where this machine has them
            if (Path("/") / name).exists():
                shutil.copy(Path("/") / name, root / name)
        shutil.rmtree(root / "var/cache/apt/archives")
        shutil.rmtree(root / "var/lib/apt/lists")
        (root / "var/cache/apt/archives/partial").mkdir(parents=True)
    podman.import_root(root, BASE)
    proof.note(f"Debian root as {BASE}: {time.monotonic() - start:.0f} s")


def _build(podman: Podman, target: str, proof: Proof) -> Image:
    start = time.monotonic()
    name = f"localhost/babylon-tasks-{target}:proof"
    podman.build(Path.cwd(), target, name)
    image = Image(name, podman.megabytes(name))
    proof.note(
        f"target {target}: every step of the Dockerfile executed in "
        f"{time.monotonic() - start:.0f} s, {image.megabytes} MB, of which the Debian root "
        f"{podman.megabytes(BASE)} MB"
    )
    return image


def _run(command: list[str], log: str, stream: object) -> None:
    done = subprocess.run(command, stdout=stream, stderr=stream, check=False)  # type: ignore[call-overload]
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed with {done.returncode}; see {log}")


if __name__ == "__main__":
    main()
