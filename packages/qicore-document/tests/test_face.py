from pathlib import Path

import qicore.document
from qicore_testkit import PublicFace


class TestFace(PublicFace):
    package = qicore.document
    folder = Path(__file__).parents[1]
    light = ("qicore.document.sandbox", "pydantic", "hypothesis")
