from pathlib import Path

import qicore.web
from qicore_testkit import PublicFace


class TestFace(PublicFace):
    package = qicore.web
    folder = Path(__file__).parents[1]
    light = ("fastapi_swagger", "jinja2", "uvicorn")
