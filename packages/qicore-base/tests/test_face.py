from pathlib import Path

import qicore.base
import qicore.base.testing
from qicore_testkit import PublicFace


class TestFace(PublicFace):
    package = qicore.base
    folder = Path(__file__).parents[1]
    light = ("asyncio", "dataclasses", "hypothesis", "inspect", "json", "datetime", "logging")


def test_the_testing_face_is_sorted() -> None:
    assert sorted(qicore.base.testing.__all__) == list(qicore.base.testing.__all__)
