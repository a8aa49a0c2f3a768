"""The client that the official conformance suite asks for, on qicore-mcp: what it does, the scenario says.

MCP_CONFORMANCE_SCENARIO=… python conformance_client.py URL
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider, TokenStorage
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from mcp_types import ElicitRequestParams, ElicitResult
from pydantic import AnyUrl
from qicore.base import Result, Success
from qicore.mcp import MCPClient, MCPConfig

BACK = "http://localhost:3000/callback"


class Memory(TokenStorage):
    """Keeps tokens, and what the client is registered as."""

    def __init__(self, registered: OAuthClientInformationFull | None) -> None:
        self.tokens: OAuthToken | None = None
        self.registered = registered

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.registered

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.registered = client_info


class Browser:
    """Follows the way to the authorization server and back, as a user's browser would, and says yes."""

    def __init__(self) -> None:
        self.answer: AuthorizationCodeResult | None = None

    async def go(self, url: str) -> None:
        async with httpx2.AsyncClient() as http:
            response = await http.get(url, follow_redirects=False)
        query = parse_qs(urlsplit(response.headers["location"]).query)
        found = {name: values[0] for name, values in query.items()}
        self.answer = AuthorizationCodeResult(
            code=found["code"], state=found.get("state"), iss=found.get("iss")
        )

    async def come_back(self) -> AuthorizationCodeResult:
        assert self.answer is not None
        return self.answer


def signed_in(url: str) -> OAuthClientProvider:
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    registered = None
    if "client_id" in context:
        registered = OAuthClientInformationFull(
            client_id=context["client_id"],
            client_secret=context.get("client_secret"),
            redirect_uris=[AnyUrl(BACK)],
            token_endpoint_auth_method="client_secret_basic",
        )
    browser = Browser()
    return OAuthClientProvider(
        url,
        OAuthClientMetadata(
            client_name="qicore-conformance",
            redirect_uris=[AnyUrl(BACK)],
            grant_types=["authorization_code", "refresh_token"],
            response_types=["code"],
        ),
        Memory(registered),
        browser.go,
        browser.come_back,
        client_metadata_url="https://conformance-test.local/client-metadata.json",
    )


async def by_defaults(params: ElicitRequestParams) -> Result[ElicitResult]:
    """Accept, with the defaults that the server gave."""
    properties: dict[str, Any] = getattr(params, "requested_schema", {}).get("properties", {})
    content = {name: field["default"] for name, field in properties.items() if "default" in field}
    return Success(ElicitResult(action="accept", content=content))


async def call_every_tool(client: MCPClient) -> None:
    for tool in (await client.list_tools()).unwrap():
        values = dict.fromkeys(tool.input_schema.get("properties", {}), 5)
        (await client.call_tool(tool.name, values)).unwrap()


async def main(url: str) -> int:
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    auth = signed_in(url) if scenario.startswith("auth/") else None
    config = MCPConfig(auth=auth, mode="legacy", timeout=200.0, connect_timeout=200.0)
    async with MCPClient.create(url, config, elicitation=by_defaults).unwrap() as client:
        (await client.connect()).unwrap()
        await call_every_tool(client)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])))
