from pathlib import Path

import qicore.asgi
from qicore_testkit import PublicFace


class TestFace(PublicFace):
    package = qicore.asgi
    folder = Path(__file__).parents[1]
    light = ("httptools", "uvloop")
