"""Build the sdists and from them the wheels, and run each package's tests on its wheel outside the workspace.

    python scripts/wheels.py [--dist FOLDER] [PACKAGE …]

What the wheel forgets (a module, `py.typed`) is still there in an editable install, and missing here. With
`--dist` the files in that folder are tried, those of a release, and nothing is built but what they stand on.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from workspace import (
    ROOT,
    Package,
    call,
    conclude,
    interpreter_in,
    output,
    packages,
    select,
    side_by_side,
    trial,
    uv,
)

TESTKIT = "qicore-testkit"
# What the tests of a package read beside its code.
_BESIDE = ("tests", "README.md", "LICENSE", "CHANGELOG.md", "changelog.d", "pyproject.toml")
# Minutes of load on a server tell nothing more about its wheel than the other tests do.
_LONG = shutil.ignore_patterns("test_under_load.py")


def build(out: Path, names: Iterable[str] | None = None) -> dict[str, Path]:
    """Build the sdist of every package and of the testkit, or of these, and the wheel from it.

    Returns the wheels by name of the distribution; the sdists lie beside them.
    """
    wanted = [*(package.name for package in packages()), TESTKIT] if names is None else [*names]
    for name in wanted:
        call(uv(), "build", "--quiet", "--package", name, "--out-dir", out)
    return {name: only(out, name, "-*.whl") for name in wanted}


def only(folder: Path, name: str, ending: str) -> Path:
    """Return the one file of a distribution in a folder; stop when there is none, or more than one."""
    found = sorted(folder.glob(f"{name.replace('-', '_')}{ending}"))
    if len(found) != 1:
        sys.exit(f"{folder} has {len(found) or 'no'} files {name.replace('-', '_')}{ending}")
    return found[0]


def ours(package: Package, *, tests: bool = False) -> list[str]:
    """Return the names of the workspace's packages that this one needs, its own among them.

    That is at run time; with `tests` the extras and what the tests import count too.
    """
    every = {each.name: each for each in packages()}
    needed = {package.name, *(package.needs & set(every) if tests else ())}
    while more := {name for each in needed for name in every[each].requires if name in every} - needed:
        needed |= more
    return sorted(needed)


def unlike(sdist: Path, wheel: Path, folder: Path) -> list[str]:
    """Return the files in which the wheel differs from one that is built of the sdist alone, in `folder`."""
    call(uv(), "build", "--quiet", "--wheel", sdist, "--out-dir", folder, cwd=folder)
    this, that = _contents(wheel), _contents(next(folder.glob("*.whl")))
    return sorted(name for name in this.keys() | that.keys() if this.get(name) != that.get(name))


def _contents(wheel: Path) -> dict[str, bytes]:
    """Return the files of a wheel, without those that name the version of the tool and sum the others up."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith(("/WHEEL", "/RECORD"))]
        return {name: archive.read(name) for name in names}


def environment_of(package: Package, wheels: dict[str, Path], folder: Path, *groups: str) -> Path:
    """Make an environment with the package's wheel and its locked dependencies; return its interpreter."""
    return environment_with([package], wheels, folder, *groups)


def environment_with(chosen: Sequence[Package], wheels: dict[str, Path], folder: Path, *groups: str) -> Path:
    """Make an environment with these wheels and their locked dependencies; return its interpreter."""
    call(uv(), "venv", "--quiet", "--python", sys.executable, folder)
    python = interpreter_in(folder)
    grouped = [part for group in groups for part in ("--group", group)]
    extras = ["--all-extras"] if groups else []
    locked = output(
        *(uv(), "export", "--quiet", "--frozen", "--no-default-groups", "--no-emit-workspace"),
        *(part for package in chosen for part in ("--package", package.name)),
        *extras,
        *grouped,
    )
    requirements = folder / "requirements.txt"
    requirements.write_text(locked, encoding="utf-8")
    names = sorted({name for package in chosen for name in ours(package, tests=bool(groups))})
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
    call(*install, wheels[TESTKIT], cwd=folder)
    copy = copy_of(package, folder)
    code = f"import sys, {package.module} as m; sys.exit(not m.__file__.startswith(sys.prefix))"
    installed, printed = trial(python, "-c", code, cwd=copy)
    if not installed:
        return False, f"{package.module} was not imported from its wheel\n{printed}"
    config = ("-c", folder / "pyproject.toml", "--rootdir", folder, "-p", "no:cacheprovider")
    return trial(python, "-m", "pytest", "-q", *config, copy, cwd=copy)


def main() -> None:
    """Test the packages; the last line names those that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dist", type=Path, help="where the files to try are, instead of building them")
    parser.add_argument("package", nargs="*")
    given = parser.parse_args()
    chosen = select(given.package)
    with tempfile.TemporaryDirectory(prefix="qicore-wheels-") as place:
        folder = Path(place)
        tried = {package.name for package in chosen} if given.dist else set[str]()
        needed = {name for package in chosen for name in ours(package, tests=True)} | {TESTKIT}
        wheels = build(folder / "dist", sorted(needed - tried))
        wheels |= {name: only(given.dist.resolve(), name, "-*.whl") for name in tried}
        for name in sorted(each.name for each in chosen):
            again = folder / f"again-{name}"
            again.mkdir()
            if different := unlike(only(wheels[name].parent, name, "-*.tar.gz"), wheels[name], again):
                sys.exit(f"the sdist of {name} gives another wheel: {', '.join(different)}")
        for settings in ("pyproject.toml", "conftest.py"):
            shutil.copy(ROOT / settings, folder)
        conclude(side_by_side(chosen, lambda package: tests(package, wheels, folder)))


if __name__ == "__main__":
    main()
