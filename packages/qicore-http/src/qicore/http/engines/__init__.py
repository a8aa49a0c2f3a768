"""The libraries that carry the bytes; only `qicore.http.engine` imports from here."""
