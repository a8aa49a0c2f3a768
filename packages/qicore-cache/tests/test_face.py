from pathlib import Path

import qicore.cache
from qicore_testkit import PublicFace


class TestFace(PublicFace):
    package = qicore.cache
    folder = Path(__file__).parents[1]
    light = ("redis",)
