from pathlib import Path

import qicore.resilience
from qicore_testkit import PublicFace


class TestFace(PublicFace):
    package = qicore.resilience
    folder = Path(__file__).parents[1]
    light = ("asyncio",)
