"""What is said to a model and by it: messages, images and calls of tools, the same for every provider."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast

from qicore.ai.errors import invalid_prompt
from qicore.base import Failure, QiError, Result, Success

__all__ = ["Image", "Message", "Prompt", "Role", "ToolCall", "as_messages", "under"]

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
_ROLES: Final = ("system", "user", "assistant", "tool")
# How files of these formats begin (their own specifications).
_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


@dataclass(frozen=True, slots=True)
class Image:
    """A picture for a model that sees.

    >>> Image.create(b"GIF89a...").unwrap().media_type
    'image/gif'

    Attributes:
        data: the bytes of the file.
        media_type: what they are, such as `image/png`.
    """

    data: bytes = field(repr=False)
    media_type: str

    @classmethod
    def create(cls, data: bytes) -> Result[Image]:
        """Return an image of these bytes: PNG, JPEG, GIF or WebP; INVALID_PROMPT [VALIDATION] for others."""
        if not isinstance(cast("object", data), bytes):
            return Failure(invalid_prompt("an image is made of bytes"))
        for signature, media_type in _SIGNATURES:
            if data.startswith(signature):
                return Success(cls(data, media_type))
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return Success(cls(data, "image/webp"))
        return Failure(invalid_prompt("an image must be PNG, JPEG, GIF or WebP"))

    @classmethod
    def from_path(cls, path: str | Path) -> Result[Image]:
        """Read an image; FILE_ERROR [FILESYSTEM] when that fails, INVALID_PROMPT [VALIDATION]."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            return Failure(QiError.filesystem("FILE_ERROR", f"{path}: {reason}", path=str(path)))
        except (TypeError, ValueError) as error:
            return Failure(invalid_prompt(f"this is no path of an image: {error}"))
        return cls.create(data)

    @property
    def base64(self) -> str:
        """The bytes in base64."""
        return base64.b64encode(self.data).decode("ascii")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish that a tool be called.

    Attributes:
        name: of the tool.
        arguments: by name, as the model gave them: nobody has checked them yet.
        id: what the answer names the call by; made up when the provider gives none.
    """

    name: str
    arguments: Mapping[str, Any]
    id: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    >>> Message.user("Which of these is a cat?").role
    'user'

    Attributes:
        role: who says it.
        content: the text.
        images: pictures that go with it.
        tool_calls: what the assistant wants to have called.
        thinking: what the assistant thought before it spoke, where the model tells.
        tool_call_id: which call this is the answer to, for the role `tool`.
        tool_name: of the tool that was called.
    """

    role: Role
    content: str = ""
    images: tuple[Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    thinking: str = ""
    tool_call_id: str = ""
    tool_name: str = ""

    @classmethod
    def system(cls, content: str) -> Message:
        """What the model should know and heed."""
        return cls("system", content)

    @classmethod
    def user(cls, content: str, *images: Image) -> Message:
        """What a person says, and shows."""
        return cls("user", content, images)

    @classmethod
    def assistant(cls, content: str) -> Message:
        """What the model said."""
        return cls("assistant", content)

    @classmethod
    def tool(cls, call: ToolCall, content: str) -> Message:
        """What a tool answered."""
        return cls("tool", content, tool_call_id=call.id, tool_name=call.name)


Prompt: TypeAlias = str | Message | Iterable[Message]
"""What a chat begins with: the text of a user, one message, or several."""


def as_messages(prompt: Prompt) -> tuple[Message, ...]:
    """Return the messages of a prompt; a QiError INVALID_PROMPT is raised."""
    if isinstance(prompt, str):
        messages: tuple[Message, ...] = (Message.user(prompt),)
    elif isinstance(prompt, Message):
        messages = (prompt,)
    else:
        try:
            messages = tuple(prompt)
        except Exception as error:  # what is no iterable, or fails while it is read
            raise invalid_prompt(_WANTED) from error
    if not messages:
        raise invalid_prompt("a prompt needs at least one message")
    for number, message in enumerate(messages, 1):
        _check(number, message)
    return messages


def under(system: str, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the messages below what the system says, unless they have a system message of their own."""
    if system and messages[0].role != "system":
        return (Message.system(system), *messages)
    return messages


_WANTED: Final = "a prompt is a text, a Message, or several Messages"


def _check(number: int, message: object) -> None:
    if not isinstance(message, Message):
        raise invalid_prompt(f"{_WANTED}; number {number} is a {type(message).__name__}")
    if message.role not in _ROLES:
        raise invalid_prompt(f"message {number}: role must be one of {', '.join(_ROLES)}")
    if not isinstance(cast("object", message.content), str):
        raise invalid_prompt(f"message {number}: content must be a text")
    if not (message.content.strip() or message.images or message.tool_calls or message.role == "tool"):
        raise invalid_prompt(f"message {number} of the {message.role} is empty")
    try:
        message.content.encode("utf-8")
    except UnicodeEncodeError:
        raise invalid_prompt(
            f"message {number}: content has lone surrogates, which UTF-8 can't hold"
        ) from None
    images = cast("tuple[object, ...]", message.images)
    if type(images) is not tuple or not all(isinstance(each, Image) for each in images):
        raise invalid_prompt(f"message {number}: images must be a tuple of Image")
    calls = cast("tuple[object, ...]", message.tool_calls)
    if type(calls) is not tuple or not all(map(_is_call, calls)):
        raise invalid_prompt(f"message {number}: tool_calls must be a tuple of ToolCall, that JSON can hold")


def _is_call(call: object) -> bool:
    if not isinstance(call, ToolCall) or not isinstance(cast("object", call.arguments), Mapping):
        return False
    try:
        json.dumps(dict(call.arguments), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return all(isinstance(text, str) for text in cast("tuple[object, ...]", (call.name, call.id)))
