"""Start a package from `templates/package/`.

    python scripts/new_package.py qicore-x "One line that says what it is for"

The texts of the template hold `{{name}}`, `{{component}}`, `{{module}}`, `{{Class}}`, `{{COMPONENT}}` and
`{{description}}`; its paths hold `__component__`, and `.in` keeps tools from taking a template for a source.
"""

from __future__ import annotations

import re
import sys

import facts
from workspace import ROOT, call, uv

TEMPLATE = ROOT / "templates" / "package"


def render(name: str, description: str) -> dict[str, str]:
    """Return the files of the new package: path below its folder to text."""
    component = name.removeprefix("qicore-")
    values = {
        "name": name,
        "component": component,
        "module": f"qicore.{component}",
        "Class": component.capitalize(),
        "COMPONENT": component.upper(),
        "description": description,
    }
    files: dict[str, str] = {}
    for file in sorted(TEMPLATE.rglob("*")):
        if not file.is_file() or "__pycache__" in file.parts:
            continue
        path = file.relative_to(TEMPLATE).as_posix().replace("__component__", component).removesuffix(".in")
        text = file.read_text(encoding="utf-8")
        files[path] = re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], text)
    return files


def register(root: str, name: str) -> str:
    """Return the text of the root's pyproject with the package among the workspace's sources, in order."""
    head, mark, rest = root.partition("[tool.uv.sources]\n")
    if not mark:
        sys.exit("pyproject.toml has no [tool.uv.sources]")
    table, gap, tail = rest.partition("\n\n")
    lines = sorted({*table.splitlines(), f"{name} = {{ workspace = true }}"})
    return head + mark + "\n".join(lines) + gap + tail


def main(name: str, description: str) -> None:
    """Write the package, enter it in the workspace and lock it."""
    if not re.fullmatch(r"qicore-[a-z]{2,}", name):
        sys.exit(
            f"{name or 'PKG'}: a package's name is qicore- and lower case letters (make new PKG=qicore-x)"
        )
    if not description or '"' in description or "\\" in description or "\n" in description:
        sys.exit('say in one line, without quotes, what it is for: make new PKG=qicore-x DESC="…"')
    folder = ROOT / "packages" / name
    if folder.exists():
        sys.exit(f"packages/{name} is there already")
    for path, text in render(name, description).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    root = ROOT / "pyproject.toml"
    root.write_text(register(root.read_text(encoding="utf-8"), name), encoding="utf-8")
    call(uv(), "lock", "--quiet")
    facts.main()
    # Where a name sorts, and how long a line gets, depends on the name.
    for tidy in (("check", "--fix"), ("format",)):
        call(sys.executable, "-m", "ruff", *tidy, "--quiet", folder)
    sys.stdout.write(f"packages/{name} is ready: make test PKG={name}, make check PKG={name}\n")


if __name__ == "__main__":
    main(*[*sys.argv[1:], "", ""][:2])
