"""The server that the official conformance suite asks for: its tools, resources and prompts, on qicore-mcp.

It prints its port, and serves until its standard input is closed.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context
from mcp_types import (
    AudioContent,
    EmbeddedResource,
    ImageContent,
    PromptMessage,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel, Field
from qicore.asgi import Server, ServerConfig
from qicore.base import Failure, QiError, Result, Success
from qicore.mcp import MCPServer

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = base64.b64encode(
    b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0@\x1f\0\0@\x1f\0\0\1\0\x08\0data\0\0\0\0"
).decode()

server = MCPServer("qicore-conformance")


def resource(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(
        type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    )


def image() -> ImageContent:
    return ImageContent(type="image", data=PNG, mime_type="image/png")


@server.tool()
def test_simple_text() -> str:
    """Answer a text."""
    return "This is a simple text response for testing."


@server.tool()
def test_image_content() -> ImageContent:
    """Answer an image."""
    return image()


@server.tool()
def test_audio_content() -> AudioContent:
    """Answer a sound."""
    return AudioContent(type="audio", data=WAV, mime_type="audio/wav")


@server.tool()
def test_embedded_resource() -> EmbeddedResource:
    """Answer a resource."""
    return resource("test://embedded-resource", "This is an embedded resource content.")


@server.tool()
def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
    """Answer a text, an image and a resource."""
    text = json.dumps({"test": "data", "value": 123})
    return [
        TextContent(type="text", text="Multiple content types test:"),
        image(),
        resource("test://mixed-content-resource", text, "application/json"),
    ]


@server.tool()
async def test_tool_with_logging(context: Context[Any, Any]) -> str:
    """Log three messages meanwhile."""
    steps = ("Tool execution started", "Tool processing data", "Tool execution completed")
    for number, step in enumerate(steps):
        if number:
            await asyncio.sleep(0.05)
        await context.session.send_log_message(  # pyright: ignore[reportDeprecated]  # the suite asks for it
            "info", step, related_request_id=context.request_id
        )
    return "logged"


@server.tool()
async def test_tool_with_progress(context: Context[Any, Any]) -> str:
    """Report progress."""
    for done in (0, 50, 100):
        await context.report_progress(done, 100)
        await asyncio.sleep(0.05)
    return "done"


@server.tool()
def test_error_handling() -> Result[str]:
    """Fail."""
    return Failure(QiError.validation("ALWAYS_FAILS", "This tool intentionally returns an error for testing"))


@server.tool()
async def test_sampling(prompt: str, context: Context[Any, Any]) -> str:
    """Ask the client's model."""
    message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
    answer = await context.session.create_message(  # pyright: ignore[reportDeprecated]  # the suite asks for it
        [message], max_tokens=100, related_request_id=context.request_id
    )
    return f"LLM response: {getattr(answer.content, 'text', '')}"


class Contact(BaseModel):
    username: Annotated[str, Field(description="User's response")]
    email: Annotated[str, Field(description="User's email address")]


@server.tool()
async def test_elicitation(message: str, context: Context[Any, Any]) -> str:
    """Ask the user."""
    answer = await context.elicit(message, Contact)
    content = answer.data.model_dump_json() if answer.action == "accept" else "{}"
    return f"User response: action: {answer.action}, content: {content}"


class Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Literal["active", "inactive", "pending"] = "active"
    verified: bool = True


@server.tool()
async def test_elicitation_sep1034_defaults(context: Context[Any, Any]) -> str:
    """Ask the user, with a default for each field."""
    answer = await context.elicit("Please check these", Defaults)
    content = answer.data.model_dump_json() if answer.action == "accept" else "{}"
    return f"Elicitation completed: action={answer.action}, content={content}"


def titled(key: str, values: list[str], titles: list[str]) -> dict[str, Any]:
    return {key: [{"const": value, "title": title} for value, title in zip(values, titles, strict=True)]}


ENUMS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {
            "type": "string",
            **titled(
                "oneOf", ["value1", "value2", "value3"], ["First Option", "Second Option", "Third Option"]
            ),
        },
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {
            "type": "array",
            "items": {"type": "string", "enum": ["option1", "option2", "option3"]},
        },
        "titledMulti": {
            "type": "array",
            "items": titled(
                "anyOf", ["value1", "value2", "value3"], ["First Choice", "Second Choice", "Third Choice"]
            ),
        },
    },
}


@server.tool()
async def test_elicitation_sep1330_enums(context: Context[Any, Any]) -> str:
    """Ask the user to choose, in the five ways that there are."""
    answer = await context.session.elicit_form("Please choose", ENUMS, context.request_id)
    return f"Elicitation completed: action={answer.action}, content={json.dumps(answer.content)}"


class Address(BaseModel):
    street: str = ""
    city: str = ""


DIALECT: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
    "additionalProperties": False,
}


@server.tool(input_schema=DIALECT)
def json_schema_2020_12_tool(name: str = "", address: Address | None = None) -> str:
    """Say where somebody lives."""
    return f"{name}: {address}"


@server.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    """A text."""
    return "This is the content of the static text resource."


@server.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    """An image."""
    return base64.b64decode(PNG)


@server.resource("test://watched-resource", mime_type="text/plain")
def watched_resource() -> str:
    """A resource to watch."""
    return "Nothing happened yet."


@server.resource("test://template/{id}/data", mime_type="application/json")
def template(id: str) -> Result[str]:  # noqa: A002 - the suite's name
    """A resource with a variable."""
    return Success(json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"}))


@server.prompt()
def test_simple_prompt() -> str:
    """A prompt."""
    return "This is a simple prompt for testing."


@server.prompt()
def test_prompt_with_arguments(
    arg1: Annotated[str, Field(description="First test argument")],
    arg2: Annotated[str, Field(description="Second test argument")],
) -> Result[str]:
    """A prompt with arguments."""
    return Success(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")


@server.completion("test_prompt_with_arguments", "arg1")
def places(typed: str) -> Result[list[str]]:
    """Suggest where to go."""
    return Success([place for place in ("paris", "park", "party") if place.startswith(typed)])


@server.prompt()
def test_prompt_with_embedded_resource(
    resourceUri: Annotated[str, Field(description="URI of the resource to embed")],  # noqa: N803 - the suite's name
) -> list[PromptMessage]:
    """A prompt with a resource."""
    text = TextContent(type="text", text="Please process the embedded resource above.")
    embedded = resource(resourceUri, "Embedded resource content for testing.")
    return [PromptMessage(role="user", content=embedded), PromptMessage(role="user", content=text)]


@server.prompt()
def test_prompt_with_image() -> list[PromptMessage]:
    """A prompt with an image."""
    text = TextContent(type="text", text="Please analyze the image above.")
    return [PromptMessage(role="user", content=image()), PromptMessage(role="user", content=text)]


async def main() -> None:
    async with Server(server.asgi_app(), ServerConfig(port=0)) as http:
        sys.stdout.write(f"{http.port}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
