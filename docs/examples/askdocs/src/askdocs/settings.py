"""The application's settings: defaults here, then a YAML file, then the environment, then flags."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from qicore.base import QiError, Result, Success, collect
from qicore.config import Configuration

from askdocs.arguments import Ask, Command, Flags, Ingest, Serve
from askdocs.place import Place, place_of

__all__ = ["Settings", "load", "no_model"]

DEFAULT_FILE = Path("askdocs.yaml")


class IndexSettings(BaseModel):
    """Where the index is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(default="askdocs.db", repr=False, description="a file, sqlite:///… or postgresql://…")

    @field_validator("path")
    @classmethod
    def _known(cls, path: str) -> str:
        place_of(path)
        return path

    @property
    def place(self) -> Place:
        """Where that is."""
        return place_of(self.path)


class CacheSettings(BaseModel):
    """The cache that nodes share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = Field(default=None, repr=False, description="redis://…; without one, nothing is cached")
    namespace: str = Field(default="askdocs", min_length=1, description="of one index, of several in a Redis")
    ttl: float = Field(default=60.0, gt=0, description="seconds that a found page may be answered, at most")


class IngestSettings(BaseModel):
    """What is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_file_size: int = Field(
        default=10_000_000, gt=0, description="bytes; a larger file or page is skipped"
    )
    max_pages: int = Field(default=200, gt=0, description="pages read of each site")
    depth: int = Field(default=5, ge=0, description="how many links away from the page named")
    at_once: int = Field(default=4, ge=1, le=32, description="pages fetched at the same time")


class WebSettings(BaseModel):
    """How sites are spoken to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float = Field(default=5.0, gt=0, description="requests a second to one site, at most")
    max_delay: float = Field(
        default=10.0, gt=0, description="seconds between requests, at most, whatever a robots.txt asks for"
    )
    timeout: float = Field(default=20.0, gt=0, description="seconds that one try at a page may take")
    retry_wait: float = Field(default=0.5, gt=0, description="seconds before the second try, at most")
    cache: Path | None = Field(default=None, description="where pages are kept; else beside the index")


class AskSettings(BaseModel):
    """How much is answered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(default=5, ge=1, le=50, description="passages in an answer")


class ServeSettings(BaseModel):
    """How the index is served."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", description="address to listen at; 0.0.0.0 is every one")
    port: int = Field(default=8080, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=64, description="processes that serve")
    token: str | None = Field(
        default=None, min_length=16, repr=False, description="who has it may add documents; else nobody may"
    )
    proxies: tuple[str, ...] = Field(
        default=(), description="addresses and networks of load balancers that name the client"
    )
    rate: int = Field(default=600, gt=0, description="requests a minute of one client, at most")


class ModelSettings(BaseModel):
    """The language model that writes answers, if there is to be one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: Literal["ollama", "openai"] = Field(
        default="ollama", description="or openai, for any server that speaks its API"
    )
    name: str = Field(default="", description="such as llama3.2; empty: answers are passages")
    embeddings: str = Field(default="", description="a model for what texts mean; empty: words alone count")
    base_url: str | None = Field(default=None, description="where it is; else the provider's usual place")
    api_key: str | None = Field(default=None, repr=False)
    timeout: float = Field(default=60.0, gt=0, description="seconds that an answer may take")


def no_model() -> QiError:
    """NO_MODEL [VALIDATION]: the settings have none."""
    return QiError.validation("NO_MODEL", "no model is set (--model, model.name)")


class LogSettings(BaseModel):
    """What is logged, to standard error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Literal["debug", "info", "warn", "error", "fatal"] = "warn"
    format: Literal["auto", "console", "json"] = "auto"


class Settings(BaseModel):
    """All settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: IndexSettings = IndexSettings()
    cache: CacheSettings = CacheSettings()
    ingest: IngestSettings = IngestSettings()
    web: WebSettings = WebSettings()
    ask: AskSettings = AskSettings()
    serve: ServeSettings = ServeSettings()
    model: ModelSettings = ModelSettings()
    log: LogSettings = LogSettings()


def load(flags: Flags, command: Command | None) -> Result[Configuration]:
    """Return all layers merged: defaults, file, environment, flags.

    A file that is named must exist; the usual one need not. Fails as qicore.config does.
    """
    if flags.config is not None:
        file = Configuration.from_file(flags.config)
    elif DEFAULT_FILE.exists():
        file = Configuration.from_file(DEFAULT_FILE)
    else:
        file = Success(Configuration.empty())
    layers = (
        Configuration.from_object(Settings(), layer="defaults"),
        file,
        Configuration.from_environment("ASKDOCS_"),
        Configuration.from_object(_given(flags, command), layer="flags"),
    )
    return collect(layers).map(Configuration.merge_all)


def _given(flags: Flags, command: Command | None) -> Mapping[str, object]:
    """Return the settings that the command line gives, shaped as the configuration is."""
    given = {
        ("index", "path"): flags.index,
        ("log", "level"): flags.log_level,
        ("ingest", "max_file_size"): command.max_file_size if isinstance(command, Ingest) else None,
        ("ingest", "max_pages"): command.max_pages if isinstance(command, Ingest) else None,
        ("ingest", "depth"): command.depth if isinstance(command, Ingest) else None,
        ("ask", "limit"): command.limit if isinstance(command, Ask) else None,
        ("model", "name"): command.model if isinstance(command, Ask | Serve) else None,
        ("serve", "host"): command.host if isinstance(command, Serve) else None,
        ("serve", "port"): command.port if isinstance(command, Serve) else None,
        ("serve", "workers"): command.workers if isinstance(command, Serve) else None,
    }
    layer: dict[str, dict[str, object]] = {}
    for (section, name), value in given.items():
        if value is not None:
            layer.setdefault(section, {})[name] = value
    return layer
