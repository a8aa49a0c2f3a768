"""Run each package's tests in an environment that holds only its own dependencies.

    python scripts/isolated.py [--python 3.13] [PACKAGE …]

A dependency that a package uses and does not declare is there in the shared environment, and missing here.
"""

from __future__ import annotations

import argparse
import sys

from workspace import ROOT, Package, conclude, environment, select, side_by_side, trial, uv


def main() -> None:
    """Run them; the last line names those that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", help="interpreter to use instead of the workspace's own")
    parser.add_argument("package", nargs="*")
    given = parser.parse_args()
    # The testkit needs pytest and nothing else, so its source on the path is enough.
    env = environment(PYTHONPATH=str(ROOT / "testkit" / "src"))
    interpreter = ["--python", given.python] if given.python else []

    def tests(package: Package) -> tuple[bool, str]:
        return trial(
            *(uv(), "run", "--quiet", "--isolated", "--frozen", *interpreter),
            *("--package", package.name, "--all-extras", "--group", "test"),
            *("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", package.folder),
            env=env,
        )

    sys.stdout.write(f"Each package with its own dependencies only {given.python or ''}\n")
    conclude(side_by_side(select(given.package), tests))


if __name__ == "__main__":
    main()
