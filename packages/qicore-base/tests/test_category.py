import os

from qicore.base import ErrorCategory


def test_there_are_eight() -> None:
    assert [category.value for category in ErrorCategory] == [
        "VALIDATION", "NETWORK", "FILESYSTEM", "CONFIGURATION", "CACHE", "TIMEOUT", "PERMISSION", "UNKNOWN",
    ]  # fmt: skip


def test_every_category_answers_everything() -> None:
    for category in ErrorCategory:
        policy = category.policy
        assert 400 <= policy.http_status <= 599
        assert 0 < policy.exit_code < 126, "from 126 on, a shell means something else"
        assert category.is_retryable is (policy.retry is not None)
        if policy.retry is not None:
            assert policy.retry.max_attempts >= 2
            assert 0 < policy.retry.base_delay <= policy.retry.max_delay


def test_retrying_what_may_pass_and_nothing_else() -> None:
    retryable = {category for category in ErrorCategory if category.is_retryable}
    assert retryable == {ErrorCategory.NETWORK, ErrorCategory.CACHE, ErrorCategory.TIMEOUT}


def test_exit_codes_are_those_of_sysexits() -> None:
    assert ErrorCategory.NETWORK.policy.exit_code == os.EX_UNAVAILABLE
    assert ErrorCategory.FILESYSTEM.policy.exit_code == os.EX_IOERR
    assert ErrorCategory.CONFIGURATION.policy.exit_code == os.EX_CONFIG
    assert ErrorCategory.CACHE.policy.exit_code == os.EX_TEMPFAIL
    assert ErrorCategory.TIMEOUT.policy.exit_code == os.EX_TEMPFAIL
    assert ErrorCategory.PERMISSION.policy.exit_code == os.EX_NOPERM
    assert ErrorCategory.UNKNOWN.policy.exit_code == os.EX_SOFTWARE
