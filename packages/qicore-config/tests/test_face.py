from pathlib import Path

import qicore.config
from qicore_testkit import PublicFace


class TestFace(PublicFace):
    package = qicore.config
    folder = Path(__file__).parents[1]
    light = ("asyncio", "dotenv", "json", "logging", "pydantic", "tomli_w", "tomllib", "yaml")
