"""The program as a user runs it: real processes, real files."""

import ctypes
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import pytest
from qicore_testkit.site import Site, serving

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ASKDOCS_")}


def askdocs(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "askdocs", *arguments],
        cwd=folder,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# Cache\n\nA cache keeps <b>what</b> was computed & expires.\n")
    (tmp_path / "docs" / "b.txt").write_text("Cancel a task with its cancel method.")
    return tmp_path


def test_from_files_to_a_report(folder: Path, place: str) -> None:
    index = {"ASKDOCS_INDEX__PATH": place}
    done = askdocs(folder, "ingest", "docs", **index)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2 added, 0 updated, 0 unchanged, 0 removed; 2 passages in ")

    done = askdocs(folder, "ask", "how do I cancel tasks?", **index)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Cancel a task with its cancel method." in done.stdout
    assert f"{folder / 'docs' / 'b.txt'}:1" in done.stdout

    done = askdocs(folder, "ask", "what is a cache?", "--json", **index)
    answer = json.loads(done.stdout)
    assert answer["hits"][0]["heading"] == "Cache"

    done = askdocs(folder, "stats", **index)
    assert "documents  2\n" in done.stdout
    assert json.loads(askdocs(folder, "stats", "--json", **index).stdout)["documents"] == 2

    done = askdocs(folder, "report", "report.html", **index)
    assert (done.returncode, done.stdout, done.stderr) == (0, "wrote report.html\n", "")
    page = (folder / "report.html").read_text()
    assert "how do I cancel tasks?" in page
    assert "<mark>Cancel</mark>" in page
    assert "&lt;b&gt;" in page or "<b>what</b>" not in page


@pytest.mark.parametrize(
    ("arguments", "status", "shown"),
    [
        (["ingest", "nowhere"], 74, "error: there is no file or folder nowhere [PATH_NOT_FOUND]"),
        (["ask", "anything"], 74, "hint: make one: askdocs ingest PATH"),
        (["stats"], 74, "[INDEX_NOT_FOUND]"),
        (["-i", "no/such.db", "ingest", "docs"], 74, "[INDEX_FOLDER_NOT_FOUND]"),
        (["ask"], 2, "missing argument QUESTION"),
        (["aks", "why?"], 2, "did you mean ask?"),
        (["ask", "why?", "--limit", "0", "--jsn"], 2, "did you mean --json?"),
        ([], 2, "hint: askdocs --help lists the commands"),
        (["--config", "none.yaml", "stats"], 74, "[CONFIG_NOT_FOUND]"),
    ],
)
def test_what_goes_wrong_is_told_with_its_code_and_status(
    folder: Path, arguments: list[str], status: int, shown: str
) -> None:
    done = askdocs(folder, *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert shown in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("place", "status", "shown"),
    [
        ("postgresql://app:s3cret@127.0.0.1:9/docs", 69, "[DB_CONNECT_FAILED]"),
        ("mysql://app:s3cret@127.0.0.1/docs", 2, "or at postgresql://HOST/DATABASE"),
        ("sqlite:///none.db", 74, "there is no index at none.db"),
    ],
)
def test_an_index_that_is_not_where_it_is_said_to_be(
    folder: Path, place: str, status: int, shown: str
) -> None:
    done = askdocs(folder, "--log-level", "debug", "--index", place, "stats")
    assert (done.returncode, done.stdout) == (status, "")
    assert shown in done.stderr
    assert "s3cret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_question(folder: Path) -> None:
    askdocs(folder, "ingest", "docs")
    done = askdocs(folder, "ask", "  ?")
    assert done.returncode == 2
    assert "[EMPTY_QUESTION]" in done.stderr


def test_a_file_of_100_megabytes_and_a_binary_one_are_skipped(folder: Path) -> None:
    with (folder / "docs" / "large.txt").open("wb") as large:
        large.truncate(100_000_000)
    (folder / "docs" / "binary.md").write_bytes(bytes(range(256)))
    (folder / "docs" / "empty.py").write_text("x = 1")
    done = askdocs(folder, "ingest", "docs")
    assert done.returncode == 0
    assert "large.txt: larger than 10,000,000 bytes (see --max-file-size) [FILE_TOO_LARGE]" in done.stdout
    assert "binary.md: a binary file [FILE_NOT_TEXT]" in done.stdout
    assert "1 without any text" in done.stdout
    assert "2 added" in done.stdout
    assert done.stderr == ""


class TestConfiguration:
    def test_each_layer_beats_the_one_before(self, folder: Path) -> None:
        (folder / "askdocs.yaml").write_text(
            "index:\n  path: file.db\nask:\n  limit: 7\nlog:\n  level: error\n"
        )
        done = askdocs(folder, "--explain-config", "--log-level", "info", "ask", "x", ASKDOCS_ASK__LIMIT="9")
        assert (done.returncode, done.stderr) == (0, "")
        rows = {line.split()[0]: line for line in done.stdout.splitlines()}
        assert "file.db" in rows["index.path"]
        assert "askdocs.yaml:2" in rows["index.path"]
        assert "ASKDOCS_ASK__LIMIT" in rows["ask.limit"]
        assert rows["ask.limit"].split()[1] == "9"
        assert rows["log.level"].split()[1:] == ["info", "flags"]
        assert rows["ingest.max_file_size"].split()[1:] == ["10000000", "defaults"]

    def test_what_is_wrong_is_named_with_its_place(self, folder: Path) -> None:
        (folder / "askdocs.yaml").write_text("index:\n  path: file.db\nask:\n  limit: many\nextra: 1\n")
        done = askdocs(folder, "stats", ASKDOCS_LOG__LEVEL="loud")
        assert done.returncode == 2
        assert "[CONFIG_INVALID]" in done.stderr
        for part in ("ask.limit", "askdocs.yaml:4", "extra", "askdocs.yaml:5", "ASKDOCS_LOG__LEVEL"):
            assert part in done.stderr

    def test_a_file_that_cannot_be_read(self, folder: Path) -> None:
        (folder / "askdocs.yaml").write_text("a: [\n")
        done = askdocs(folder, "stats")
        assert done.returncode == 78
        assert "[CONFIG_PARSE_ERROR]" in done.stderr


def obey_file_modes() -> None:
    """Let the modes of files bind root as they bind all others; for a child, before it is another program."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH of linux/capability.h
        if libc.prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
            raise OSError(ctypes.get_errno(), "prctl")


def test_a_read_only_index_answers_and_refuses_to_be_changed(folder: Path) -> None:
    askdocs(folder, "ingest", "docs")
    (folder / "docs" / "c.txt").write_text("something new")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        asked, refused = (
            subprocess.run(
                [sys.executable, "-m", "askdocs", *arguments],
                cwd=folder,
                env=ENVIRONMENT,
                capture_output=True,
                text=True,
                preexec_fn=obey_file_modes if os.geteuid() == 0 else None,
            )
            for arguments in (["ask", "cancel a task"], ["ingest", "docs"])
        )
    finally:
        folder.chmod(0o755)
        (folder / "docs").chmod(0o755)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert "Cancel a task" in asked.stdout
    assert refused.returncode != 0
    assert "[DB_" in refused.stderr
    assert "read" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_interrupt_in_the_middle_loses_nothing(folder: Path) -> None:
    many = folder / "many"
    many.mkdir()
    for number in range(3000):
        (many / f"{number:04}.md").write_text(f"# Part {number}\n\n" + f"words about number{number} " * 60)
    process = subprocess.Popen(
        [sys.executable, "-m", "askdocs", "--log-level", "debug", "ingest", "many"],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for _ in range(20):  # twenty documents are stored
        assert "stored" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert process.returncode == 130
    assert stdout == ""
    assert stderr.splitlines()[-1] == "interrupted"
    assert "Traceback" not in stderr
    kept = json.loads(askdocs(folder, "stats", "--json").stdout)
    assert 20 <= kept["documents"] < 3000
    assert kept["documents"] == kept["passages"]
    assert f"{kept['documents']:,} unchanged" in askdocs(folder, "ingest", "many").stdout


def test_a_terminal_sees_a_progress_bar_and_a_pipe_does_not(folder: Path) -> None:
    assert "reading" not in askdocs(folder, "ingest", "docs").stderr
    (folder / "docs" / "c.txt").write_text("one more")
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "askdocs", "ingest", "docs"],
        cwd=folder,
        env={**ENVIRONMENT, "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=terminal,
    )
    os.close(terminal)
    seen = b""
    while True:
        try:
            piece = os.read(controller, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        seen += piece
    os.close(controller)
    stdout, _ = process.communicate()
    assert process.returncode == 0
    assert b"reading" in seen
    assert b"1 added" in stdout


def test_a_reader_that_goes_away_is_no_error(folder: Path) -> None:
    askdocs(folder, "ingest", "docs")
    command = f"{sys.executable} -m askdocs ask cancel --json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.stdout.strip() in ("0", "141")
    assert done.stderr == ""


class TestSites:
    QUICK = MappingProxyType({"ASKDOCS_WEB__RATE": "1000", "ASKDOCS_WEB__RETRY_WAIT": "0.01"})

    def test_from_a_site_to_an_answer_and_again(self, folder: Path) -> None:
        with serving(Site()) as site:
            site.html("/docs/", "the beginning", "queue.html", "none.html", Cache_Control="max-age=0")
            site.html("/docs/queue.html", "a queue hands things on", Cache_Control="max-age=0")
            done = askdocs(folder, "ingest", f"{site.url}docs/", "docs", **self.QUICK)
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout.startswith("4 added, 0 updated, 0 unchanged, 0 removed; 4 passages in ")
            assert f"  skipped {site.url}docs/none.html: " in done.stdout
            assert "404" in done.stdout
            assert done.stdout.rstrip().endswith("[HTTP_ERROR]")
            again = askdocs(folder, "ingest", f"{site.url}docs/", "--json", **self.QUICK)
            summary = json.loads(again.stdout)
            assert (summary["added"], summary["unchanged"]) == (0, 2)
            assert site.answers("/docs/queue.html") == [200, 304]
            asked = askdocs(folder, "ask", "what does a queue do?")
            assert f"{site.url}docs/queue.html:" in asked.stdout

    def test_one_that_cannot_be_reached_is_told_and_the_rest_is_read(self, folder: Path) -> None:
        with serving(Site()) as site:
            url = site.url
        done = askdocs(folder, "ingest", url, "docs", **self.QUICK)
        assert done.returncode == 69
        assert done.stdout.startswith("2 added")
        assert f"error: could not read {url}" in done.stderr
        assert "[SITE_UNREADABLE]" in done.stderr
        assert "Traceback" not in done.stderr

    def test_no_url_is_told_before_anything_is_done(self, folder: Path) -> None:
        done = askdocs(folder, "ingest", "http://user:hunter2@site.example/", "docs")
        assert (done.returncode, done.stdout) == (2, "")
        assert "[INVALID_URL]" in done.stderr
        assert "hunter2" not in done.stderr

    def test_an_interrupt_in_the_middle_loses_nothing(self, folder: Path) -> None:
        with serving(Site()) as site:
            site.html("/", "start", *(f"{number}.html" for number in range(200)))
            for number in range(200):
                site.html(f"/{number}.html", f"the page called number{number}")
            process = subprocess.Popen(
                [sys.executable, "-m", "askdocs", "ingest", site.url],
                cwd=folder,
                env={**ENVIRONMENT, "ASKDOCS_WEB__RATE": "50"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            site.wait_for(20)
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate()
        assert (process.returncode, stdout) == (130, "")
        assert stderr.splitlines()[-1] == "interrupted"
        kept = json.loads(askdocs(folder, "stats", "--json").stdout)
        assert 10 <= kept["documents"] < 201
        # Each is there whole: the first page, with its 200 links, has two passages, the others have one.
        assert kept["passages"] == kept["documents"] + 1
