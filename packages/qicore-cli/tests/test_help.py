"""Help, golden: what is shown, to the letter."""

from textwrap import dedent

import pytest
from qicore.base.testing import assert_failure
from qicore.cli import (
    choice,
    command,
    count,
    exclusive,
    generate_help,
    generate_usage,
    group,
    one_of,
    option,
    parse,
    path,
    positional,
    program,
    sequence,
)

backup = program(
    "backup",
    option("--config", path(kind="file"), "-c", env="BACKUP_CONFIG", help="Read this configuration."),
    count("--verbose", "-v", help="Say more."),
    option("--token", str, secret=True, default="s3cret", env="BACKUP_TOKEN", help="The key to the store."),
    option("--trace", bool, hidden=True),
    choice(
        command(
            "save",
            positional("paths", path(), nargs="+", help="What to save."),
            positional("label", default="today"),
            option("--store", str, "-s", required=True, config="store.url", help="Where to."),
            option("--level", one_of("fast", "best"), default="fast", help="How small it gets."),
            option("--compression-algorithm-name", str, help="A name that is too long for the column."),
            option("--exclude", str, multiple=True, metavar="GLOB", help="What not to save."),
            option("--size", int, nargs=2, help="From and to."),
            option("--sparse", bool, default=True, help="Keep holes."),
            option("--kind", one_of("a", "b", "c", "d", "e", "f"), default="a"),
            group(
                "Output",
                exclusive(
                    option("--json", bool, help="As JSON."), option("--quiet", bool, "-q", help="Nothing.")
                ),
            ),
            help="Save files.\n\nEach path is saved by itself, and what is the same in both is "
            "stored once only.",
        ),
        command("list", help="List what was saved.", aliases=["ls"]),
        command("debug", hidden=True),
    ),
    version="3.1",
    help="Keep copies of files.\n\nA second paragraph, long enough that it has to be wrapped at eighty "
    "columns, which is here.",
    epilog="More at example.org.",
)

TOP = """\
Usage: backup [OPTIONS] COMMAND [ARGS]...

Keep copies of files.

A second paragraph, long enough that it has to be wrapped at eighty columns,
which is here.

Commands:
  save               Save files.
  list, ls           List what was saved.

Options:
  -c, --config FILE  Read this configuration. [env: BACKUP_CONFIG]
  -v, --verbose      Say more.
      --token TEXT   The key to the store. [env: BACKUP_TOKEN]
  -h, --help         Show this help.
      --version      Show the version.

More at example.org.
"""

SAVE = """\
Usage: backup save [OPTIONS] --store TEXT PATHS... [LABEL]

Save files.

Each path is saved by itself, and what is the same in both is stored once only.

Arguments:
  PATHS...                   What to save.
  LABEL                      [default: today]

Options:
  -s, --store TEXT           Where to. [config: store.url] [required]
      --level fast|best      How small it gets. [default: fast]
      --compression-algorithm-name TEXT
                             A name that is too long for the column.
      --exclude GLOB         What not to save. [may be repeated]
      --size INT INT         From and to.
      --sparse, --no-sparse  Keep holes. [default: --sparse]
      --kind CHOICE          [one of: a, b, c, d, e, f] [default: a]
  -h, --help                 Show this help.

Output:
      --json                 As JSON.
  -q, --quiet                Nothing.

Global options:
  -c, --config FILE          Read this configuration. [env: BACKUP_CONFIG]
  -v, --verbose              Say more.
      --token TEXT           The key to the store. [env: BACKUP_TOKEN]
"""


def test_the_help_of_a_program() -> None:
    assert generate_help(backup) == TOP


def test_the_help_of_a_command() -> None:
    assert generate_help(backup, command=["save"]) == SAVE
    assert generate_help(backup, command=["ls"]) == generate_help(backup, command=["list"])


def test_help_asked_for_is_the_help_generated() -> None:
    assert assert_failure(parse(["save", "--help"], backup), "CLI_HELP").context["text"] == SAVE


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("name", [[], ["save"], ["list"]])
def test_help_keeps_to_its_width(width: int, name: list[str]) -> None:
    text = generate_help(backup, command=name, width=width)
    for line in text.splitlines():
        # Only a single word, or a label of an option, may be longer.
        assert (
            len(line) <= width or len(line.split()) <= 3 or line.lstrip().startswith(("-", "[", "Usage"))
        ), line
        assert line == line.rstrip()
    assert text == generate_help(backup, command=name, width=width)


def test_hidden_and_secret_things_are_not_shown() -> None:
    text = generate_help(backup) + generate_help(backup, command=["save"])
    assert "trace" not in text
    assert "debug" not in text
    assert "s3cret" not in text


def test_help_in_a_narrow_terminal() -> None:
    small = program("x", option("--name", str, help="A name that is rather long."))
    expected = """\
        Usage: x [OPTIONS]

        Options:
              --name TEXT
              A name that is
              rather long.
          -h, --help
              Show this
              help.
        """
    assert generate_help(small, width=20) == dedent(expected)


def test_usage() -> None:
    assert generate_usage(backup) == "Usage: backup [OPTIONS] COMMAND [ARGS]..."
    assert generate_usage(backup, command=["list"]) == "Usage: backup list [OPTIONS]"
    assert generate_usage(positional("x")) == "Usage: [OPTIONS] X"
    optional = program("x", choice(command("a")).optional())
    assert generate_usage(optional) == "Usage: x [OPTIONS] [COMMAND] [ARGS]..."
    many = program("x", *(option(f"--option{number}", str, required=True) for number in range(5)))
    assert generate_usage(many, width=40).splitlines() == [
        "Usage: x [OPTIONS] --option0 TEXT",
        "         --option1 TEXT --option2 TEXT",
        "         --option3 TEXT --option4 TEXT",
    ]


def test_a_bare_parser_has_help_too() -> None:
    assert generate_help(sequence(option("--a", int), option("--b", str))).startswith(
        "Usage: [OPTIONS]\n\nOptions:\n      --a INT"
    )


def test_an_outer_flag_that_is_taken_is_not_offered() -> None:
    parser = program(
        "x", option("--name", str, "-n", help="Outer."), command("y", option("-n", int, name="inner"))
    )
    text = generate_help(parser, command=["y"])
    assert "  -n INT" in text
    assert "      --name TEXT  Outer." in text
