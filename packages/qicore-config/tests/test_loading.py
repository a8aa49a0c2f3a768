import asyncio
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from qicore.base import ErrorCategory
from qicore.base.testing import assert_failure, assert_success
from qicore.config import ConfigLimits, Configuration

SAME = {
    "a.yaml": "db:\n  host: x\n",
    "a.yml": "db: {host: x}",
    "a.YAML": "db: {host: x}",
    "a.json": '{"db": {"host": "x"}}',
    "a.toml": 'db.host = "x"',
    "a.env": "DB__HOST=x",
    ".env": "DB__HOST=x",
    ".env.local": "DB__HOST=x",
}


@pytest.mark.parametrize("name", SAME)
async def test_a_file_is_read_by_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(SAME[name])
    config = assert_success(Configuration.from_file(path))
    assert config.to_dict() == {"db": {"host": "x"}}
    source = assert_success(config.source("db.host"))
    assert (source.layer, source.file) == (str(path), str(path))
    assert source.line is not None
    again = assert_success(await Configuration.from_file_async(str(path)))
    assert again == config
    assert again.explain() == config.explain()


@pytest.mark.parametrize("text", ["\ufeffdb: {host: x}", "db: {host: x}\r\n"])
def test_marks_of_windows(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(text.encode())
    assert assert_success(Configuration.from_file(path)).to_dict() == {"db": {"host": "x"}}


def test_no_such_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "no.yaml", tmp_path / "no" / "a.yaml", tmp_path / "file" / "a.yaml"):
        error = assert_failure(Configuration.from_file(path), "CONFIG_NOT_FOUND", ErrorCategory.FILESYSTEM)
        assert str(path) in error.message


def test_what_can_not_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    device = tmp_path / "zero.yaml"
    device.symlink_to("/dev/zero")
    long = tmp_path / ("x" * 300 + ".yaml")
    for path in (folder, pipe, loop, device, long, f"{tmp_path}/a\x00.yaml"):
        assert_failure(Configuration.from_file(path), "CONFIG_UNREADABLE", ErrorCategory.FILESYSTEM)


def test_without_rights() -> None:
    code = (
        "import os, sys\n"
        "from qicore.config import Configuration\n"
        "os.getuid() == 0 and os.setuid(65534)\n"  # root may read everything
        "print(Configuration.from_file(sys.argv[1]).error.to_string())"
    )
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "a.yaml"
        path.write_text("a: 1")
        path.chmod(0)
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"FILESYSTEM/CONFIG_UNREADABLE: {path}: it can't be read: Permission denied"


def test_what_is_no_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    error = assert_failure(Configuration.from_file(path), "CONFIG_PARSE_ERROR")
    assert (error.context["line"], error.context["column"]) == (2, 7)
    path.write_bytes("a: 1".encode("utf-16"))
    assert_failure(Configuration.from_file(path), "CONFIG_PARSE_ERROR")
    path.write_bytes(b"\x00\x01\x02" * 1000)
    assert_failure(Configuration.from_file(path), "CONFIG_PARSE_ERROR")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of nothing
    assert_failure(Configuration.from_file(path), "CONFIG_TOO_LARGE", ErrorCategory.CONFIGURATION)
    path.write_text("é" * 10)
    assert_failure(Configuration.from_file(path, limits=ConfigLimits(max_bytes=19)), "CONFIG_TOO_LARGE")


def test_unknown_formats(tmp_path: Path) -> None:
    for name in ("a.ini", "a", "yaml", "a.yaml.bak"):
        error = assert_failure(Configuration.from_file(tmp_path / name), "CONFIG_UNKNOWN_FORMAT")
        assert ".yaml" in error.message
    assert_failure(Configuration.from_string("", "ini"), "CONFIG_UNKNOWN_FORMAT", ErrorCategory.VALIDATION)
    assert_failure(Configuration({}).to_string("ini"), "CONFIG_UNKNOWN_FORMAT")


@pytest.mark.parametrize("format_name", ["json", "yaml", "toml", "env"])
def test_text_that_no_file_can_hold(format_name: str) -> None:
    error = assert_failure(Configuration.from_string("a = '\ud800'", format_name), "CONFIG_PARSE_ERROR")
    assert "lone surrogate" in error.message


def test_limits_are_checked(tmp_path: Path) -> None:
    for limits in (
        ConfigLimits(max_depth=0),
        ConfigLimits(max_depth=201),
        ConfigLimits(max_bytes=0),
        ConfigLimits(max_values=0),
    ):
        assert_failure(Configuration.from_file(tmp_path / "a.yaml", limits=limits), "INVALID_CONFIG")
        assert_failure(Configuration.from_object({}, limits=limits), "INVALID_CONFIG")


@pytest.mark.parametrize("format_name", ["json", "yaml", "toml"])
def test_the_deepest_that_can_be_allowed_works(format_name: str) -> None:
    limits = ConfigLimits(max_depth=200)
    text = {"json": '{"a":' * 199 + "{}" + "}" * 199, "yaml": "{a: " * 199 + "{}" + "}" * 199}.get(
        format_name, "a = " + "{a = " * 198 + "{}" + "}" * 198
    )
    config = assert_success(Configuration.from_string(text, format_name, limits=limits))
    assert hash(config) == hash(config | config)
    assert config == assert_success(Configuration.from_object(config.to_dict(), limits=limits))
    assert len(config.explain()) == 1


async def test_a_slow_disk_holds_up_no_task(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("\n".join(f"k{i}: {i}" for i in range(5000)))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counter = asyncio.create_task(count())
    assert_success(await Configuration.from_file_async(path))
    counter.cancel()
    assert turns > 1


async def test_a_cancelled_read_is_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1")
    task = asyncio.create_task(Configuration.from_file_async(path))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
