import sys
from pathlib import Path
from types import ModuleType

import pytest
import qicore.cli
from qicore_testkit import PublicFace


class TestFace(PublicFace):
    package = qicore.cli
    folder = Path(__file__).parents[1]
    light = ("argparse", "asyncio", "click", "difflib", "logging", "pathlib", "shlex", "shutil", "textwrap")

    @pytest.fixture(autouse=True)
    def module_of_the_examples(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # A dataclass looks its own module up, and the examples of a page are in none.
        monkeypatch.setitem(sys.modules, "readme", ModuleType("readme"))
