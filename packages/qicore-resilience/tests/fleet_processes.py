"""Processes that share a circuit, each told over its standard input what to do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Node", "until"]

_PROGRAM = """
import json, sys
from qicore.base import Failure, QiError, Success
from qicore.resilience import CircuitBreakerConfig
from qicore.resilience.shared import SharedCircuitBreakers

DOWN = QiError.network("NETWORK_ERROR", "connection refused")
breakers = SharedCircuitBreakers.create(sys.argv[1], CircuitBreakerConfig(**json.loads(sys.argv[2]))).unwrap()
breaker, permits, asked = breakers.get("service"), [], 0

def operation(answer):
    global asked
    asked += 1
    return answer

with breakers:
    for line in sys.stdin:
        match line.split():
            case ["wait"]: told = breakers.wait(60)
            case ["connected"]: told = breakers.connected
            case ["state"]: told = breaker.state
            case ["asked"]: told = asked
            case ["succeed"]: told = breaker.call_sync(lambda: operation(Success(1))).is_success
            case ["fail"]: told = breaker.call_sync(lambda: operation(Failure(DOWN))).error.code
            case ["admit"]:
                admitted = breaker.admit()
                permits += [admitted.unwrap()] if admitted.is_success else []
                told = admitted.is_success
            case ["success"]: told = permits.pop().success()
            case ["failure"]: told = permits.pop().failure(DOWN)
            case [by_hand]: told = getattr(breaker, by_hand)()
        print(json.dumps(told), flush=True)
"""


class Node:
    """A process with a breaker. `tell` has it do something, and returns what came of it."""

    def __init__(self, url: str, **options: Any) -> None:
        command = [sys.executable, "-c", _PROGRAM, url, json.dumps(options)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, what: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    @property
    def state(self) -> str:
        return str(self.tell("state"))

    def pause(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def end(self) -> None:
        """Let it end by itself, and see that it does so in order."""
        self._process.communicate()
        assert self._process.returncode == 0


def until(condition: Callable[[], object]) -> None:
    """Wait for what others do; a minute is no limit that a slow machine meets, but an end for what hangs."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
