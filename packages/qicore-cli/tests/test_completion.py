"""Completion: what is proposed, and what real shells make of it."""

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from qicore.base.testing import assert_failure, assert_success
from qicore.cli import (
    Completion,
    ValueType,
    choice,
    command,
    complete,
    generate_completion,
    int_range,
    one_of,
    option,
    path,
    positional,
    program,
)

tool = program(
    "tool",
    option("--config", path(kind="file"), "-c", help="Read this."),
    option("--root", path(kind="directory")),
    option("--level", one_of("debug", "info"), "-l"),
    option("--token", one_of("a", "b"), secret=True),
    option("--internal", str, hidden=True),
    option("--size", int_range(1, 9), nargs=2),
    option("--user", ValueType(str, "USER", complete=lambda begun: ["ann", "bob"])),
    option("--force", bool, "-f"),
    choice(
        command(
            "copy",
            positional("kind", one_of("file", "tree")),
            positional("paths", path(), nargs="+"),
            help="Copy.",
        ),
        command("list", option("--long", bool), help="List."),
        command("secret", hidden=True),
    ),
    version="1",
)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], ["copy", "list"]),
        ([""], ["copy", "list"]),
        (["l"], ["list"]),
        (["x"], []),
        (["x", ""], []),
        (["--l"], ["--level"]),
        (
            ["-"],
            [
                "--config",
                "--force",
                "--help",
                "--level",
                "--root",
                "--size",
                "--token",
                "--user",
                "--version",
                "-c",
                "-f",
                "-h",
                "-l",
            ],
        ),
        (["--level", ""], ["debug", "info"]),
        (["-l", "d"], ["debug"]),
        (["-fl", "i"], ["info"]),
        (["-ldebug", "c"], ["copy"]),
        (["--level=i"], ["--level=info"]),
        (["--force=x"], []),
        (["--token", ""], []),
        (["--user", "b"], ["bob"]),
        (["--size", "1", ""], []),
        (["--size", "1", "2", "c"], ["copy"]),
        (["--level=debug", "c"], ["copy"]),
        (["copy", ""], ["file", "tree"]),
        (["--force", "copy", "t"], ["tree"]),
        (["copy", "--", "t"], ["tree"]),
        (["copy", "--", "--"], []),
        (["list", "--lo"], ["--long"]),
        (["list", ""], []),
        (["list", "--level", "d"], ["debug"]),
    ],
)
def test_proposals(args: list[str], expected: list[str]) -> None:
    assert [each.text for each in complete(args, tool)] == expected


def test_files_are_left_to_the_shell() -> None:
    assert complete(["--config", "a"], tool) == [Completion("a", kind="file")]
    assert complete(["--config=a"], tool) == [Completion("--config=a", kind="file")]
    assert complete(["--root", ""], tool) == [Completion("", kind="directory")]
    assert complete(["copy", "file", "x"], tool) == [Completion("x", kind="file")]
    assert complete(["copy", "file", "x", "y"], tool) == [Completion("y", kind="file")]


def test_proposals_have_their_help() -> None:
    assert complete(["co"], tool) == [Completion("copy", "Copy.")]
    assert complete(["--conf"], tool) == [Completion("--config", "Read this.")]


def test_no_script_for_other_shells_and_names() -> None:
    assert_failure(generate_completion("tcsh", "tool"), "CLI_BAD_VALUE")
    for name in ("", "a b", "$(rm)", "a;b", "é", "a\nb"):
        assert_failure(generate_completion("bash", name), "CLI_BAD_VALUE")


@pytest.mark.parametrize("shell", [shell for shell in ("bash", "zsh", "fish") if shutil.which(shell)])
def test_the_scripts_are_valid(shell: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(assert_success(generate_completion(shell, "my-tool.py")))
    flag = "--no-execute" if shell == "fish" else "-n"
    done = subprocess.run([shell, flag, str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


APP = Path(__file__).with_name("app.py")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files, and the program `notes` on PATH."""
    folder, programs = tmp_path / "here", tmp_path / "bin"
    (folder / "sub").mkdir(parents=True)
    (folder / "my file.txt").touch()
    (folder / "settings.yaml").touch()
    programs.mkdir()
    notes = programs / "notes"
    notes.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{APP}" "$@"\n')
    notes.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.chdir(folder)
    return folder


TYPED = [
    ("notes as", "notes ask "),
    ("notes --log-level in", "notes --log-level info "),
    ("notes --log-level=de", "notes --log-level=debug "),
    ("notes --js", "notes --json "),
    ("notes ask --lim", "notes ask --limit "),
    ("notes ingest my", "notes ingest my\\ file.txt "),
    ("notes --config=set", "notes --config=settings.yaml "),
    ("notes -c su", "notes -c sub/"),
]


class Terminal:
    """An interactive shell at a pseudo-terminal, which a process of its own holds."""

    def __init__(self, *command: str) -> None:
        code = "import pty, sys; pty.spawn(sys.argv[1:])"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def type(self, text: str, until: Callable[[str], bool], patience: float = 60.0) -> str:
        """Type, and return what the terminal shows once `until` holds for it; give up after a minute."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(text.encode())
        shown, end = "", time.monotonic() + patience
        while not until(shown) and time.monotonic() < end:
            if select.select([self.process.stdout], [], [], 0.1)[0]:
                shown += os.read(self.process.stdout.fileno(), 65536).decode(errors="replace")
        return shown

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
SETUP = {
    "bash": "bind 'set enable-bracketed-paste off'; ",
    "zsh": "autoload -U compinit; compinit -u -D; unsetopt zle_bracketed_paste; ",
}


@pytest.mark.parametrize("shell", [shell for shell in START if shutil.which(shell)])
def test_a_tab_in_a_real_shell(shell: str, workplace: Path) -> None:
    terminal = Terminal(*START[shell])
    try:
        setup = f"{SETUP[shell]}PS1='> '; eval \"$(_NOTES_COMPLETE={shell}_source notes)\"; echo rea''dy\n"
        assert "ready" in terminal.type(setup, lambda shown: "ready" in shown)
        for typed, completed in TYPED:
            shown = terminal.type(f"{typed}\t", lambda shown, wanted=completed: wanted in shown)  # type: ignore[misc]
            assert completed in shown
            terminal.type("\x15", lambda shown: True)  # clear the line
    finally:
        terminal.close()


# fish answers without a terminal what a tab would show.
@pytest.mark.parametrize("shell", [shell for shell in ("fish",) if shutil.which(shell)])
def test_fish(shell: str, workplace: Path) -> None:
    def proposals(line: str) -> list[str]:
        code = "_NOTES_COMPLETE=fish_source notes | source; complete --do-complete $argv"
        done = subprocess.run([shell, "-c", code, line], capture_output=True, text=True, check=True)
        return [proposal.partition("\t")[0] for proposal in done.stdout.splitlines()]

    assert proposals("notes as") == ["ask"]
    assert proposals("notes --log-level in") == ["info"]
    assert proposals("notes --log-level=de") == ["--log-level=debug"]
    assert proposals("notes ask --lim") == ["--limit"]
    assert proposals("notes ingest my") == ["my file.txt"]
    assert proposals("notes --config=set") == ["--config=settings.yaml"]
    assert proposals("notes -c su") == ["sub/"]


def test_the_program_answers_its_scripts(workplace: Path) -> None:
    def ask(value: str, *args: str) -> str:
        environ = {**os.environ, "_NOTES_COMPLETE": value}
        return subprocess.run(
            ["notes", *args], capture_output=True, text=True, check=True, env=environ
        ).stdout

    assert ask("bash", "as") == "text\task\tAsk a question.\n"
    assert ask("zsh", "--config", "x") == "file\tx\t\n"
    assert ask("fish_source") == assert_success(generate_completion("fish", "notes"))
    assert ask("", "ask", "x") == "Ask(question='x', limit=5)\n"
