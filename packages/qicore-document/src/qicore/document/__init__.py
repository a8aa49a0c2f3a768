"""Documents from jinja2 templates, with every mistake a Result.

>>> from qicore.document import DocumentConfig, DocumentGenerator
>>> generator = DocumentGenerator.create(
...     DocumentConfig(templates={"bill.html": "<p>{{ customer }} owes {{ '%.2f' % total }}</p>"})
... ).unwrap()
>>> generator.generate("bill.html", {"customer": "Tom & Jerry", "total": 12})
Success('<p>Tom &amp; Jerry owes 12.00</p>')
>>> generator.generate("bill.html", {"customer": "Ann"}).error.context["name"]
'total'
"""

from qicore.document.analysis import Variable
from qicore.document.config import DocumentConfig, SandboxConfig
from qicore.document.generator import DocumentGenerator
from qicore.document.streaming import DocumentStream

__all__ = ["DocumentConfig", "DocumentGenerator", "DocumentStream", "SandboxConfig", "Variable"]
