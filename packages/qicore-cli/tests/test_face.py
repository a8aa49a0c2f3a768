from pathlib import Path

import qicore.cli
from qicore_testkit import PublicFace


class TestFace(PublicFace):
    package = qicore.cli
    folder = Path(__file__).parents[1]
    light = ("argparse", "asyncio", "click", "difflib", "logging", "pathlib", "shlex", "shutil", "textwrap")
