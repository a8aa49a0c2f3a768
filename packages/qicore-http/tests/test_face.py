from pathlib import Path

import qicore.http
from qicore_testkit import PublicFace


class TestFace(PublicFace):
    package = qicore.http
    folder = Path(__file__).parents[1]
    light = ("aiohttp", "h2", "hishel", "httpcore", "httpx2", "httpx_aiohttp")
