import heapq
import math
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.resilience.turns import Turns


@dataclass
class Course:
    """Calls that come, wait, are cancelled, and begin when they are told to, or later."""

    turns: Turns
    lateness: float = 0.0
    now: float = 1000.0
    wakes: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    waiting: dict[int, float] = field(default_factory=dict[int, float])
    begun: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    calls: int = 0

    def call(self) -> None:
        self.waiting[self.calls] = self.turns.promise(self.now)
        self.try_to_begin(self.calls)
        self.calls += 1

    def try_to_begin(self, number: int) -> None:
        wait = self.turns.begin(self.waiting[number], self.now)
        if wait > 0:
            # Every third is late: its event loop is held up.
            heapq.heappush(self.wakes, (self.now + wait + self.lateness * (number % 3 == 0), number))
        else:
            del self.waiting[number]
            self.begun.append((self.now, number))

    def cancel(self, number: int) -> None:
        self.turns.give_back(self.waiting.pop(number), self.now)

    def pass_until(self, time: float) -> None:
        while self.wakes and self.wakes[0][0] <= time:
            at, number = heapq.heappop(self.wakes)
            self.now = max(self.now, at)
            if number in self.waiting:
                self.try_to_begin(number)
        self.now = max(self.now, time)


# What happens next: a call, a pause of so many intervals, or the cancellation of one of those that wait.
kinds = st.sampled_from(["call", "call", "pause", "cancel"])
scripts = st.lists(st.tuples(kinds, st.floats(0, 5)), max_size=60)
Script: TypeAlias = list[tuple[str, float]]


def play(course: Course, script: Script, interval: float) -> Course:
    for kind, amount in script:
        if kind == "pause":
            course.pass_until(course.now + amount * interval)
        else:
            play_one(course, kind, amount)
    course.pass_until(math.inf)
    return course


def play_one(course: Course, kind: str, amount: float) -> None:
    if kind == "call":
        course.call()
    elif course.waiting:
        waiting = list(course.waiting)
        course.cancel(waiting[int(amount * 1000) % len(waiting)])


@given(
    script=scripts,
    interval=st.floats(0.001, 1000),
    burst=st.integers(1, 5),
    lateness=st.floats(0, 10),
)
def test_in_any_time_no_more_begin_than_the_rate_allows(
    script: Script, interval: float, burst: int, lateness: float
) -> None:
    course = play(Course(Turns(interval, burst), lateness * interval), script, interval)
    times = [time for time, _ in course.begun]
    for first, start in enumerate(times):
        for last in range(first, len(times)):
            assert last - first + 1 <= burst + (times[last] - start) / interval + 1e-6
    assert not course.waiting, "each has begun, or was cancelled"


@given(script=scripts, burst=st.integers(1, 5))
def test_when_none_is_late_all_begin_in_the_order_in_which_they_came(script: Script, burst: int) -> None:
    course = play(Course(Turns(1.0, burst)), script, 1.0)
    # Times are compared as far as they can be told apart: numbers that wake at one moment come in any order.
    numbers = [number for _, number in sorted((round(time, 6), number) for time, number in course.begun)]
    assert numbers == sorted(numbers)


@given(script=scripts, burst=st.integers(1, 3), stalls=st.lists(st.floats(0.1, 20), max_size=20))
def test_in_one_loop_all_keep_their_order_however_it_is_held_up(
    script: Script, burst: int, stalls: list[float]
) -> None:
    course = Course(Turns(1.0, burst))
    for kind, amount in script:
        if kind == "pause":
            # The loop is held up: all that should have woken in that time do so when it is over.
            course.now += amount + (stalls.pop() if stalls else 0)
            due, course.wakes = (
                [wake for wake in course.wakes if wake[0] <= course.now],
                [wake for wake in course.wakes if wake[0] > course.now],
            )
            for _, number in sorted(due):
                if number in course.waiting:
                    course.try_to_begin(number)
        else:
            play_one(course, kind, amount)
        heapq.heapify(course.wakes)
    course.pass_until(math.inf)
    begun = [number for _, number in course.begun]
    assert begun == sorted(begun)
    assert not course.waiting


@given(script=scripts.map(lambda script: [step for step in script if step[0] != "cancel"]))
def test_when_none_is_late_or_cancelled_it_is_a_token_bucket(script: Script) -> None:
    burst, course = 3, Course(Turns(1.0, 3))
    play(course, script, 1.0)
    expected: list[float] = []
    tokens, updated = float(burst), 1000.0
    now = 1000.0
    for kind, amount in script:
        if kind == "pause":
            now += amount
        else:
            tokens = min(burst, tokens + now - updated) if now > updated else tokens
            updated = max(now, updated)
            if tokens < 1:  # who waits takes the token in the moment in which it is there
                updated, tokens = updated + 1 - tokens, 1.0
            tokens -= 1
            expected.append(updated)
    assert [time for time, _ in course.begun] == pytest.approx(expected)


@given(count=st.integers(1, 30), data=st.data(), burst=st.integers(1, 4))
def test_when_all_that_wait_are_cancelled_nothing_is_lost(
    count: int, data: st.DataObject, burst: int
) -> None:
    turns = Turns(7.0, burst)
    for _ in range(burst):
        assert turns.begin(turns.promise(1000.0), 1000.0) == 0
    before = turns.until_free(1000.0)
    promised = [turns.promise(1000.0) for _ in range(count)]
    for turn in data.draw(st.permutations(promised)):
        turns.give_back(turn, 1000.0)
    assert turns.until_free(1000.0) == pytest.approx(before)
    assert turns.available(1000.0) == 0
    assert turns.available(1007.0) == 1
    assert turns.available(1e6) == burst


def test_turns_that_passed_unused_are_forgotten() -> None:
    turns = Turns(1.0, 1)
    now = 0.0
    for _ in range(1000):
        held, behind = turns.promise(now), turns.promise(now)
        turns.give_back(held, now)
        now += turns.begin(behind, now)
        assert turns.begin(behind, now) == 0
    assert len(turns._given_back) < 10  # pyright: ignore[reportPrivateUsage]  # what else would grow


def test_a_late_one_moves_all_behind_back_and_keeps_their_order() -> None:
    turns = Turns(1.0, 1)
    first, second, third = (turns.promise(0.0) for _ in range(3))
    assert turns.begin(first, 10.0) == 0
    assert turns.begin(third, 10.0) == 2
    assert turns.begin(second, 10.0) == 1
    assert turns.expect(10.0) == 3


def test_one_whose_turn_has_come_lets_those_before_it_go_first() -> None:
    turns = Turns(1.0, 1)
    first, second = turns.promise(0.0), turns.promise(0.0)
    assert 0 < turns.begin(second, 5.0) < 0.01
    assert turns.begin(first, 5.0) == 0
    assert turns.begin(second, 5.0) == 1
    assert turns.begin(second, 6.0) == 0


def test_but_not_for_long() -> None:
    turns = Turns(1.0, 1)
    held_up, second, third = (turns.promise(0.0) for _ in range(3))
    now = 1.0
    while (wait := turns.begin(second, now)) > 0:
        now += wait
    assert 1 < now < 1.02
    # When it comes back it takes the next place, and who is behind comes after it.
    assert turns.begin(held_up, 1.5) == pytest.approx(now - 0.5)
    assert turns.begin(held_up, 2.25) == 0
    assert turns.begin(third, 2.5) == 0.75
    assert turns.waiting == [third]
