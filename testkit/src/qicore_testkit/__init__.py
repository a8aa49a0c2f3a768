"""What the test suites of the qicore packages share."""

from qicore_testkit.examples import Example, read_examples, run_example, run_page
from qicore_testkit.face import PublicFace

__all__ = ["Example", "PublicFace", "read_examples", "run_example", "run_page"]
