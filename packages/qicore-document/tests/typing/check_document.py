"""Read by the type checkers, never run."""

from pathlib import Path
from typing import assert_type

from jinja2 import Environment
from qicore.base import Result
from qicore.document import DocumentConfig, DocumentGenerator, SandboxConfig, Variable


async def check(generator: DocumentGenerator) -> None:
    assert_type(DocumentGenerator.create(DocumentConfig(sandbox=SandboxConfig())), Result[DocumentGenerator])
    assert_type(generator.generate("a", {}), Result[str])
    assert_type(await generator.generate_async("a", {}), Result[str])
    assert_type(generator.generate_from_file(Path("a"), {}), Result[str])
    assert_type(generator.generate_from_string("a", {}, suffix=".txt"), Result[str])
    assert_type(await generator.batch([("a", {})]), list[Result[str]])
    assert_type(generator.validate("a", {"name"}), Result[tuple[Variable, ...]])
    assert_type(generator.stream("a", {}).save("b"), Result[Path])
    assert_type(generator.raw, Environment)
    assert_type(await generator.close(), Result[None])
    for chunk in generator.stream("a", {}):
        assert_type(chunk, Result[str])
    async for chunk in generator.stream("a", {}):
        assert_type(chunk, Result[str])
