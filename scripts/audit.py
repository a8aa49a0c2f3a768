"""Look up every locked package, but for the benchmarks' peers, in the OSV database of known vulnerabilities.

    python scripts/audit.py [OSV_URL]

Exits with 1 when one is vulnerable, and with 75 (try again) when the database did not answer, and nothing was
audited.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from workspace import environment, output, uv

UNAVAILABLE = 75  # EX_TEMPFAIL of sysexits.h


def locked() -> str:
    """Return the locked requirements of all packages with their extras, and of the tools around them."""
    everything = ("--all-packages", "--all-extras", "--all-groups", "--no-group", "bench")
    return output(uv(), "export", "--quiet", "--frozen", "--no-hashes", "--no-emit-workspace", *everything)


def audit(requirements: str, *service: str) -> tuple[int, str]:
    """Return the exit code, and what to say."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text(requirements, encoding="utf-8")
        command = (sys.executable, "-m", "pip_audit", "--requirement", file, "--disable-pip", "--no-deps")
        options = (
            "--progress-spinner",
            "off",
            "--format",
            "json",
            "--vulnerability-service",
            "osv",
            *service,
        )
        done = subprocess.run(
            [*command, *options], env=environment(), check=False, capture_output=True, text=True
        )
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        return UNAVAILABLE, f"nothing was audited: {done.stderr.strip().rpartition(chr(10))[2]}"
    vulnerable = [
        f"{package['name']} {package['version']}: {one['id']}, fixed in {one['fix_versions'] or 'no version'}"
        for package in found
        for one in package["vulns"]
    ]
    if vulnerable:
        return 1, "\n".join(vulnerable)
    return 0, f"{len(found)} packages, no known vulnerability"


def main(*urls: str) -> None:
    """Audit the lock file."""
    code, text = audit(locked(), *(part for url in urls for part in ("--osv-url", url)))
    sys.stdout.write(f"{text}\n")
    sys.exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
