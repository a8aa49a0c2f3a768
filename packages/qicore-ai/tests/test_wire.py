"""What any server must do, real ones too."""

import pytest
from qicore.ai import LLMClient, Message
from qicore.base.testing import assert_failure, assert_success


async def test_a_chat(anyone: LLMClient) -> None:
    response = assert_success(await anyone.chat("Say hello."))
    assert response.text
    assert response.message.role == "assistant"
    assert response.finish_reason in {"stop", "length"}
    assert response.provider == anyone.provider
    assert response.usage.input_tokens > 0
    assert response.usage.output_tokens > 0
    assert response.timings.total > 0
    assert response.timings.first_token is None


async def test_a_conversation(anyone: LLMClient) -> None:
    first = assert_success(await anyone.chat([Message.system("Be brief."), Message.user("Say hello.")]))
    again = [Message.user("Say hello."), first.message, Message.user("And again.")]
    assert assert_success(await anyone.chat(again)).text


async def test_a_stream(anyone: LLMClient) -> None:
    chunks = [assert_success(result) async for result in anyone.chat_stream("Count to three.")]
    *pieces, last = chunks
    response = last.response
    assert response is not None
    assert all(piece.response is None for piece in pieces)
    assert "".join(piece.text for piece in pieces) == response.text != ""
    assert response.usage.output_tokens > 0
    assert response.timings.first_token is not None
    assert 0 < response.timings.first_token <= response.timings.total


async def test_a_completion(anyone: LLMClient) -> None:
    assert assert_success(await anyone.generate("The capital of France is")).text
    assert assert_success(await anyone.stream_generate("The capital of France is").collect()).text


async def test_a_completion_comes_in_pieces(anyone: LLMClient) -> None:
    chunks = [assert_success(result) async for result in anyone.stream_generate("The capital of France is")]
    *pieces, last = chunks
    response = last.response
    assert response is not None
    assert pieces
    assert all(piece.response is None for piece in pieces)
    assert "".join(piece.text for piece in chunks) == response.text != ""
    assert response.usage.output_tokens > 0


async def test_embeddings_are_in_order(anyone: LLMClient) -> None:
    several = assert_success(await anyone.embedding(["one", "two", "three"]))
    single = assert_success(await anyone.embedding("two"))
    assert len(several.vectors) == 3
    assert several.vectors[1] == pytest.approx(single.vector, abs=1e-3)
    assert several.vectors[0] != several.vectors[2]


async def test_models_are_listed_and_shown(anyone: LLMClient) -> None:
    names = [model.name for model in assert_success(await anyone.models.list())]
    assert names
    assert assert_success(await anyone.models.show(names[0])).name == names[0]


async def test_a_model_that_is_not_there(anyone: LLMClient) -> None:
    client = anyone.with_config(model="no-such-model", embedding_model="no-such-model").unwrap()
    assert_failure(await client.chat("Hello"), "MODEL_NOT_FOUND")
    assert_failure(await client.embedding("Hello"), "MODEL_NOT_FOUND")
    assert_failure(await client.generate("Hello"), "MODEL_NOT_FOUND")
    assert_failure(await client.chat_stream("Hello").collect(), "MODEL_NOT_FOUND")
    assert_failure(await client.models.show("no-such-model"), "MODEL_NOT_FOUND")
