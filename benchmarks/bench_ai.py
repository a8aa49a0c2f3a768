"""qicore-ai against the bare official clients, in one run: a call, each piece of a stream, vectors.

What is timed is the CPU of this process, as nothing else is the client's: the servers for tests answer from
another process, on another core. Both libraries ask the same server, in turns. Streams come in two ways: in a
single read, which leaves nothing but the libraries' own work on a piece; and piece by piece, as models write.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.request import Request, urlopen

import ollama
import openai
from harness import Suite, run
from qicore.ai import LLMClient, LLMConfig
from qicore_testkit.fault_server import Exchange
from qicore_testkit.faults import answer
from qicore_testkit.model_server import ModelServer, Reply
from qicore_testkit.ollama_server import OllamaServer
from qicore_testkit.openai_server import OpenAIServer

ROUNDS = 25
PIECES = 500
SLOW_PIECES = 100
AT_ONCE = 100
TEXTS = [f"text {number}" for number in range(16)]
DIMENSIONS = 768
TARGET = "ours at most 1.05 times the official client"
QUESTION = "Why is the sky blue?"
ASKED: Any = [{"role": "user", "content": QUESTION}]

Call = Callable[[], Awaitable[object]]
Calls = tuple[Call, Call, Call]
"""A chat, a stream, and vectors of all texts."""


def embedded(exchange: Exchange) -> None:
    """Answer with vectors: for both APIs, as numbers or, when that is asked for, as base64."""
    numbers = random.Random(5)
    vectors = [[numbers.uniform(-1, 1) for _ in range(DIMENSIONS)] for _ in TEXTS]
    body: dict[str, Any] = {"model": "tiny"}
    if exchange.request.target == "/api/embed":
        body["embeddings"] = vectors
    else:
        written: list[Any] = vectors
        if b"base64" in exchange.request.body:
            written = [base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *each)).decode() for each in vectors]
        body["data"] = [{"index": index, "embedding": each} for index, each in enumerate(written)]
        body["usage"] = {"prompt_tokens": 16, "total_tokens": 16}
    answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})(exchange)


def whole_stream(server: ModelServer, path: str) -> None:
    """Have the server's own stream come in one piece from now on."""
    asked = {"model": "tiny", "messages": ASKED, "stream": True, "stream_options": {"include_usage": True}}
    with urlopen(Request(server.url + path, json.dumps(asked).encode())) as response:
        kind, body = response.headers["Content-Type"], response.read()
    server.on(path, answer(200, body, {"Content-Type": kind}))


def serve() -> None:
    """Run the servers until the standard input ends, and print their addresses."""
    urls: dict[str, str] = {}
    slow = Reply(pieces=["word "] * SLOW_PIECES, interval=0.002)
    kinds: tuple[tuple[type[ModelServer], str, str], ...] = (
        (OllamaServer, "ollama", "/api/chat"),
        (OpenAIServer, "openai", "/v1/chat/completions"),
    )
    with ExitStack() as stack:
        for server_of, name, path in kinds:
            replies = {"call": Reply(), "whole": Reply(pieces=["word "] * PIECES), "slow": slow}
            for what, reply in replies.items():
                server = stack.enter_context(server_of(replies=[reply]))
                server.on("/api/embed", embedded)
                server.on("/v1/embeddings", embedded)
                if what == "whole":
                    whole_stream(server, path)
                urls[f"{name} {what}"] = server.url + ("/v1" if name == "openai" else "")
        print(json.dumps(urls), flush=True)
        sys.stdin.read()


@contextmanager
def server_process() -> Generator[dict[str, str]]:
    """Run the servers on the core that the harness does not use, if there is one; yield their addresses."""
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if hasattr(os, "sched_setaffinity"):
            others = set(range(os.cpu_count() or 1)) - os.sched_getaffinity(0)
            os.sched_setaffinity(process.pid, others or os.sched_getaffinity(0))
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())


def ollamas(opened: ollama.AsyncClient) -> Calls:
    client: Any = opened  # its signatures are not all typed

    async def stream() -> int:
        length = 0
        async for part in await client.chat("tiny", ASKED, stream=True):
            length += len(part.message.content or "")
        return length

    return lambda: client.chat("tiny", ASKED), stream, lambda: client.embed("tiny", TEXTS)


def openais(client: openai.AsyncOpenAI) -> Calls:
    async def stream() -> int:
        length = 0
        parts = await client.chat.completions.create(
            model="tiny", messages=ASKED, stream=True, stream_options={"include_usage": True}
        )
        async for part in parts:
            if part.choices:
                length += len(part.choices[0].delta.content or "")
        return length

    return (
        lambda: client.chat.completions.create(model="tiny", messages=ASKED),
        stream,
        lambda: client.embeddings.create(model="tiny", input=TEXTS),
    )


def ours(client: LLMClient) -> Calls:
    async def call() -> str:
        return (await client.chat(QUESTION)).unwrap().text

    async def stream() -> int:
        length = 0
        async for result in client.chat_stream(QUESTION):
            length += len(result.unwrap().text)
        return length

    async def vectors() -> int:
        return len((await client.embedding(TEXTS)).unwrap().vectors)

    return call, stream, vectors


async def spend(call: Call, loops: int) -> float:
    """Return the CPU seconds of this process for one call."""
    gc.collect()
    gc.disable()
    try:
        start = time.process_time()
        for _ in range(loops):
            await call()
        return (time.process_time() - start) / loops
    finally:
        gc.enable()


async def compare(
    suite: Suite, what: str, contenders: Mapping[str, Call], loops: int, parts: int = 1
) -> None:
    """Time them in turns; `parts` is how many pieces one call has."""
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for call in contenders.values():
        await spend(call, 3)
    for _ in range(suite.rounds):
        for name in random.sample(list(contenders), len(contenders)):
            samples[name].append(await spend(contenders[name], loops) / parts)
    suite.record(what, samples, target=TARGET)


def at_once(call: Call) -> Call:
    async def all_of_them() -> None:
        await asyncio.gather(*[call() for _ in range(AT_ONCE)])

    return all_of_them


async def measure(suite: Suite, provider: str, urls: Mapping[str, str]) -> None:
    for kind in ("call", "whole", "slow"):
        url = urls[f"{provider} {kind}"]
        config = LLMConfig(model="tiny", base_url=url, max_concurrency=AT_ONCE)
        client = LLMClient.create(provider, config).unwrap()
        call, stream, vectors = ours(client)
        bare: Any
        if provider == "ollama":
            bare = ollama.AsyncClient(url)
            their_call, their_stream, their_vectors = ollamas(bare)
        else:
            bare = openai.AsyncOpenAI(base_url=url, api_key="none")
            their_call, their_stream, their_vectors = openais(bare)
        streams = {provider: their_stream, "qicore": stream}
        if kind == "call":
            await compare(suite, f"{provider}: a chat", {provider: their_call, "qicore": call}, 30)
            what = f"{provider}: {len(TEXTS)} vectors of {DIMENSIONS} numbers"
            await compare(suite, what, {provider: their_vectors, "qicore": vectors}, 5)
        elif kind == "whole":
            await compare(suite, f"{provider}: a piece of a stream that is read at once", streams, 4, PIECES)
        else:
            await compare(suite, f"{provider}: a piece of a stream, one by one", streams, 1, SLOW_PIECES)
            many = {name: at_once(each) for name, each in streams.items()}
            what = f"{provider}: a piece of {AT_ONCE} streams at once"
            await compare(suite, what, many, 1, SLOW_PIECES * AT_ONCE)
        await client.close()
        await bare.close()


async def main() -> None:
    suite = Suite("ai", ("qicore-ai", "ollama", "openai", "httpx", "httpx2"), rounds=ROUNDS)
    with server_process() as urls:
        for provider in ("ollama", "openai"):
            await measure(suite, provider, urls)
    suite.save()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        run(main)
