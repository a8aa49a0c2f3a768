"""Layered, immutable configuration that knows where every value came from.

>>> from qicore.config import Configuration
>>> defaults = Configuration({"server": {"host": "localhost", "port": 8080}}, layer="defaults")
>>> environment = Configuration.from_environment("APP", environ={"APP_SERVER__PORT": "9000"})
>>> config = environment.map(lambda layer: defaults | layer).unwrap()
>>> for row in config.explain():
...     print(row)
server.host = localhost  (defaults)
server.port = 9000  (environment variable APP_SERVER__PORT)
"""

from qicore.config.config import ConfigLimits
from qicore.config.configuration import Configuration
from qicore.config.explaining import Explanation
from qicore.config.paths import Key
from qicore.config.tree import ConfigValue, PlainValue, Source

__all__ = ["ConfigLimits", "ConfigValue", "Configuration", "Explanation", "Key", "PlainValue", "Source"]
