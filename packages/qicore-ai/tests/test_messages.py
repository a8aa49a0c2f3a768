from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qicore.ai import Image, LLMClient, LLMConfig, Message, ToolCall
from qicore.ai.messages import as_messages
from qicore.base import QiError
from qicore.base.testing import assert_failure, assert_success
from qicore_testkit.model_server import ModelServer

from .conftest import Opens

CLIENT = LLMClient.create("ollama", LLMConfig(model="tiny", base_url="http://127.0.0.1:1")).unwrap()
made: Any = Message  # whatever callers without types give
call: Any = ToolCall
wrong: list[Any] = [
    "", "  ", [], None, 5, b"bytes", [Message.user("")], ["text"], [Message.user("a"), None], "\ud800",
    [made("robot", "x")], [made("user", 5)], [made("user", "x", images=["path"])], Message.system(""),
    [made("assistant", tool_calls=("look",))], [made("assistant", tool_calls=[ToolCall("look", {}, "1")])],
    [made("assistant", tool_calls=(call("look", 5, "1"),))],
    [made("assistant", tool_calls=(call("look", {"a": {1}}, "1"),))],
    [made("assistant", tool_calls=(call(None, {}, "1"),))],
]  # fmt: skip


@pytest.mark.parametrize("prompt", wrong, ids=repr)
async def test_prompts_that_are_none_are_not_sent(prompt: Any) -> None:
    assert_failure(await CLIENT.chat(prompt), "INVALID_PROMPT")
    assert_failure(await CLIENT.chat_stream(prompt).collect(), "INVALID_PROMPT")
    assert_failure(await CLIENT.run_tools(prompt, []), "INVALID_PROMPT")
    assert_failure(await CLIENT.structured(prompt, int), "INVALID_PROMPT")


@pytest.mark.parametrize("prompt", ["", None, 5, ["a"], Message.user("a")], ids=repr)
async def test_completions_take_texts(prompt: Any) -> None:
    assert_failure(await CLIENT.generate(prompt), "INVALID_PROMPT")
    assert_failure(await CLIENT.stream_generate(prompt).collect(), "INVALID_PROMPT")


@pytest.mark.parametrize("texts", ["", [], None, 5, ["a", ""], ["a", None], b"a", {"a": 1}], ids=repr)
async def test_embeddings_take_texts(texts: Any) -> None:
    assert_failure(await CLIENT.embedding(texts), "INVALID_PROMPT")


@pytest.mark.parametrize(
    "prompt",
    [made("assistant", "x", thinking="\ud800"), made("user", "x", tool_name="\ud800"), [Message.user("x")]],
    ids=ascii,
)
async def test_what_utf_8_can_not_hold_is_not_sent(
    server: ModelServer, client_of: Opens, prompt: Any
) -> None:
    """A server would get a text that is none; where the provider has no place for it, it is left away."""
    result = await client_of(system="Be\ud800 brief.").chat(prompt)
    assert_failure(result, "INVALID_PROMPT")
    assert_failure(await client_of().embedding(["a", "\ud800"]), "INVALID_PROMPT")
    assert_failure(await client_of().models.show("\ud800"), "INVALID_PROMPT")
    assert server.asked == []


async def test_a_prompt_that_fails_while_it_is_read() -> None:
    def messages() -> Iterator[Message]:
        yield Message.user("Hello")
        raise RuntimeError("inside")

    error = assert_failure(await CLIENT.chat(messages()), "INVALID_PROMPT")
    assert isinstance(error.__cause__, RuntimeError)


def test_one_message_and_a_generator_of_some() -> None:
    assert as_messages("a") == as_messages(Message.user("a")) == as_messages(Message.user(x) for x in "a")
    with pytest.raises(QiError):
        as_messages([])


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n rest", "image/png"),
        (b"\xff\xd8\xff\xe0 rest", "image/jpeg"),
        (b"GIF89a rest", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBP rest", "image/webp"),
    ],
)
def test_images(tmp_path: Path, data: bytes, kind: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(data)
    image = assert_success(Image.from_path(path))
    assert image.media_type == kind
    assert image == assert_success(Image.create(data))
    assert "rest" not in repr(image)


@pytest.mark.parametrize("data", [b"", b"\x89PN", b"RIFF\x00\x00\x00\x00WAVE", b"%PDF-1.7", None, "GIF89a"])
def test_what_is_no_image(data: Any) -> None:
    assert_failure(Image.create(data), "INVALID_PROMPT")


def test_images_that_can_not_be_read(tmp_path: Path) -> None:
    assert_failure(Image.from_path(tmp_path / "none.png"), "FILE_ERROR")
    assert_failure(Image.from_path(tmp_path), "FILE_ERROR")
    assert_failure(Image.from_path("a\0b"), "INVALID_PROMPT")
    anything: Any = None
    assert_failure(Image.from_path(anything), "INVALID_PROMPT")
