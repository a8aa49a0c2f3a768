import pytest
from qicore.ai import AiConfig
from qicore.base import ErrorCategory


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_that_never_comes_is_refused(timeout: float) -> None:
    error = AiConfig(timeout=timeout).check().error
    assert error is not None
    assert error.code == "INVALID_AI_CONFIG"
    assert error.get_category() is ErrorCategory.VALIDATION
