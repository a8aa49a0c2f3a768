"""Configuration: immutable layers that merge, and that know where every value came from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Never, Self, TypeVar, cast, final

from qicore.base import Failure, QiError, Result, Success
from qicore.config.config import ConfigLimits
from qicore.config.errors import Refused, from_refused, guarded, unforeseen
from qicore.config.freezing import freeze
from qicore.config.loading import format_of, read_file, read_text
from qicore.config.paths import Key, parse_key, show_path
from qicore.config.tree import (
    EMPTY_BRANCH,
    EMPTY_MAPPING,
    Branch,
    ConfigValue,
    FrozenMapping,
    PlainValue,
    Source,
    find,
    hash_of,
    merge_trees,
    origin_of,
    refreeze,
    thaw,
)

if TYPE_CHECKING:
    from qicore.config.explaining import Explanation

__all__ = ["Configuration"]

T = TypeVar("T")
U = TypeVar("U")

_LIMITS: Final = ConfigLimits()


@final
class Configuration:
    """An immutable tree of settings: text, numbers, truth values, dates, null, lists, and mappings of these.

    Layers are read by the `from_…` functions and merged by `|`: the later one wins, mappings merge key by
    key, everything else (lists too) replaces. Merging is a monoid: it is associative, and
    `Configuration.empty()` changes nothing. Every value remembers the layer, file and line it came from; `==`
    and `hash` look at the values alone. A key is text with dots, `db.host` or `servers.0.name`, or a tuple,
    for names with dots in them.

    `Configuration({...})` is `from_object` for what is written in the program itself: it raises ValueError
    for what no configuration can hold.

    >>> defaults = Configuration({"db": {"host": "localhost", "port": 5432}})
    >>> file = Configuration.from_string("db: {host: db.example.org}", "yaml", layer="app.yaml").unwrap()
    >>> config = defaults | file
    >>> config.get("db.host"), config.get("db.port")
    (Success('db.example.org'), Success(5432))
    >>> str(config.source("db.host").unwrap())
    'app.yaml:1'
    """

    __slots__ = ("_trace", "_values")
    _values: FrozenMapping
    _trace: Branch

    def __init__(self, values: Mapping[str, object], /, *, layer: str = "object") -> None:
        try:
            data, trace = freeze(values, Source(layer=layer), _LIMITS)
        except Refused as refused:
            raise ValueError(from_refused(refused).message) from None
        _set(self, data, trace)

    def __setattr__(self, name: str, value: object) -> Never:
        raise AttributeError(
            f"a Configuration is immutable: merge a layer over it instead of setting .{name}"
        )

    def __delattr__(self, name: str) -> Never:
        raise AttributeError(f"a Configuration is immutable: .{name} can't be deleted")

    @classmethod
    def _made(cls, values: FrozenMapping, trace: Branch) -> Configuration:
        made = object.__new__(cls)
        _set(made, values, trace)
        return made

    @classmethod
    def empty(cls) -> Configuration:
        """Return the configuration with nothing in it, the identity of merging."""
        return cls._made(EMPTY_MAPPING, EMPTY_BRANCH)

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, limits: ConfigLimits = _LIMITS
    ) -> Result[Configuration]:
        """Read a .json, .yaml, .yml, .toml or .env file; the layer is named by its path.

        CONFIG_NOT_FOUND, CONFIG_UNREADABLE [FILESYSTEM]; CONFIG_PARSE_ERROR with line and column,
        CONFIG_TOO_LARGE, CONFIG_TOO_DEEP, CONFIG_CONFLICT [CONFIGURATION]; CONFIG_UNKNOWN_FORMAT
        [VALIDATION].
        """
        file = os.fspath(path)

        def read() -> Configuration:
            format_name = format_of(file)
            source = Source(layer=file, file=file)
            return cls._made(*read_text(read_file(file, limits), format_name, source, limits))

        return guarded(read, limits, file)

    @classmethod
    async def from_file_async(
        cls, path: str | os.PathLike[str], *, limits: ConfigLimits = _LIMITS
    ) -> Result[Configuration]:
        """Read a file as `from_file` does, in a thread: a slow disk holds up no other task."""
        import asyncio

        return await asyncio.to_thread(cls.from_file, path, limits=limits)

    @classmethod
    def from_object(
        cls, values: object, *, layer: str = "object", limits: ConfigLimits = _LIMITS
    ) -> Result[Configuration]:
        """Take a deep, frozen copy of a mapping, a dataclass or a pydantic model.

        Tuples and sets become lists, enum members their values, paths, UUIDs, decimals and URLs their text.
        INVALID_CONFIG [VALIDATION] names the key whose value no configuration can hold; CONFIG_TOO_LARGE and
        CONFIG_TOO_DEEP [CONFIGURATION], the latter also for what is nested in itself.

        >>> str(Configuration.from_object({"timeout": 1j}).error)
        'VALIDATION/INVALID_CONFIG: object: timeout: a value of type complex is nothing that ... holds'
        """
        return guarded(lambda: cls._made(*freeze(values, Source(layer=layer), limits)), limits, layer)

    @classmethod
    def from_string(
        cls,
        text: str,
        format: str,  # noqa: A002 - the word users know
        *,
        layer: str = "string",
        limits: ConfigLimits = _LIMITS,
    ) -> Result[Configuration]:
        r"""Read text in the format `json`, `yaml`, `toml` or `env`; it fails as `from_file` does.

        >>> str(Configuration.from_string("port: 1\nport: 2", "yaml").error)
        "CONFIGURATION/CONFIG_PARSE_ERROR: string:2:1: the key 'port' is there twice, first on line 1"
        """
        return guarded(
            lambda: cls._made(*read_text(text, format, Source(layer=layer), limits)), limits, layer
        )

    @classmethod
    def from_environment(
        cls,
        prefix: str = "",
        *,
        separator: str = "__",
        dotenv: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] | None = None,
        limits: ConfigLimits = _LIMITS,
    ) -> Result[Configuration]:
        """Read the variables that start with `prefix`: with the prefix `APP`, `APP_DB__HOST` is `db.host`.

        Names become lower case, values stay text: `validate` reads numbers, lists and JSON out of it. The
        file `dotenv` may be missing; what it sets never overrides the real environment. `environ` stands for
        `os.environ`. CONFIG_CONFLICT [CONFIGURATION] where `A` and `A__B` are both set; INVALID_CONFIG
        [VALIDATION] for a variable that is no UTF-8; for the file, the codes of `from_file`.

        >>> environ = {"APP_DB__HOST": "db.example.org", "APP_MAX_SIZE": "10", "HOME": "/home/ann"}
        >>> Configuration.from_environment("APP", environ=environ).unwrap().to_dict()
        {'db': {'host': 'db.example.org'}, 'max_size': '10'}
        """
        file = None if dotenv is None else os.fspath(dotenv)

        def read() -> Configuration:
            from qicore.config.environment import read_environment

            if not separator:
                raise Refused("INVALID_CONFIG", "the separator is empty")
            variables = os.environ if environ is None else environ
            return cls._made(*read_environment(variables, prefix, separator, file, limits))

        return guarded(read, limits, "environment")

    def merge(self, other: Configuration) -> Configuration:
        """Return this configuration with `other` over it; the same as `self | other`.

        >>> low, high = Configuration({"a": {"x": 1, "y": [1, 2]}}), Configuration({"a": {"y": [3]}})
        >>> low.merge(high).to_dict()
        {'a': {'x': 1, 'y': [3]}}
        """
        if not other._values:
            return self
        if not self._values:
            return other
        return Configuration._made(*merge_trees(self._values, self._trace, other._values, other._trace))

    def __or__(self, other: Configuration) -> Configuration:
        if not isinstance(other, Configuration):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without types
            return NotImplemented
        return self.merge(other)

    @classmethod
    def merge_all(cls, layers: Iterable[Configuration]) -> Configuration:
        """Merge layers from the lowest to the highest; of none, the empty configuration."""
        merged = cls.empty()
        for layer in layers:
            merged = merged.merge(layer)
        return merged

    def validate(self, model: type[T]) -> Result[T]:
        """Return the values as a pydantic model, a dataclass or any type that pydantic knows.

        CONFIG_INVALID [VALIDATION] names every bad key, what was expected and where the value came from, and
        shows no value. CONFIG_BAD_MODEL [VALIDATION] for a type that pydantic can't use, CONFIG_CHECK_FAILED
        [UNKNOWN] when a validator raises something else than pydantic asks for.

        Conversion is pydantic's (the text `8080` is a fine integer), but `true` is no number. Where a list is
        wanted, the text of a variable is JSON or parted by commas; where a mapping is wanted, it is JSON.

        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Server:
        ...     port: int
        >>> Configuration({"port": "8080"}).validate(Server)
        Success(Server(port=8080))
        >>> str(Configuration({"port": "many"}, layer="flags").validate(Server).error)
        'VALIDATION/CONFIG_INVALID: 1 key is not valid: port: expected a valid integer, ... (flags)'
        """
        from qicore.config.validation import validate_model

        return validate_model(self._values, self._trace, model)

    def validate_required(self, keys: Iterable[Key]) -> Result[Configuration]:
        """Return this configuration if all keys are there and not null: CONFIG_MISSING_KEYS [VALIDATION].

        >>> str(Configuration({"a": None}).validate_required(["a", "b.c"]).error)
        'VALIDATION/CONFIG_MISSING_KEYS: 2 keys are missing: a: null (object), b.c'
        """
        from qicore.config.validation import check_required

        return self._unless(check_required(self._values, self._trace, list(keys)))

    def validate_type(self, types: Mapping[str, Any] | Mapping[Key, Any]) -> Result[Configuration]:
        """Return this configuration if the keys hold these types, else CONFIG_TYPE_MISMATCH [VALIDATION].

        A type is a class, a union, or a generic such as `list[str]`. A whole number will do for a float;
        `true` is no number. The text of a variable will do for what it can be read as.

        >>> str(Configuration({"port": "80"}).validate_type({"port": int}).error)
        'VALIDATION/CONFIG_TYPE_MISMATCH: 1 key is not valid: port: expected int, found str (object)'
        """
        from qicore.config.validation import check_types

        return self._unless(check_types(self._values, self._trace, cast("Mapping[Key, Any]", types)))

    def validate_custom(
        self, check: Callable[[Configuration], bool] | Callable[[Configuration], Result[Any]]
    ) -> Result[Configuration]:
        """Return this configuration if `check` gives True or a Success.

        Its Failure is returned as it is; False is CONFIG_REJECTED [VALIDATION]; an exception, or anything
        else that it gives, is CONFIG_CHECK_FAILED [UNKNOWN].
        """
        name = getattr(check, "__name__", type(check).__name__)
        try:
            verdict: object = check(self)
        except Exception as error:  # noqa: BLE001 - a check of the user's may raise anything
            return Failure(unforeseen("CONFIG_CHECK_FAILED", f"the check {name}", error))
        if isinstance(verdict, Result):
            return cast("Result[object]", verdict).map(lambda _: self)
        if verdict is True:
            return Success(self)
        if verdict is False:
            return Failure(QiError.validation("CONFIG_REJECTED", f"the check {name} says no", check=name))
        problem = f"the check {name} gave {type(verdict).__name__}, not a bool or a Result"
        return Failure(QiError.unknown("CONFIG_CHECK_FAILED", problem, check=name))

    def get(self, key: Key) -> Result[ConfigValue]:
        """Return the value, mappings and lists frozen: CONFIG_KEY_NOT_FOUND [CONFIGURATION]."""
        place = find(self._values, self._trace, parse_key(key))
        return Failure(self._no_such(key)) if place is None else Success(place[0])

    def get_or(self, key: Key, default: U) -> ConfigValue | U:
        """Return the value, or `default` where there is none; a null is a value.

        >>> Configuration({"a": None}).get_or("a", 1), Configuration({}).get_or("a", 1)
        (None, 1)
        """
        place = find(self._values, self._trace, parse_key(key))
        return default if place is None else place[0]

    def has(self, key: Key) -> bool:
        """Return whether there is such a key, be its value null or not."""
        return find(self._values, self._trace, parse_key(key)) is not None

    def section(self, key: Key) -> Result[Configuration]:
        """Return the mapping at `key` as a configuration of its own: CONFIG_KEY_NOT_FOUND [CONFIGURATION].

        What is no mapping is CONFIG_TYPE_MISMATCH [VALIDATION].
        """
        place = find(self._values, self._trace, parse_key(key))
        if place is None:
            return Failure(self._no_such(key))
        value, trace = place
        if isinstance(value, MappingProxyType) and isinstance(trace, Branch):
            return Success(Configuration._made(value, trace))
        problem = f"{show_path(parse_key(key))} is no section ({origin_of(trace)})"
        return Failure(QiError.validation("CONFIG_TYPE_MISMATCH", problem))

    def source(self, key: Key) -> Result[Source]:
        """Return where the value came from; for a mapping, the last layer that has it.

        CONFIG_KEY_NOT_FOUND [CONFIGURATION] when there is no such key.
        """
        place = find(self._values, self._trace, parse_key(key))
        return Failure(self._no_such(key)) if place is None else Success(origin_of(place[1]))

    def explain(self, model: type | None = None) -> list[Explanation]:
        """Return for every key its value, secrets masked, and where it came from, in the order of the keys.

        With a model, its defaults are rows too, and its secrets are masked whatever they are named.

        >>> for row in Configuration({"db": {"host": "localhost", "password": "hunter2"}}).explain():
        ...     print(row)
        db.host = localhost  (object)
        db.password = ********  (object)
        """
        from qicore.config.explaining import explain

        return explain(self._values, self._trace, model)

    def to_dict(self) -> dict[str, PlainValue]:
        """Return the values as new dicts and lists."""
        return cast("dict[str, PlainValue]", thaw(self._values))

    def to_string(self, format: str) -> Result[str]:  # noqa: A002 - the word users know
        r"""Return the values, secrets included, as text that `from_string` reads back as an equal one.

        What the format can't hold (null in TOML, a date in JSON, a number in dotenv) is CONFIG_UNWRITABLE
        [VALIDATION], every such key named; an unknown format is CONFIG_UNKNOWN_FORMAT [VALIDATION].

        >>> Configuration({"answer": "no"}).to_string("yaml")
        Success("answer: 'no'\n")
        """
        from qicore.config.writing import write_text

        return guarded(lambda: write_text(self._values, format), _LIMITS, "")

    @staticmethod
    def json_schema(model: Any) -> Result[dict[str, Any]]:
        """Return the JSON Schema of a model, for editors and documentation: CONFIG_BAD_MODEL [VALIDATION]."""
        from qicore.config.validation import json_schema_of

        return json_schema_of(model)

    def _unless(self, error: QiError | None) -> Result[Configuration]:
        return Success(self) if error is None else Failure(error)

    def _no_such(self, key: Key) -> QiError:
        path = parse_key(key)
        return QiError.configuration(
            "CONFIG_KEY_NOT_FOUND", f"there is no {show_path(path)}", key=show_path(path)
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Configuration):
            return NotImplemented
        return self._values == other._values

    def __hash__(self) -> int:
        return hash_of(self._values)

    def __repr__(self) -> str:
        # Names only: a repr ends up in logs, and a value may be a secret.
        names = ", ".join(self._values)
        return f"<Configuration: {names}>" if len(names) <= 60 else f"<Configuration: {names[:60]}…>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore, (self.to_dict(), self._trace))


def _set(made: Configuration, values: FrozenMapping, trace: Branch) -> None:
    object.__setattr__(made, "_values", values)
    object.__setattr__(made, "_trace", trace)


def _restore(values: PlainValue, trace: Branch) -> Configuration:
    return Configuration._made(cast("FrozenMapping", refreeze(values)), trace)  # pyright: ignore[reportPrivateUsage]  # of this module
