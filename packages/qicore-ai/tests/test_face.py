from pathlib import Path

import qicore.ai
from qicore_testkit import PublicFace


class TestFace(PublicFace):
    package = qicore.ai
    folder = Path(__file__).parents[1]
    light = ("openai", "httpx2", "rich", "ollama")
