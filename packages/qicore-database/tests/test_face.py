from pathlib import Path

import qicore.database
from qicore_testkit import PublicFace


class TestFace(PublicFace):
    package = qicore.database
    folder = Path(__file__).parents[1]
    light = ("pydantic", "sqlalchemy", "structlog", "httpx")
