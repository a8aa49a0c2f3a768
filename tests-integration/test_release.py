"""A release, from the bump of a version to installing what was built, in a copy of the workspace."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from workspace import ROOT, environment, interpreter_in, uv

_LEFT_BEHIND = shutil.ignore_patterns(
    *(".git", ".venv", ".tools", ".*_cache", ".hypothesis", "__pycache__", "node_modules"),
    *("dist", "site", "build", "demo-output", "benchmarks"),
)


class Workspace:
    """A copy of the workspace in a repository of its own, with a package made for the occasion."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "qicore"
        self.index = folder / "index"
        shutil.copytree(ROOT, self.folder, ignore=_LEFT_BEHIND)
        self.git("init", "--quiet", "--initial-branch", "main")
        for name, value in (("name", "A maintainer"), ("email", "maintainer@qicore.invalid")):
            self.git("config", f"user.{name}", value)
        self.good("new_package.py", "qicore-sample", "Shows that releases work")
        self.commit("All of it")

    def script(self, name: str, *arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        """Run one of the copy's scripts."""
        command: list[str | Path] = [sys.executable, self.folder / "scripts" / name, *arguments]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment(**{"UV": uv(), **env}),
            check=False,
            capture_output=True,
            text=True,
        )

    def good(self, name: str, *arguments: str | Path) -> str:
        """Run a script that must succeed; return what it printed."""
        done = self.script(name, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refused(self, name: str, bump: str, **env: str) -> str:
        """Ask for a release that must be refused, and leave no trace; return the reason."""
        before = self.git("rev-parse", "HEAD"), self.git("status", "--porcelain")
        done = self.script("release.py", name, bump, **env)
        assert done.returncode != 0, done.stdout
        assert (self.git("rev-parse", "HEAD"), self.git("status", "--porcelain")) == before
        return done.stderr

    def released(self, name: str, bump: str) -> str:
        """Prepare a release, tag it as it says, build it as the workflow does; return what was printed."""
        told = self.good("release.py", name, bump)
        tag = told.split("git tag ", 1)[1].split()[0]
        self.git("tag", tag)
        assert self.git("status", "--porcelain") == "", "all of it is in the commit"
        assert self.good("release_tag.py", tag) == f"{name}\n"
        place = self.index / name
        command = [uv(), "build", "--quiet", "--package", name, "--out-dir", str(place)]
        subprocess.run(command, cwd=self.folder, env=environment(), check=True)
        (place / ".gitignore").unlink()
        return told

    def git(self, *arguments: str) -> str:
        """Run git, and return what it prints."""
        command = ["git", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=environment(), check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def commit(self, message: str) -> None:
        """Commit all that is there."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def package(self, name: str) -> Path:
        """Return the folder of a package."""
        return self.folder / "packages" / name

    def change(self, name: str, file: str, old: str, new: str) -> None:
        """Change a file of a package."""
        path = self.package(name) / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def fragment(self, name: str, file: str, text: str) -> None:
        """Write a fragment for the changelog of a package."""
        (self.package(name) / "changelog.d" / file).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("release"))


@pytest.fixture
def index(workspace: Workspace) -> Iterator[str]:
    """The address of an index that has what was built and nothing else: a folder for each package."""
    handler = partial(_Quiet, directory=str(workspace.index))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that it has above
        pass


def install(python: Path, index: str, *wanted: str) -> dict[str, str]:
    """Install from this index only; return the versions that are there then."""
    command: list[str | Path] = [
        uv(),
        "pip",
        "install",
        "--quiet",
        "--no-cache",
        "--default-index",
        index,
        "--python",
        python,
    ]
    subprocess.run([*command, *wanted], cwd=python.parent, env=environment(), check=True)
    code = "from importlib.metadata import distributions as d; print(*(f'{i.name}={i.version}' for i in d()))"
    done = subprocess.run([python, "-I", "-c", code], check=True, capture_output=True, text=True)
    return dict(sorted(each.split("=") for each in done.stdout.split()))


def test_from_bump_to_install(workspace: Workspace, index: str, tmp_path: Path) -> None:
    # A first release says its version, and what it stands on comes first.
    assert "say the version itself, BUMP=0.1.0" in workspace.refused("qicore-base", "minor")
    assert "release qicore-base first" in workspace.refused("qicore-sample", "0.1.0")
    assert "git push origin qicore-base-v0.1.0" in workspace.released("qicore-base", "0.1.0")
    workspace.released("qicore-sample", "0.1.0")
    changelog = (workspace.package("qicore-sample") / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "\n## 0.1.0 (" in changelog
    assert [file.name for file in (workspace.package("qicore-sample") / "changelog.d").iterdir()] == [
        ".gitkeep"
    ]
    assert "has no fragment" in workspace.refused("qicore-sample", "patch")

    # A name less on the public face is a break, which no patch may be.
    workspace.change("qicore-base", "src/qicore/base/__init__.py", '    "partition",\n', "")
    workspace.fragment("qicore-base", "+fewer.fixed.md", "There is no partition any more.\n")
    assert "the work tree has changes" in workspace.refused("qicore-base", "minor")
    workspace.commit("Take a name away")
    reason = workspace.refused("qicore-base", "patch")
    assert "0.1.1 is too small a step from 0.1.0: it must be a minor one" in reason
    assert "broken: qicore.base.partition: public object was removed" in reason
    told = workspace.released("qicore-base", "minor")
    assert "to be released after it" in told
    assert "qicore-sample" in told.splitlines()[-1]

    # What stands on it asks for the new version, in what is written and in what is installed.
    sample = (workspace.package("qicore-sample") / "pyproject.toml").read_text(encoding="utf-8")
    assert '"qicore-base>=0.2,<0.3"' in sample
    workspace.released("qicore-sample", "patch")
    for name in ("qicore-base", "qicore-sample"):
        assert "at least a" in workspace.good("api.py", name), (
            "the workflow compares it with the last release"
        )
    assert "Needs qicore-base 0.2.0 or newer." in (
        workspace.package("qicore-sample") / "CHANGELOG.md"
    ).read_text(encoding="utf-8")

    assert "releases work | 0.1.1 |" in (workspace.folder / "README.md").read_text(encoding="utf-8")

    # The files that were built are tried as the workflow tries them, and are what an index gives.
    dist = tmp_path / "dist"
    dist.mkdir()
    for file in (workspace.index / "qicore-sample").glob("*-0.1.1*"):
        shutil.copy(file, dist)
    assert "qicore-sample: passed" in workspace.good("wheels.py", "--dist", dist, "qicore-sample")
    subprocess.run([uv(), "venv", "--quiet", "--python", sys.executable, tmp_path / "env"], check=True)
    python = interpreter_in(tmp_path / "env")
    assert install(python, index, "qicore-sample==0.1.0") == {
        "qicore-base": "0.1.0",
        "qicore-sample": "0.1.0",
    }
    assert install(python, index, "--upgrade", "qicore-sample") == {
        "qicore-base": "0.2.0",
        "qicore-sample": "0.1.1",
    }
    done = subprocess.run([python, "-I", "-c", "import qicore.sample"], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_an_unknown_package_is_refused(workspace: Workspace) -> None:
    assert "no such package: qicore-nothing" in workspace.refused("qicore-nothing", "patch")
    assert "say what to release" in workspace.refused("", "patch")
    assert "say what to release" in workspace.refused("qicore-base", "")


def test_what_can_not_be_locked_leaves_nothing_behind(workspace: Workspace) -> None:
    workspace.fragment("qicore-base", "+never.fixed.md", "Never to be released.\n")
    workspace.commit("A fragment")
    broken = shutil.which("false")
    assert broken is not None
    reason = workspace.refused("qicore-base", "7.0.0", UV=broken)
    assert f"failed: {broken} lock" in reason
    assert (workspace.package("qicore-base") / "changelog.d" / "+never.fixed.md").exists()
