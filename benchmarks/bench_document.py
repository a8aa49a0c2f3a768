"""Time documents against bare jinja2, its sandbox, and minijinja: one table, rendered, streamed, compiled."""

from __future__ import annotations

import tempfile
from pathlib import Path

import minijinja
from harness import Suite
from jinja2 import DictLoader, Environment, FileSystemBytecodeCache, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from qicore.base import Success
from qicore.document import DocumentConfig, DocumentGenerator, SandboxConfig

ROW = "<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>\n"
TABLE = "<table>{% for row in rows %}" + ROW + "{% endfor %}</table>"
SMALL = "<p>Hello {{ name }}, you have {{ count }} messages.</p>"
TEMPLATES = {"table.html": TABLE, "small.html": SMALL}
ROWS = {"rows": [[f"cell <{row}:{column}>" for column in range(5)] for row in range(1000)]}
NAME = {"name": "Ann & Bob", "count": 3}


def compare_rendering(suite: Suite) -> None:
    """Render what is compiled and cached."""
    bare = Environment(
        loader=DictLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, auto_reload=False
    )
    sandbox = ImmutableSandboxedEnvironment(loader=DictLoader(TEMPLATES), autoescape=True, auto_reload=False)
    rust = minijinja.Environment(templates=TEMPLATES)
    ours = DocumentGenerator.create(DocumentConfig(templates=TEMPLATES)).unwrap()
    process = DocumentGenerator.create(DocumentConfig(templates=TEMPLATES, sandbox=SandboxConfig())).unwrap()
    for name, data, target in (
        ("small.html", NAME, "no target: what one call costs"),
        ("table.html", ROWS, "near 1.0 of bare jinja2"),
    ):
        expected = bare.get_template(name).render(data)
        assert ours.generate(name, data) == process.generate(name, data) == Success(expected)
        suite.compare(
            f"render {name}",
            {
                "jinja2": lambda name=name, data=data: bare.get_template(name).render(data),
                "qicore": lambda name=name, data=data: ours.generate(name, data),
                "jinja2 sandbox": lambda name=name, data=data: sandbox.get_template(name).render(data),
                "qicore sandbox (process)": lambda name=name, data=data: process.generate(name, data),
                "minijinja": lambda name=name, data=data: rust.render_template(name, **data),
            },
            target=target,
        )
    compare_streaming(suite, bare, ours, process)
    process.close()


def compare_streaming(
    suite: Suite, bare: Environment, ours: DocumentGenerator, process: DocumentGenerator
) -> None:
    """Read the table in chunks."""

    def buffered() -> int:
        stream = bare.get_template("table.html").stream(ROWS)
        stream.enable_buffering(50)
        return sum(len(chunk) for chunk in stream)

    suite.compare(
        "stream table.html",
        {
            "jinja2 stream(50)": buffered,
            "jinja2 generate": lambda: sum(map(len, bare.get_template("table.html").generate(ROWS))),
            "qicore": lambda: sum(len(chunk.unwrap()) for chunk in ours.stream("table.html", ROWS)),
            "qicore sandbox (process)": lambda: sum(
                len(chunk.unwrap()) for chunk in process.stream("table.html", ROWS)
            ),
        },
        target="no slower than jinja2's buffered stream",
    )


def compare_compiling(suite: Suite) -> None:
    """Bring a template into a new environment: compiled, and from bytecode on disk."""
    source = {"table.html": TABLE * 10}
    with tempfile.TemporaryDirectory() as folder:
        theirs = FileSystemBytecodeCache(folder)
        private = Path(folder) / "private"

        def bare(cache: FileSystemBytecodeCache | None) -> object:
            return Environment(loader=DictLoader(source), autoescape=True, bytecode_cache=cache).get_template(
                "table.html"
            )

        def ours(directory: Path | None) -> object:
            options = DocumentConfig(templates=source, bytecode_directory=directory)
            return DocumentGenerator.create(options).unwrap().raw.get_template("table.html")

        suite.compare(
            "compile, new environment",
            {"jinja2": lambda: bare(None), "qicore": lambda: ours(None)},
            target="far below 100 ms",
        )
        suite.compare(
            "bytecode, new environment",
            {"jinja2": lambda: bare(theirs), "qicore": lambda: ours(private)},
            target="a fraction of compiling",
        )


def main() -> None:
    """Run everything and keep the figures."""
    suite = Suite("document", ("qicore-document", "jinja2", "minijinja"))
    compare_rendering(suite)
    compare_compiling(suite)
    suite.save()


if __name__ == "__main__":
    main()
