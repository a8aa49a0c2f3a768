from pathlib import Path

import qicore.mcp
from qicore_testkit import PublicFace


class TestFace(PublicFace):
    package = qicore.mcp
    folder = Path(__file__).parents[1]
    light = ("rich", "openai", "ollama")
