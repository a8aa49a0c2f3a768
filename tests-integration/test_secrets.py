"""No secret comes out again: markers go in wherever a password, a token or a key does, and nothing shows one.

Each scene plants markers and hands on all that comes back: results, errors with their chains and tracebacks,
and the objects that were given the secrets. Log lines and both output streams are read, too.
"""

from __future__ import annotations

import base64
import io
import logging
import sys
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import Literal

import httpx
import pydantic
import pytest
import trustme
from mcp import StdioServerParameters
from qicore.ai import LLMClient, LLMConfig
from qicore.asgi import Server, ServerConfig
from qicore.base import Failure, QiError, Result, Success
from qicore.cache import Cache, CacheConfig, PickleSerializer
from qicore.cli import CLIConfig, option, parse, program, report
from qicore.config import Configuration
from qicore.database import Database, DatabaseConfig
from qicore.document import DocumentConfig, DocumentGenerator
from qicore.http import BearerAuth, HTTPClient, HTTPConfig, SyncHTTPClient
from qicore.logging import LogConfig, Logger
from qicore.mcp import MCPClient, MCPConfig
from qicore.resilience import RetryConfig
from qicore.web import WebApp
from qicore_testkit.evidence import Evidence
from qicore_testkit.fault_server import Behaviour, FaultServer
from qicore_testkit.faults import answer, drop_after_reading, garbage, half_body, hang, redirect
from qicore_testkit.ollama_server import OllamaServer
from qicore_testkit.openai_server import OpenAIServer
from qicore_testkit.postgres_server import PostgresServer
from qicore_testkit.redis_server import RedisServer, free_port

Scene = Callable[[Evidence, Path], Awaitable[None]]
ONCE = RetryConfig(attempts=1)
ENGINES: tuple[Literal["httpx", "httpx2", "aiohttp"], ...] = ("httpx", "httpx2", "aiohttp")


@pytest.fixture
def log() -> Generator[io.StringIO]:
    """All that is logged, with the tracebacks: of other libraries from INFO on, ours at every level."""
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.addFilter(lambda record: record.levelno >= logging.INFO or record.name.startswith("qicore"))
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


async def http_credentials(given: Evidence, _: Path) -> None:
    behaviours: list[Behaviour] = [
        *(
            answer(500),
            answer(401),
            answer(404),
            answer(200, b"{"),
            drop_after_reading(),
            garbage(),
            half_body(),
        ),
        *(hang(), redirect("/loop"), redirect(f"http://ann:{given.plant('moved')}@127.0.0.1:{free_port()}/")),
    ]
    with FaultServer() as server:
        server.on("/loop", redirect("/loop"))
        for number, behaviour in enumerate(behaviours):
            server.on(f"/{number}", behaviour)
        for engine in ENGINES:
            config = HTTPConfig(
                engine=engine,
                headers={"Authorization": f"Bearer {given.plant('header')}", "X-Api-Key": given.plant("key")},
                cookies={"session": given.plant("cookie")},
                params={"access_token": given.plant("param")},
                retry=ONCE,
                timeout=0.3,
            )
            async with HTTPClient.create(config).unwrap() as client:
                given.add(config, client)
                for number in range(len(behaviours)):
                    await everything_at(client, f"{server.url}/{number}", given)


async def everything_at(client: HTTPClient, url: str, given: Evidence) -> None:
    password, bad = given.plant("password"), given.plant("bad")
    secret = url.replace("http://", f"http://ann:{password}@") + f"?token={given.plant('query')}"
    results: list[Result[httpx.Response]] = [
        await client.get(secret),
        await client.delete(url, auth=("ann", password)),
        await client.post(
            url, json={"password": given.plant("body")}, headers={"X-Token": given.plant("extra")}
        ),
        await client.get(f"http://ann:{password}@127.0.0.1:{free_port()}/"),
        await client.get(f"odd://ann:{password}@host/"),
        await client.get(f"http://ann:{password}@[half/"),
        await client.get(url, headers={"X-Bad": f"{bad}\r\nX: y"}),
        await client.get(url, headers={"X-Bad\n": bad}),
    ]
    given.add(*(result.error for result in results))
    async with client.stream("GET", secret) as stream:
        given.add(stream)


async def http_tokens_proxies_and_keys(given: Evidence, _: Path) -> None:
    configs = [
        HTTPConfig(auth=BearerAuth(given.plant("token")), retry=ONCE),
        HTTPConfig(auth=("ann", given.plant("basic")), retry=ONCE),
        HTTPConfig(proxy=f"http://ann:{given.plant('proxy')}@127.0.0.1:{free_port()}", retry=ONCE),
        HTTPConfig(proxy=f"odd://ann:{given.plant('scheme')}@host"),
        HTTPConfig(base_url=f"https://ann:{given.plant('base')}@127.0.0.1:{free_port()}", retry=ONCE),
        HTTPConfig(certificate="absent.pem", certificate_password=given.plant("passphrase")),
    ]
    for config in configs:
        made = HTTPClient.create(config)
        given.add(config, made)
        if isinstance(made, Success):
            async with made.data as client:
                given.add(await client.get(f"http://127.0.0.1:{free_port()}/"), await client.get("/relative"))
    with SyncHTTPClient.create(configs[0]).unwrap() as blocking:
        given.add(blocking, blocking.get(f"http://127.0.0.1:{free_port()}/"))


async def redis_passwords(given: Evidence, _: Path) -> None:
    right, wrong = given.plant("right"), given.plant("wrong")
    config = CacheConfig(timeout=0.5, serializer=PickleSerializer(given.plant("signing").encode() * 2))
    given.add(config)
    with RedisServer(password=right) as server:
        for password in (right, wrong):
            made = await Cache.create_persistent(f"redis://:{password}@{server.address}/0", config)
            given.add(made)
            if isinstance(made, Success):
                async with made.data as cache:
                    given.add(cache, await cache.set("k", 1), await cache.get("absent"))
                    server.kill()
                    given.add(await cache.get("k"), await cache.set("k", 2))
                    server.start()
    dead = f"127.0.0.1:{free_port()}"
    for url in (f"redis://:{right}@{dead}/0", f"redis://:{right}@127.0.0.1:none", f"odd://:{right}@{dead}"):
        given.add(await Cache.create_persistent(url, CacheConfig(timeout=0.5)))


async def postgresql_passwords(given: Evidence, _: Path) -> None:
    password, value = given.plant("password"), given.plant("value")
    with PostgresServer() as server:
        address = server.url.partition("@")[2]
        config = DatabaseConfig(connect_timeout=2.0)
        connected = await Database.connect(f"postgresql://postgres:{password}@{address}", config)
        async with connected.unwrap() as database:
            given.add(
                database, await database.execute("CREATE TABLE users (name text PRIMARY KEY, number int)")
            )
            assert (await database.create("users", {"name": value, "number": 1})).is_success
            given.add(
                await database.create("users", {"name": value, "number": 1}),
                await database.create("users", {"name": "b", "number": value}),
                await database.execute("INSERT INTO absent VALUES (%s)", [value]),
                await database.execute("SELECT %s::int", [value]),
            )
            server.stop()
            given.add(await database.query("SELECT 1"))
    for url in (
        f"postgresql://postgres:{password}@{address}",
        f"postgresql://postgres:{password}@[half/postgres",
        f"postgresql://127.0.0.1:{free_port()}/x?password={password}",
        f"odd://postgres:{password}@{address}",
    ):
        given.add(await Database.connect(url, config))


async def sqlite_values(given: Evidence, folder: Path) -> None:
    value = given.plant("value")
    async with (await Database.connect(folder / "data.db")).unwrap() as database:
        await database.execute(
            "CREATE TABLE users (name TEXT PRIMARY KEY, age INTEGER CHECK (age > 0)) STRICT"
        )
        assert (await database.create("users", {"name": value, "age": 1})).is_success
        given.add(
            database,
            await database.create("users", {"name": value, "age": 1}),
            await database.create("users", {"name": value + "2", "age": 0}),
            await database.create("users", {"name": "c", "age": value}),
            await database.read_one("users", {"name": value + "absent"}),
        )


class Login(pydantic.BaseModel):
    password: pydantic.SecretStr
    port: int
    token: str = pydantic.Field(max_length=3)


async def configuration_secrets(given: Evidence, folder: Path) -> None:
    secret = given.plant("password")
    texts = {
        "json": f'{{"password": "{secret}", "port": "{secret}", "token": "{secret}"}}',
        "yaml": f"password: {secret}\nport: {secret}\ntoken: {secret}\n",
        "toml": f'password = "{secret}"\nport = "{secret}"\ntoken = "{secret}"\n',
        "env": f"PASSWORD={secret}\nPORT={secret}\nTOKEN={secret}\n",
    }
    for kind, text in texts.items():
        read = Configuration.from_string(text, kind).unwrap()
        given.add(read.validate(Login), read.validate_type({"port": int, "password": int}))
        given.add(read.validate_required(["absent"]), read.validate_custom(lambda _: False))
        for broken in (
            text[:-3],
            text + "'",
            text.replace(secret, f'"{secret}', 1),
            text.replace("\n", "\n\t"),
        ):
            given.add(Configuration.from_string(broken, kind).error)
        file = folder / f"app.{kind}"
        file.write_text(text.replace(secret, f"{secret}\0", 1), encoding="utf-8")
        given.add(Configuration.from_file(file).error)


async def log_lines(given: Evidence, folder: Path) -> None:
    file = folder / "log.txt"
    for style in ("json", "console"):
        log = Logger.create(LogConfig(format=style, destination=file, level="debug")).unwrap()
        secret = given.plant("field")
        error = QiError.network("NO", "no", password=secret, url=f"http://ann:{secret}@host/")
        log.info("login", password=secret, headers={"Authorization": f"Bearer {secret}"}, api_key=secret)
        log.error("failed", error=error, token=secret, nested=[{"cookie": secret}])
        log.with_context(secret=secret).warn(f"http://ann:{secret}@host/ was left")
        given.add(log, log.close())
    given.add(file.read_text(encoding="utf-8"))


async def model_keys(given: Evidence, _: Path) -> None:
    for provider, kind in (("ollama", OllamaServer), ("openai", OpenAIServer)):
        with kind() as server:
            url = server.url if provider == "ollama" else f"{server.url}/v1"
            for place in (
                url,
                url.replace("http://", f"http://ann:{given.plant('url')}@"),
                "http://127.0.0.1:1",
            ):
                config = LLMConfig(
                    model="absent",
                    base_url=place,
                    api_key=given.plant("key"),
                    headers={"X-Token": given.plant("header")},
                    timeout=2.0,
                )
                made = LLMClient.create(provider, config)
                given.add(config, made)
                if isinstance(made, Success):
                    async with made.data as client:
                        given.add(await client.chat("hello"), await client.embedding("hello"))
                        given.add(*[piece async for piece in client.chat_stream("hello")])


async def mcp_tokens(given: Evidence, _: Path) -> None:
    secret = given.plant("header")
    config = MCPConfig(headers={"Authorization": f"Bearer {secret}"}, reconnect=ONCE, connect_timeout=2.0)
    environment = {"API_TOKEN": given.plant("environment")}
    given.add(config)
    with FaultServer() as server:
        server.default = answer(401)
        for target in (
            f"{server.url}/mcp".replace("://", f"://ann:{given.plant('userinfo')}@"),
            f"http://ann:{given.plant('password')}@127.0.0.1:{free_port()}/mcp",
            StdioServerParameters(
                command=sys.executable, args=["-c", "raise SystemExit(3)"], env=environment
            ),
            StdioServerParameters(
                command="/absent", args=["--token", given.plant("argument")], env=environment
            ),
        ):
            made = MCPClient.create(target, config)
            given.add(made)
            if isinstance(made, Success):
                async with made.data as client:
                    given.add(
                        client, await client.list_tools(), await client.call_tool("absent", {"a": secret})
                    )


class Account(pydantic.BaseModel):
    name: str
    number: int


async def requests_of_a_service(given: Evidence, _: Path) -> None:
    app, secret = WebApp(), given.plant("body")

    @app.post("/accounts")
    async def create(account: Account) -> Result[str]:
        return Failure(QiError.network("UPSTREAM", "no answer", password=secret))

    @app.get("/crash")
    async def crash() -> Result[str]:
        raise RuntimeError(secret)

    async with (
        Server(app, ServerConfig(port=0, access_log=True)) as server,
        HTTPClient.create().unwrap() as client,
    ):
        headers = {
            "Authorization": f"Bearer {given.plant('token')}",
            "Cookie": f"session={given.plant('cookie')}",
        }
        answers = [
            await client.post(
                f"{server.url}/accounts", json={"name": secret, "number": secret}, headers=headers
            ),
            await client.post(f"{server.url}/accounts", json={"name": secret, "number": 1}, headers=headers),
            await client.get(f"{server.url}/accounts?access_token={given.plant('query')}", headers=headers),
        ]
        given.add(app, server, *(answer.error for answer in answers))


async def keys_of_a_server(given: Evidence, folder: Path) -> None:
    authority = trustme.CA().issue_cert("localhost")
    key = folder / "key.pem"
    authority.private_key_pem.write_to_path(str(key))
    chain = folder / "chain.pem"
    authority.cert_chain_pems[0].write_to_path(str(chain))
    for keyfile in (str(key), str(folder / "absent.pem"), str(chain)):
        password = given.plant("passphrase")
        config = ServerConfig(port=0, certfile=str(chain), keyfile=keyfile, keyfile_password=password)
        server = Server(WebApp(), config)
        given.add(config, server, await server.start())
        given.add(await server.shutdown(1))


async def secrets_of_a_command(given: Evidence, _: Path) -> None:
    secret = given.plant("option")
    parser = program("app", option("--password", int, secret=True, env="APP_PASSWORD"), option("--url", str))
    for words, environ in (
        (["--password", secret], {}),
        ([f"--password={secret}"], {}),
        ([], {"APP_PASSWORD": secret}),
    ):
        parsed = parse(words, parser, CLIConfig(environ=environ))
        assert parsed.error is not None
        given.add(parsed, report(parsed.error, parser))


async def data_of_a_document(given: Evidence, _: Path) -> None:
    templates = {
        "a.html": "{{ user.absent.deeper }}",
        "b.html": "{{ password + 1 }}",
        "c.html": "{{ 1 // 0 }}",
    }
    config = DocumentConfig(templates=templates)
    async with DocumentGenerator.create(config).unwrap() as generator:
        for name in templates:
            data = {"user": {"token": given.plant("token")}, "password": given.plant("password")}
            given.add(await generator.generate(name, data))


SCENES = [
    http_credentials,
    http_tokens_proxies_and_keys,
    redis_passwords,
    postgresql_passwords,
    sqlite_values,
    configuration_secrets,
    log_lines,
    model_keys,
    mcp_tokens,
    requests_of_a_service,
    keys_of_a_server,
    secrets_of_a_command,
    data_of_a_document,
]


@pytest.mark.parametrize("scene", SCENES, ids=[scene.__name__ for scene in SCENES])
async def test_no_secret_comes_out(
    scene: Scene, tmp_path: Path, log: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    given = Evidence()
    await scene(given, tmp_path)
    printed = capfd.readouterr()
    assert given.leaks(log.getvalue(), printed.out, printed.err) == []


def basic(secret: str) -> str:
    return base64.b64encode(f"ann:{secret}".encode()).decode()


LEAKS: list[Callable[[str], object]] = [
    lambda secret: QiError.network("NO", f"no {secret}"),
    lambda secret: QiError.network("NO", "no", url=secret),
    lambda secret: QiError.network("NO", "no").with_cause(QiError.unknown("DEEPER", secret)),
    lambda secret: Success({"key": secret}),
    lambda secret: {"Authorization": f"Basic {basic(secret)}"},
    lambda secret: ValueError(secret),
]


@pytest.mark.parametrize("leak", LEAKS)
def test_the_hunt_finds_what_leaks(leak: Callable[[str], object]) -> None:
    given = Evidence()
    given.add(leak(given.plant("password")))
    assert given.leaks()


async def test_the_hunt_reads_the_logs(log: io.StringIO) -> None:
    given = Evidence()
    logging.getLogger("some.library").info("connecting as %s", given.plant("password"))
    assert given.leaks(log.getvalue())
