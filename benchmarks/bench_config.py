"""qicore.config against PyYAML, python-dotenv, mergedeep, dynaconf, OmegaConf and pydantic-settings.

The main figure is the whole day of a configuration: 200 keys in each of four layers (defaults, two YAML
files, the environment), read, merged and validated. qicore's figures include the line of every value.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import dotenv
import mergedeep  # pyright: ignore[reportMissingTypeStubs]  # it has none
import tomli_w
import yaml
from dynaconf import Dynaconf  # pyright: ignore[reportMissingTypeStubs]  # it has none
from harness import Suite
from omegaconf import OmegaConf
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_settings import BaseSettings, SettingsConfigDict, YamlConfigSettingsSource
from qicore.config import Configuration, Key

SECTIONS, KEYS = 20, 10
merge_deep: Any = cast("Any", mergedeep).merge
make_model: Any = create_model


def values(number: int) -> dict[str, dict[str, Any]]:
    """Return 200 keys in 20 sections, different from layer to layer."""
    kinds: list[Any] = [number, f"text of {number}", number % 2 == 0, number + 0.5, ["a", "b"]]
    return {f"section{s}": {f"key{k}": kinds[k % len(kinds)] for k in range(KEYS)} for s in range(SECTIONS)}


def as_environment(data: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {
        f"APP_{section}__{key}".upper(): json.dumps(value) if isinstance(value, list) else str(value)
        for section, keys in data.items()
        for key, value in keys.items()
    }


def models(base: type[BaseModel]) -> type[BaseModel]:
    types: list[Any] = [int, str, bool, float, list[str]]
    section = make_model("Section", **{f"key{k}": (types[k % len(types)], ...) for k in range(KEYS)})
    made: type[BaseModel] = make_model(
        "Settings", __base__=base, **{f"section{s}": (section, ...) for s in range(SECTIONS)}
    )
    return made


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


def reading(suite: Suite, data: dict[str, Any], environ: dict[str, str]) -> None:
    as_yaml, as_json, as_toml = yaml.safe_dump(data), json.dumps(data, indent=2), tomli_w.dumps(data)
    as_dotenv = "".join(f"{name}='{value}'\n" for name, value in environ.items())
    suite.compare(
        "read YAML, 200 keys",
        {
            "qicore, with lines": lambda: Configuration.from_string(as_yaml, "yaml").unwrap(),
            "PyYAML CSafeLoader": lambda: yaml.load(as_yaml, yaml.CSafeLoader),
            "PyYAML safe_load": lambda: yaml.safe_load(as_yaml),
            "OmegaConf": lambda: OmegaConf.create(as_yaml),
        },
        target="within 1.3 of CSafeLoader",
    )
    suite.compare(
        "read JSON, 200 keys",
        {
            "qicore, with lines": lambda: Configuration.from_string(as_json, "json").unwrap(),
            "json.loads": lambda: json.loads(as_json),
        },
    )
    suite.compare(
        "read TOML, 200 keys",
        {
            "qicore, with lines": lambda: Configuration.from_string(as_toml, "toml").unwrap(),
            "tomllib.loads": lambda: tomllib.loads(as_toml),
        },
    )
    suite.compare(
        "read dotenv, 200 keys",
        {
            "qicore, with lines": lambda: Configuration.from_string(as_dotenv, "env").unwrap(),
            "python-dotenv": lambda: dotenv.dotenv_values(stream=io.StringIO(as_dotenv)),
            "python-dotenv, not interpolating": lambda: dotenv.dotenv_values(
                stream=io.StringIO(as_dotenv), interpolate=False
            ),
        },
    )


def merging(suite: Suite, layers: list[dict[str, Any]]) -> None:
    ours = [Configuration(layer, layer=str(n)) for n, layer in enumerate(layers)]
    omega = [OmegaConf.create(layer) for layer in layers]

    def by_hand(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
        merged: Any = dict(low)
        for key, value in high.items():
            below: Any = merged.get(key)
            both = isinstance(value, dict) and isinstance(below, dict)
            merged[key] = by_hand(cast("Any", below), cast("Any", value)) if both else value
        return cast("dict[str, Any]", merged)

    def four_by_hand() -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for layer in layers:
            merged = by_hand(merged, layer)
        return merged

    def four_by_dynaconf() -> Dynaconf:
        settings = Dynaconf(merge_enabled=True)
        for layer in layers:
            settings.update(layer)
        return settings

    suite.compare(
        "merge 4 x 200 keys",
        {
            "qicore, with sources": lambda: Configuration.merge_all(ours),
            "by hand, without sources": four_by_hand,
            "mergedeep": lambda: merge_deep({}, *layers),
            "dynaconf": four_by_dynaconf,
            "OmegaConf": lambda: OmegaConf.merge(*omega),
        },
        target="faster than every library",
    )


def validating(suite: Suite, data: dict[str, Any]) -> None:
    model = models(Strict)
    config, wrong = (
        Configuration(data),
        Configuration(data) | Configuration({"section3": {"key0": "x", "key2": 7}}),
    )
    bad = wrong.to_dict()

    def pydantic_fails() -> object:
        try:
            return model.model_validate(bad)
        except ValidationError as error:
            return error.errors(include_input=False)

    suite.compare(
        "validate 200 keys",
        {
            "qicore": lambda: config.validate(model).unwrap(),
            "pydantic alone": lambda: model.model_validate(data),
        },
        target="far under 10 ms",
    )
    suite.compare(
        "validate 200 keys, two bad",
        {"qicore, sources named": lambda: wrong.validate(model).error, "pydantic alone": pydantic_fails},
    )
    keys = [(section, key) for section, inner in data.items() for key in inner]
    types: dict[Key, Any] = {(section, key): type(data[section][key]) for section, key in keys}
    suite.compare(
        "check 200 keys",
        {
            "qicore validate_required": lambda: config.validate_required(keys).unwrap(),
            "qicore validate_type": lambda: config.validate_type(types).unwrap(),
            "qicore validate_custom": lambda: config.validate_custom(
                lambda one: all(map(one.has, keys))
            ).unwrap(),
        },
    )


def whole(suite: Suite, folder: Path, layers: list[dict[str, Any]], environ: dict[str, str]) -> None:
    files = [folder / "low.yaml", folder / "high.yaml"]
    for file, layer in zip(files, layers[1:3], strict=True):
        file.write_text(yaml.safe_dump(layer))
    os.environ.update(environ)
    model = models(Strict)

    def ours() -> object:
        low, high = (Configuration.from_file(file).unwrap() for file in files)
        defaults = Configuration(layers[0], layer="defaults")
        environment = Configuration.from_environment("APP").unwrap()
        return (defaults | low | high | environment).validate(model).unwrap()

    class Settings(BaseSettings):
        model_config = SettingsConfigDict(
            env_prefix="APP_", env_nested_delimiter="__", yaml_file=files, yaml_config_section=None
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: Any,
            init_settings: Any,
            env_settings: Any,
            dotenv_settings: Any,
            file_secret_settings: Any,
        ) -> Any:
            return env_settings, YamlConfigSettingsSource(settings_cls, deep_merge=True), init_settings

    by_settings = models(Settings)

    def by_dynaconf() -> object:
        settings = Dynaconf(
            settings_files=[str(file) for file in files],
            envvar_prefix="APP",
            merge_enabled=True,
            core_loaders=["YAML"],
        )
        return settings.as_dict()

    def by_omega() -> object:
        low, high = (OmegaConf.load(file) for file in files)
        return OmegaConf.to_container(OmegaConf.merge(layers[0], low, high, layers[3]))

    contenders: dict[str, Callable[[], object]] = {
        "qicore, with sources": ours,
        "pydantic-settings": lambda: by_settings(**layers[0]),
        "dynaconf, no validation": by_dynaconf,
        "OmegaConf, no validation": by_omega,
    }
    suite.compare("read, merge, validate 4 x 200 keys", contenders, target="far under 10 ms")


def importing(suite: Suite) -> None:
    samples: dict[str, list[float]] = {
        "qicore.config": [],
        "pydantic_settings": [],
        "dynaconf": [],
        "omegaconf": [],
    }
    for _ in range(7):
        for name, times in samples.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
            times.append(time.perf_counter() - start)
    suite.record("python -c import", samples)


def main() -> None:
    suite = Suite(
        "config",
        ("pydantic", "pyyaml", "python-dotenv", "mergedeep", "dynaconf", "omegaconf", "pydantic-settings"),
    )
    layers = [values(n) for n in range(4)]
    environ = as_environment(layers[3])
    reading(suite, layers[0], environ)
    merging(suite, layers)
    validating(suite, layers[0])
    with TemporaryDirectory() as folder:
        whole(suite, Path(folder), layers, environ)
    importing(suite)
    suite.save()


if __name__ == "__main__":
    main()
