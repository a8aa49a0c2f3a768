"""Show the doctests of docstrings as code: Markdown would read `>>>` as three nested quotations."""

from __future__ import annotations

import re
from typing import Any

import griffe

# From a prompt to the next empty line: the prompts, their continuations, and what they print.
_SESSION = re.compile(r"^([ ]*)>>> .*(?:\n[ ]*\S.*)*", re.MULTILINE)


def fence(text: str) -> str:
    """Put a fence around every interactive session of a docstring."""
    return _SESSION.sub(lambda found: f"{found[1]}```pycon\n{found[0]}\n{found[1]}```", text)


class Doctests(griffe.Extension):
    """Changes the docstrings after griffe has read them, and before mkdocstrings renders them."""

    def on_object(
        self,
        *,
        obj: griffe.Object,
        loader: griffe.GriffeLoader,  # noqa: ARG002 - griffe passes it by name
        **kwargs: Any,  # noqa: ARG002 - and more, in versions to come
    ) -> None:
        """Fence the examples of one object."""
        if obj.docstring:
            obj.docstring.value = fence(obj.docstring.value)
