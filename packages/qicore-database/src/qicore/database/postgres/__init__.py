"""The engine for PostgreSQL: a few connections, each with many statements under way.

A connection is driven in libpq's pipeline mode, through psycopg's wrapper of it: statements of many tasks go
out together, and each has a synchronisation point of its own, so that it commits, or fails, by itself. See
`link` for how, and docs/designs/0015-postgresql.md for why.
"""
