"""What a job in another process tells: its progress and its log lines, to the last one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kalends.clock import SystemClock
from kalends.jobs.executors.process_child import Child
from kalends.jobs.executors.process_orders import Heard, decode_message
from kalends.jobs.logbook import Keeps, Logbook, News
from kalends.model import Fate


def lines(told: Any) -> tuple[int, list[str]]:
    """How many lines were dropped, and the texts of the others."""
    dropped, kept = msgspec.json.decode(told.log)
    return dropped, [text for _, _, text in kept]


def test_what_a_job_told_before_it_crashed_is_kept(processes: Callable[..., Any]) -> None:
    outcome = processes().run("tells_and_crashes")
    assert outcome.error.message == "killed by SIGSEGV"
    assert (outcome.told.progress, outcome.told.note) == (0.75, "nearly there")
    assert lines(outcome.told) == (0, ["the last words size=3"])


def test_of_much_the_latest_is_kept_and_the_rest_counted(processes: Callable[..., Any]) -> None:
    made = processes()
    made.owner.keeps = Keeps(lines=10, bytes=1000)
    outcome = made.run("tells_much", 5000)
    assert outcome.result == '"done"'
    assert (outcome.told.progress, outcome.told.note) == (1.0, "done")
    dropped, kept = lines(outcome.told)
    assert kept == [f"step number={number}" for number in range(4990, 5000)]
    assert dropped == 4990


def test_of_much_the_last_comes_while_the_job_runs(
    processes: Callable[..., Any], until: Callable[..., Any]
) -> None:
    made = processes()
    task = made.submit("tells_much_and_blocks")
    until(lambda: (told := task.told()) and told.note == "step 99", 30)
    assert task.told().progress == 0.99
    made.executor.interrupt(task)
    assert made.owner.wait(1)[0].told.note == "step 99"


def test_each_job_of_a_worker_tells_for_itself(processes: Callable[..., Any]) -> None:
    made = processes()
    assert made.run("tells_much", 3).told.progress == 1.0
    assert made.run("pid").told is None
    assert lines(made.run("tells_much", 2).told) == (0, ["step number=0", "step number=1"])


def test_secrets_are_left_out_before_anything_is_told(
    processes: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    hear = Child.hear

    def hear_and_note(*args: Any) -> Any:
        heard.append(hear(*args))
        return heard[-1]

    monkeypatch.setattr(Child, "hear", hear_and_note)
    made = processes()
    made.owner.keeps = Keeps(secret_keys=("pin",))
    told = made.run("tells_secrets", "hunter2")
    assert (told.result, told.told.note) == ('{"pin":"[redacted]"}', "pin=[redacted]")
    assert lines(told.told) == (0, ["telling pin='[redacted]'"])
    made.run("raises_secrets", "hunter2")
    assert "pin=[redacted]" in heard[1].failure.message
    assert "hunter2" not in repr(heard)


def test_a_process_that_a_job_forks_tells_nothing(processes: Callable[..., Any]) -> None:
    outcome = processes().run("tells_in_a_forked_process")
    assert (outcome.result, outcome.told.note) == ('"parent"', "parent")


def test_a_job_sees_how_much_time_is_left(processes: Callable[..., Any]) -> None:
    made = processes()
    begin = made.owner.begin

    def limit(task: Any) -> bool:
        task.deadline_us, task.stops_at = 1, made.owner.clock.monotonic() + 100
        return bool(begin(task))

    made.owner.begin = limit
    assert 0 < float(made.run("time_left").result) <= 100


@pytest.mark.parametrize(
    "news",
    [
        {"progress": 1.5, "note": None, "lines": [], "dropped": 0},
        {"progress": None, "note": "x" * 3000, "lines": [], "dropped": 0},
        {"progress": None, "note": None, "lines": [[-1, "info", "x"]], "dropped": 0},
        {"progress": None, "note": None, "lines": [], "dropped": -1},
    ],
)
def test_news_that_no_logbook_made_are_not_taken(news: dict[str, Any]) -> None:
    text = msgspec.json.encode({"type": "Heard", "number": 1, "news": news})
    with pytest.raises(msgspec.ValidationError):
        decode_message(text)


def test_a_logbook_takes_up_what_another_one_was_told() -> None:
    here, there = (Logbook(SystemClock(), Keeps(lines=3, bytes=1000)) for _ in range(2))
    assert there.drain() is None
    for number in range(5):
        there.line("info", f"line {number}")
    there.progress(0.5, "half")
    news = there.drain()
    assert news is not None
    assert decode_message(msgspec.json.encode(Heard(7, news))) == Heard(7, news)
    here.absorb(news)
    there.line("warning", "line 5")
    second = there.drain()
    assert second is not None
    here.absorb(second)
    assert there.drain() is None
    told = here.told
    assert (told.progress, told.note) == (0.5, "half")
    assert lines(told) == (3, ["line 3", "line 4", "line 5"])
    here.absorb(News(None, "a\x00b", [(0, "x" * 99, "\x00")], 0))
    assert here.told.note == "a\\x00b"
    assert "\\u0000" not in str(here.told.log)


def test_a_job_that_succeeds_after_telling_has_its_fate(processes: Callable[..., Any]) -> None:
    assert processes().run("tells_much", 200).fate is Fate.SUCCEEDED
