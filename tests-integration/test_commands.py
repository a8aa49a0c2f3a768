"""What the pages tell people to type is there to be typed."""

import re
import subprocess

import pytest
from workspace import ROOT, environment, packages

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)) - {"uv"}
PAGES = [
    *("README.md", "CONTRIBUTING.md", "docs/getting-started.md", ".ci/run"),
    *(".github/workflows/ci.yml", ".github/workflows/release.yml"),
]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment(), check=False, capture_output=True, text=True)


def test_plain_make_lists_every_target() -> None:
    done = make()
    listed = re.findall(r"^  make ([a-z-]+) +\S", done.stdout, re.MULTILINE)
    assert set(listed) == TARGETS
    assert done.stdout == make("help").stdout
    assert {
        *("demo", "setup", "test", "check", "format", "bench", "docs", "build"),
        *("test-isolated", "test-wheels", "new", "clean"),
    } <= TARGETS


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    used = set(re.findall(r"(?:^ *|`|run: |exec )make (?:--[a-z-]+ )?([a-z][a-z-]*)\b", text, re.MULTILINE))
    assert used <= TARGETS


@pytest.mark.parametrize(
    "target", ["test", "check", "format", "bench", "build", "test-isolated", "test-wheels"]
)
@pytest.mark.parametrize(
    "name", ["qicore-nothing", "*", "%", "../packages/qicore-base", "qicore-base nobody"]
)
def test_an_unknown_package_is_refused(target: str, name: str) -> None:
    done = make("--dry-run", target, f"PKG={name}")
    assert done.returncode != 0
    assert "no such package" in done.stderr
    assert all(package.name in done.stderr for package in packages())


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_narrowed_target_touches_only_its_package(target: str) -> None:
    plan = make("--dry-run", target, "PKG=qicore-base", "DESC=x").stdout
    others = [package.name for package in packages() if package.name != "qicore-base"]
    assert not [name for name in others if name in plan]
