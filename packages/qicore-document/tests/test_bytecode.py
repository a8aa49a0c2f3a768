import marshal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from qicore.base import ErrorCategory, Result, Success
from qicore.document import DocumentConfig, DocumentGenerator


def create(directory: Path, **options: Any) -> Result[DocumentGenerator]:
    options.setdefault("templates", {"a.html": "<{{ x }}>"})
    return DocumentGenerator.create(DocumentConfig(bytecode_directory=directory, **options))


def cached(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.qit"))


def refuse_to_compile(generator: DocumentGenerator) -> DocumentGenerator:
    """Let the generator use what is on disk, and nothing else."""

    def compile_nothing(*args: object, **kwargs: object) -> None:
        raise AssertionError("it was compiled again")

    generator.raw.compile = compile_nothing  # type: ignore[method-assign, assignment]  # pyright: ignore[reportAttributeAccessIssue]
    return generator


def test_the_next_process_compiles_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "cache"
    assert create(directory).unwrap().generate("a.html", {"x": "<"}) == Success("<&lt;>")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    (file,) = cached(directory)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert refuse_to_compile(create(directory).unwrap()).generate("a.html", {"x": 1}) == Success("<1>")


def test_another_source_or_setting_is_compiled_anew(tmp_path: Path) -> None:
    source = "{{ x }}\n"
    create(tmp_path / "c", templates={"a": source}).unwrap().generate("a", {"x": "<"}).unwrap()
    escaped = create(tmp_path / "c", templates={"a": source}, escaped_suffixes=("a",)).unwrap()
    assert escaped.generate("a", {"x": "<"}) == Success("&lt;")
    assert create(tmp_path / "c", templates={"a": "new"}).unwrap().generate("a", {}) == Success("new")
    ending = create(tmp_path / "c", templates={"a": source}, keep_trailing_newline=True).unwrap()
    assert ending.generate("a", {"x": 1}) == Success("1\n")


@pytest.mark.parametrize("mode", [0o777, 0o750, 0o701, 0o720])
def test_a_directory_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    directory = tmp_path / "c"
    directory.mkdir()
    directory.chmod(mode)
    error = create(directory).error
    assert error is not None
    assert (error.code, error.category) == ("TEMPLATE_CACHE_UNSAFE", ErrorCategory.PERMISSION)


def test_a_link_or_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch()
    codes = [create(tmp_path / name).error for name in ("link", "file", "file/below")]
    assert [error.code for error in codes if error] == [
        "TEMPLATE_CACHE_UNSAFE",
        "TEMPLATE_CACHE_UNUSABLE",
        "TEMPLATE_CACHE_UNUSABLE",
    ]


@pytest.mark.parametrize("keep", [0, 1, 31, 32, 33, 60, -1])
def test_a_truncated_file_is_compiled_anew(tmp_path: Path, keep: int) -> None:
    create(tmp_path / "c").unwrap().generate("a.html", {"x": 1}).unwrap()
    (file,) = cached(tmp_path / "c")
    whole = file.read_bytes()
    file.write_bytes(whole[:keep])
    assert create(tmp_path / "c").unwrap().generate("a.html", {"x": 2}) == Success("<2>")
    assert file.read_bytes() == whole


def poison(marker: Path) -> bytes:
    return marshal.dumps(compile(f"open({str(marker)!r}, 'w')", "x", "exec"))


def test_foreign_bytes_are_not_executed(tmp_path: Path) -> None:
    create(tmp_path / "c").unwrap().generate("a.html", {"x": 1}).unwrap()
    (file,) = cached(tmp_path / "c")
    digest = file.read_bytes()[:32]
    for content in (poison(tmp_path / "ran"), digest + poison(tmp_path / "ran"), b"\0" * 5000):
        file.write_bytes(content)
        assert create(tmp_path / "c").unwrap().generate("a.html", {"x": 2}) == Success("<2>")
    assert not (tmp_path / "ran").exists()


def test_files_that_others_may_write_or_that_are_links_are_not_read(tmp_path: Path) -> None:
    create(tmp_path / "c").unwrap().generate("a.html", {"x": 1}).unwrap()
    (file,) = cached(tmp_path / "c")
    file.chmod(0o666)
    assert create(tmp_path / "c").unwrap().generate("a.html", {"x": 2}) == Success("<2>")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600, "it was written anew"
    elsewhere = tmp_path / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    assert create(tmp_path / "c").unwrap().generate("a.html", {"x": 2}) == Success("<2>")
    assert not file.is_symlink()


def test_a_cache_that_can_not_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    generator = create(tmp_path / "c").unwrap()
    (tmp_path / "c").rmdir()
    (tmp_path / "c").touch()
    assert generator.generate("a.html", {"x": 1}) == Success("<1>")


def test_many_writers_never_leave_half_a_file(tmp_path: Path) -> None:
    def work(_: int) -> Result[str]:
        return create(tmp_path / "c").unwrap().generate("a.html", {"x": 1})

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(64))) == [Success("<1>")] * 64
    assert [path.suffix for path in (tmp_path / "c").iterdir()] == [".qit"]


def test_another_process_uses_the_same_file(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from qicore.document import DocumentConfig, DocumentGenerator
        options = DocumentConfig(templates={"a.html": "<{{ x }}>"}, bytecode_directory=sys.argv[1])
        print(DocumentGenerator.create(options).unwrap().generate("a.html", {"x": 1}).unwrap())
    """
    command = [sys.executable, "-c", code, str(tmp_path / "c")]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == "<1>\n"
    assert len(cached(tmp_path / "c")) == 1
    assert refuse_to_compile(create(tmp_path / "c").unwrap()).generate("a.html", {"x": 1}) == Success("<1>")
