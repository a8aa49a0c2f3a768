"""Build the wheels, and run each package's tests on them outside the workspace.

    python scripts/wheels.py [PACKAGE …]

What the wheel forgets (a module, `py.typed`) is still there in an editable install, and missing here.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from workspace import ROOT, Package, call, conclude, output, packages, select, side_by_side, trial, uv

# What the tests of a package read beside its code.
_BESIDE = ("tests", "README.md", "LICENSE", "CHANGELOG.md", "changelog.d", "pyproject.toml")
# Minutes of load on a server tell nothing more about its wheel than the other tests do.
_LONG = shutil.ignore_patterns("test_under_load.py")


def build(out: Path) -> dict[str, Path]:
    """Build the wheel of every package and of the testkit; return them by name of the distribution."""
    names = [package.name for package in packages()] + ["qicore-testkit"]
    for name in names:
        call(uv(), "build", "--quiet", "--wheel", "--package", name, "--out-dir", out)
    return {name: next(out.glob(f"{name.replace('-', '_')}-*.whl")) for name in names}


def ours(package: Package) -> list[str]:
    """Return the names of the workspace's packages that this one needs at run time, and its own."""
    every = {each.name: each for each in packages()}
    needed = {package.name}
    while more := {name for each in needed for name in every[each].requires if name in every} - needed:
        needed |= more
    return sorted(needed)


def environment_of(package: Package, wheels: dict[str, Path], folder: Path, *groups: str) -> Path:
    """Make an environment with the package's wheel and its locked dependencies; return its interpreter."""
    return environment_with([package], wheels, folder, *groups)


def environment_with(chosen: Sequence[Package], wheels: dict[str, Path], folder: Path, *groups: str) -> Path:
    """Make an environment with these wheels and their locked dependencies; return its interpreter."""
    call(uv(), "venv", "--quiet", "--python", sys.executable, folder)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    only = [part for group in groups for part in ("--group", group)]
    extras = ["--all-extras"] if groups else []
    locked = output(
        *(uv(), "export", "--quiet", "--frozen", "--no-default-groups", "--no-emit-workspace"),
        *(part for package in chosen for part in ("--package", package.name)),
        *extras,
        *only,
    )
    requirements = folder / "requirements.txt"
    requirements.write_text(locked, encoding="utf-8")
    names = sorted({name for package in chosen for name in ours(package)})
    # The lock has decided all versions, with the overrides of the workspace; and without --no-deps the index
    # would be asked for the siblings, whose version may be unreleased.
    install = (uv(), "pip", "install", "--quiet", "--python", python, "--no-deps")
    call(*install, "--requirement", requirements, *(wheels[name] for name in names), cwd=folder)
    return python


def copy_of(package: Package, folder: Path) -> Path:
    """Copy what the tests of a package read, without the code that they are about."""
    copy = folder / package.name
    copy.mkdir(parents=True)
    for name in _BESIDE:
        source = package.folder / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=_LONG)
        else:
            shutil.copy(source, copy / name)
    return copy


def tests(package: Package, wheels: dict[str, Path], folder: Path) -> tuple[bool, str]:
    """Run a package's tests on its wheel, in a copy of what they read."""
    python = environment_of(package, wheels, folder / f"env-{package.component}", "test")
    install = (uv(), "pip", "install", "--quiet", "--python", python, "--no-deps")
    call(*install, wheels["qicore-testkit"], cwd=folder)
    copy = copy_of(package, folder)
    code = f"import sys, {package.module} as m; sys.exit(not m.__file__.startswith(sys.prefix))"
    installed, printed = trial(python, "-c", code, cwd=copy)
    if not installed:
        return False, f"{package.module} was not imported from its wheel\n{printed}"
    config = ("-c", folder / "pyproject.toml", "--rootdir", folder, "-p", "no:cacheprovider")
    return trial(python, "-m", "pytest", "-q", *config, copy, cwd=copy)


def main(names: list[str]) -> None:
    """Test the packages; the last line names those that failed."""
    chosen = select(names)
    with tempfile.TemporaryDirectory(prefix="qicore-wheels-") as place:
        folder = Path(place)
        wheels = build(folder / "dist")
        for settings in ("pyproject.toml", "conftest.py"):
            shutil.copy(ROOT / settings, folder)
        conclude(side_by_side(chosen, lambda package: tests(package, wheels, folder)))


if __name__ == "__main__":
    main(sys.argv[1:])
