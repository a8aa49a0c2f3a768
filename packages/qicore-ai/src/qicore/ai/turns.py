"""A conversation in which the model may have tools called, until it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from qicore.ai.messages import Message, ToolCall
from qicore.ai.responses import ChatResponse, Usage
from qicore.ai.tools import Toolbox
from qicore.base import Failure, QiError, Result, Success

__all__ = ["ToolRun", "run_tools"]


@dataclass(frozen=True, slots=True)
class ToolRun:
    """How a conversation with tools went.

    Attributes:
        response: the last answer, which asks for no tool.
        messages: the whole conversation: what was given, the calls, what the tools said, the answer.
        turns: how often the model was asked.
        usage: tokens of all turns.
    """

    response: ChatResponse
    messages: tuple[Message, ...]
    turns: int
    usage: Usage

    @property
    def text(self) -> str:
        """What the model said in the end."""
        return self.response.text


async def run_tools(
    ask: Callable[[Sequence[Message]], Awaitable[Result[ChatResponse]]],
    messages: tuple[Message, ...],
    toolbox: Toolbox,
    max_turns: int,
) -> Result[ToolRun]:
    """Ask until the model answers without asking for tools, at most `max_turns` times."""
    usage = Usage()
    for turn in range(1, max_turns + 1):
        answered = await ask(messages)
        if isinstance(answered, Failure):
            return answered
        response = answered.unwrap()
        messages = (*messages, response.message)
        usage += response.usage
        if not response.tool_calls:
            return Success(ToolRun(response, messages, turn, usage))
        messages = (*messages, *await _answers(toolbox, response.tool_calls))
    return Failure(
        QiError.validation(
            "TOO_MANY_TURNS",
            f"the model still asks for tools after {max_turns} turns",
            max_turns=max_turns,
            tools=[call.name for message in messages[-20:] for call in message.tool_calls],
        )
    )


async def _answers(toolbox: Toolbox, calls: Sequence[ToolCall]) -> list[Message]:
    """Call the tools of one turn all at once, and return what they say, in the order of the calls."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(toolbox.answer(call)) for call in calls]
    return [Message.tool(call, task.result()) for call, task in zip(calls, tasks, strict=True)]
