"""The tests that hold for the public face of every package."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from qicore_testkit.examples import read_examples, run_example


def _modules(package: ModuleType) -> list[ModuleType]:
    """Return the package and every module below it."""
    below = pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    names = [entry.name for entry in below if not entry.name.endswith(".__main__")]
    return [package, *(importlib.import_module(name) for name in names)]


class PublicFace:
    """Subclass it in `tests/test_face.py` and name the package and its folder.

    `light` lists modules that importing the package must not load.
    """

    package: ModuleType
    folder: Path
    light: tuple[str, ...] = ()

    def test_all_is_sorted_and_complete(self) -> None:
        names = list(self.package.__all__)
        assert names == sorted(set(names)), "__all__ is sorted and names nothing twice"
        public = {
            name
            for name, value in vars(self.package).items()
            if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
        }
        assert public == set(names)

    def test_every_public_name_is_documented(self) -> None:
        missing: list[str] = []
        for name in self.package.__all__:
            value = getattr(self.package, name)
            if not (inspect.isclass(value) or inspect.isroutine(value)):
                continue
            if not inspect.getdoc(value):
                missing.append(name)
            if inspect.isclass(value) and value.__module__.startswith("qicore."):
                missing += [
                    f"{name}.{member}"
                    for member, function in vars(value).items()
                    if not member.startswith("_")
                    and (inspect.isroutine(function) or isinstance(function, property))
                    and not inspect.getdoc(getattr(value, member))
                ]
        assert missing == []

    def test_docstring_examples_hold(self) -> None:
        tried = 0
        for module in _modules(self.package):
            result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
            assert result.failed == 0, f"{module.__name__}: see the output above"
            tried += result.attempted
        assert tried > 0, "the docstrings show at least one example"

    def test_readme_examples_hold(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        examples = read_examples(self.folder / "README.md")
        assert examples, "the README shows an example"
        namespace: dict[str, object] = {"__name__": "readme"}
        for example in examples:
            run_example(example, namespace)

    def test_the_package_is_marked_as_typed_and_licensed(self) -> None:
        # Where it was imported from: the workspace, or the environment that a wheel was installed in.
        (source,) = self.package.__path__
        assert (Path(source) / "py.typed").exists()
        assert not (Path(source).parent / "__init__.py").exists()
        assert (self.folder / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")
        assert (self.folder / "CHANGELOG.md").exists()
        assert list((self.folder / "tests" / "typing").glob("*.py")), "types are tested"

    def test_import_stays_light(self) -> None:
        # What the interpreter loads by itself (for a .pth file, say) is not the package's doing.
        code = "import sys; own = set(sys.modules); import {}; print(*set(sys.modules) - own)"
        command = [sys.executable, "-c", code.format(self.package.__name__)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        loaded = set(done.stdout.split())
        assert loaded.isdisjoint(self.light), loaded.intersection(self.light)
