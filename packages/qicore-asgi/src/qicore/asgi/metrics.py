"""What a server does, as text for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from qicore.asgi.state import Health, WorkerInfo

__all__ = ["metrics_text"]

# Name, kind, what it is, and the field of the statistics it is read from.
_OF_WORKERS: Final = (
    ("requests_total", "counter", "Requests answered since the worker started.", "requests"),
    ("requests_rejected_total", "counter", "Requests answered 503 without being run.", "rejected"),
    ("requests_in_flight", "gauge", "Requests that run.", "in_flight"),
    ("requests_waiting", "gauge", "Requests that wait for their turn.", "waiting"),
    ("connections", "gauge", "Open connections.", "connections"),
    ("memory_bytes", "gauge", "Resident memory of the worker.", "memory"),
)


def metrics_text(health: Health, workers: Sequence[WorkerInfo]) -> str:
    """Return the metrics in Prometheus' text format, version 0.0.4; `worker` and `pid` tell workers apart."""
    lines: list[str] = []
    for name, kind, told, value in (
        (
            "healthy",
            "gauge",
            "1 when the server runs, admits requests and has all its workers.",
            health.healthy,
        ),
        ("accepting", "gauge", "1 when new requests are admitted.", health.accepting),
        ("workers_wanted", "gauge", "Workers that there should be.", health.wanted),
        ("workers_running", "gauge", "Workers that serve.", health.running),
        (
            "worker_restarts_total",
            "counter",
            "Workers that died or were stuck.",
            health.restarts,
        ),
        ("uptime_seconds", "gauge", "Seconds since the server started.", round(health.uptime, 3)),
    ):
        lines += [*_head(name, kind, told), f"qicore_asgi_{name} {value:g}"]
    for name, kind, told, field in _OF_WORKERS:
        lines += _head(name, kind, told)
        lines += [
            f'qicore_asgi_{name}{{worker="{one.slot}",pid="{one.pid}"}} {getattr(one.statistics, field)}'
            for one in workers
        ]
    return "\n".join(lines) + "\n"


def _head(name: str, kind: str, told: str) -> list[str]:
    return [f"# HELP qicore_asgi_{name} {told}", f"# TYPE qicore_asgi_{name} {kind}"]
