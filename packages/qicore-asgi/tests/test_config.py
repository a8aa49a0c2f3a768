import pytest
from qicore.asgi import AsgiConfig
from qicore.base import ErrorCategory


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_that_never_comes_is_refused(timeout: float) -> None:
    error = AsgiConfig(timeout=timeout).check().error
    assert error is not None
    assert error.code == "INVALID_ASGI_CONFIG"
    assert error.get_category() is ErrorCategory.VALIDATION
