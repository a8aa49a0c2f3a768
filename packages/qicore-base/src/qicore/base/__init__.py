"""Result and QiError: operations that fail honestly, in pure Python.

Every operation of a qicore component answers a `Result`: a `Success` with its value, or a `Failure` with a
structured `QiError`, whose `ErrorCategory` says what follows from it.

>>> from qicore.base import Failure, QiError, Result, Success
>>> def port(text: str) -> Result[int]:
...     return Result.from_try_catch(int, text, catch=ValueError).filter(
...         lambda number: 0 < number < 65536,
...         lambda number: QiError.validation("BAD_PORT", f"{number} is no port: use 1 to 65535"),
...     )
>>> port("8080")
Success(8080)
>>> str(port("70000").error)
'VALIDATION/BAD_PORT: 70000 is no port: use 1 to 65535'
"""

from qicore.base.category import CategoryPolicy, ErrorCategory, RetryAdvice
from qicore.base.chain import AsyncResult
from qicore.base.collect import accumulate, collect, collect_async, combine, partition
from qicore.base.decorators import as_result, early_return
from qicore.base.error import QiError
from qicore.base.jsonable import FrozenJSON, PlainJSON
from qicore.base.result import Result
from qicore.base.variants import Failure, Success

__all__ = [
    "AsyncResult",
    "CategoryPolicy",
    "ErrorCategory",
    "Failure",
    "FrozenJSON",
    "PlainJSON",
    "QiError",
    "Result",
    "RetryAdvice",
    "Success",
    "accumulate",
    "as_result",
    "collect",
    "collect_async",
    "combine",
    "early_return",
    "partition",
]
