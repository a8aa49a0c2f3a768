"""The embedded engine: SQLite in WAL mode, one thread that writes and a few that read.

The event loop hands jobs to threads through plain queues, and a thread that wakes serves all that waits
before it wakes the loop, once. See `worker` for how, and the README for what it gains over one hop for each
call.
"""
