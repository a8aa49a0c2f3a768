"""The content types of files, by suffix: the same on every machine, unlike those of `mimetypes`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["MEDIA_TYPES", "media_type_of"]

# The names are those of IANA's registry of media types; text is taken to be UTF-8.
_TEXT: Final = {
    "text/calendar": "ics",
    "text/css": "css",
    "text/csv": "csv",
    "text/html": "html htm",
    "text/javascript": "js mjs cjs",  # RFC 9239
    "text/markdown": "md markdown",
    "text/plain": "txt text log conf ini",
    "text/vcard": "vcf",
    "text/vtt": "vtt",
    "application/yaml": "yaml yml",  # RFC 9512
}
_OTHER: Final = {
    "application/atom+xml": "atom",
    "application/epub+zip": "epub",
    "application/geo+json": "geojson",
    "application/gzip": "gz tgz",
    "application/json": "json map",
    "application/ld+json": "jsonld",
    "application/manifest+json": "webmanifest",
    "application/msword": "doc",
    "application/pdf": "pdf",
    "application/rss+xml": "rss",
    "application/rtf": "rtf",
    "application/toml": "toml",
    "application/vnd.apache.parquet": "parquet",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.oasis.opendocument.presentation": "odp",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.sqlite3": "sqlite sqlite3",
    "application/wasm": "wasm",
    "application/x-7z-compressed": "7z",
    "application/x-bzip2": "bz2",
    "application/x-ndjson": "ndjson jsonl",
    "application/x-tar": "tar",
    "application/x-xz": "xz",
    "application/xhtml+xml": "xhtml",
    "application/xml": "xml xsd xsl",
    "application/zip": "zip",
    "application/zstd": "zst",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/mp4": "m4a",
    "audio/mpeg": "mp3",
    "audio/ogg": "oga ogg opus",
    "audio/wav": "wav",
    "audio/webm": "weba",
    "font/otf": "otf",
    "font/ttf": "ttf",
    "font/woff": "woff",
    "font/woff2": "woff2",
    "image/apng": "apng",
    "image/avif": "avif",
    "image/bmp": "bmp",
    "image/gif": "gif",
    "image/heic": "heic",
    "image/jpeg": "jpeg jpg",
    "image/jxl": "jxl",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/tiff": "tif tiff",
    "image/vnd.microsoft.icon": "ico",
    "image/webp": "webp",
    "model/gltf+json": "gltf",
    "model/gltf-binary": "glb",
    "video/mp4": "m4v mp4",
    "video/mpeg": "mpeg mpg",
    "video/ogg": "ogv",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
}

MEDIA_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{suffix: kind for kind, suffixes in _OTHER.items() for suffix in suffixes.split()},
        **{
            suffix: f"{kind}; charset=utf-8"
            for kind, suffixes in _TEXT.items()
            for suffix in suffixes.split()
        },
    }
)
"""The `Content-Type` of each known suffix."""


def media_type_of(name: str, more: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return the `Content-Type` of a file; `application/octet-stream` when its suffix is not known.

    >>> media_type_of("app.mjs"), media_type_of("LICENSE"), media_type_of("a.PNG")
    ('text/javascript; charset=utf-8', 'application/octet-stream', 'image/png')
    """
    _, dot, suffix = name.rpartition(".")
    suffix = suffix.lower() if dot else ""
    return more.get(suffix) or MEDIA_TYPES.get(suffix) or "application/octet-stream"
