import re
import tomllib

import pytest
from changelog import draft
from workspace import ROOT, Package, packages

KINDS = {
    each["directory"]
    for each in tomllib.loads((ROOT / "towncrier.toml").read_text("utf-8"))["tool"]["towncrier"]["type"]
}


@pytest.mark.parametrize("package", packages(), ids=lambda package: package.name)
def test_fragments_become_a_section(package: Package) -> None:
    # .gitkeep keeps the folder when a release has taken the last fragment.
    fragments = sorted(file for file in (package.folder / "changelog.d").iterdir() if file.name != ".gitkeep")
    released = (package.folder / "CHANGELOG.md").read_text(encoding="utf-8")
    assert released.startswith(f"# Changelog of {package.name}\n\n<!-- towncrier release notes start -->\n")
    for file in fragments:
        # towncrier passes over a name it does not know, and the text would be lost.
        assert re.fullmatch(rf"(\d+|\+[\w-]+)\.({'|'.join(KINDS)})\.md", file.name), file
    section = " ".join(draft(package).split())
    if fragments:
        assert section.startswith(f"## {package.version} (unreleased)")
    else:
        assert f"## {package.version} (" in released, "a version is waiting for its fragments, or released"
    for file in fragments:
        text = " ".join(file.read_text(encoding="utf-8").split())
        assert text, f"{file} is empty"
        assert text in section
