import asyncio
from typing import Any

from qicore.asgi.gate import Gate


class App:
    """An application whose requests end when they are told to."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.ends = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.ends.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
        finally:
            self.running -= 1


async def status(gate: Gate, *, kind: str = "http") -> Any:
    sent = list[Any]()

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    await gate({"type": kind, "headers": []}, receive, send)
    return sent[0]


def gate_of(app: Any, concurrency: int | None = None, queue: int = 0) -> Gate:
    return Gate(app, concurrency=concurrency, queue=queue, retry_after=1.5)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_so_many_run_so_many_wait_and_the_next_is_turned_away() -> None:
    app = App()
    gate = gate_of(app, concurrency=2, queue=3)
    tasks = [asyncio.create_task(status(gate)) for _ in range(6)]
    await settle()
    assert (app.running, gate.waiting, gate.rejected) == (2, 3, 1)
    assert tasks[5].done()
    refused = tasks[5].result()
    assert (refused["status"], (b"retry-after", b"2") in refused["headers"]) == (503, True)
    app.ends.set()
    assert [message["status"] for message in await asyncio.gather(*tasks[:5])] == [200] * 5
    assert app.most == 2
    assert (await status(gate))["status"] == 200


async def test_one_that_leaves_the_queue_makes_room() -> None:
    app = App()
    gate = gate_of(app, concurrency=1, queue=1)
    first, second = (asyncio.create_task(status(gate)) for _ in range(2))
    await settle()
    second.cancel()
    await settle()
    third = asyncio.create_task(status(gate))
    await settle()
    assert gate.waiting == 1
    first.cancel()
    await settle()
    assert app.running == 1
    app.ends.set()
    assert (await third)["status"] == 200


async def test_a_turn_that_comes_with_the_cancellation_goes_on_to_the_next() -> None:
    app = App()
    gate = gate_of(app, concurrency=1, queue=5)
    tasks = [asyncio.create_task(status(gate)) for _ in range(3)]
    await settle()
    tasks[0].cancel()
    await asyncio.sleep(0)  # the place is handed to the second, which has not run yet
    tasks[1].cancel()
    await settle()
    assert app.running == 1
    app.ends.set()
    assert (await tasks[2])["status"] == 200
    await settle()
    assert (await status(gate))["status"] == 200


async def test_closed_it_turns_new_ones_away_and_leaves_the_others_alone() -> None:
    app = App()
    gate = gate_of(app)
    first = asyncio.create_task(status(gate))
    await settle()
    gate.close()
    refused = await status(gate)
    assert refused["status"] == 503
    assert (await status(gate, kind="websocket")) == {"type": "websocket.close", "code": 1013}
    gate.open()
    app.ends.set()
    assert (await status(gate))["status"] == 200
    assert (await first)["status"] == 200


async def test_the_last_answers_end_their_connections() -> None:
    app = App()
    app.ends.set()
    gate = gate_of(app)
    gate.say_goodbye()
    assert (b"connection", b"close") in (await status(gate))["headers"]
