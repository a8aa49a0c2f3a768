from pathlib import Path

import qicore.logging
from qicore_testkit import PublicFace


class TestFace(PublicFace):
    package = qicore.logging
    folder = Path(__file__).parents[1]
    light = ("hypothesis", "loguru", "pydantic", "pytest")
