"""The examples run as a reader would run them, on the installed package, and say what they should.

Output is compared line by line: exactly where it does not depend on time or machine, by pattern
elsewhere. Nothing may appear on standard error, and nothing may be left behind.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
DOCS = EXAMPLES.with_name("docs")
NUMBER = r"\d+\.\d ms"
DUE = r"\d\d:\d\d:\d\d\.\d{3}"

HELLO = r"""(?:\d{4}-\d\d-\d\d [\d:.]{15}\+00:00 succeeded hello, Ada \d\.\d{4} s late
){3}"""

QUICKSTART = rf"""Ledger
  due \(UTC\) +event +fate +late +took +answer
  {DUE}  checksum  succeeded  {NUMBER} +{NUMBER} +\{{'files': \d+, 'sha256': '[0-9a-f]{{16}}'\}}
  {DUE}  digest    failed     {NUMBER} +{NUMBER} +no mail server for ada@example\.org
(?:  {DUE}  backup    succeeded  {NUMBER} +{NUMBER} +\{{'file': '[\w-]+\.db', 'check': 'ok'\}}
){{5}}
Housekeeper: removed 2 old backups, 3 remain\.

Scheduler: running
  actor              state    restarts  messages  waiting
  execution_tracker  running  0 +\d+ +\d+
  event_manager      running  0 +\d+ +\d+
  loop               running  0 +\d+ +\d+
  housekeeper        running  0 +\d+ +\d+
"""

CRASH_AND_RECOVER = r"""killed while 2 jobs ran
started again, stopped with exit code 0
integrity check: ok
at_least_once: succeeded \(lost, then succeeded\)
at_most_once: lost \(lost\)
\d{2,} executions succeeded; \d{2,} instants of the outage are in gaps
events with an instant lost, or fated twice: 0
"""

ACTOR_PROXIES = """created greet: at 09:00 on weekdays, Europe/Oslo time
100 questions in flight, all answered: {'greet'}
raised EVENT_NOT_FOUND
ok=False VALIDATION_FAILED at kwargs.name.first
ok=False JOB_NOT_FOUND: no job 'gret' is registered (did you mean 'greet'?)
raised VERSION_CONFLICT: {'expected': 1, 'actual': 2}
asyncio: 1 active event, greet at version 2
asyncio: TRANSITION_REFUSED: cannot release an event that is paused; only one that is quarantined
succeeded: 'hello, Ada', manual=True
housekeeping errors: {}
next two are weekdays at 9: True
after shutdown: NOT_INITIALIZED
"""

# rest_for_one: the crash of an actor restarts those that started after it, too.
RESTART_AN_ACTOR = """event_manager: asked 200, answered 200
execution_tracker: asked 200, answered 200
loop: asked 200, answered 200
housekeeper: asked 200, answered 200
executions: 200, all succeeded
execution_tracker: running, restarts 1, last: RuntimeError: a bug in the execution_tracker
event_manager: running, restarts 2, last: RuntimeError: a bug in the event_manager
loop: running, restarts 3, last: RuntimeError: a bug in the loop
housekeeper: running, restarts 1, last: RuntimeError: a bug in the housekeeper
scheduler: running
"""

MONTH_END_CLOSING = """at 18:00 every day, Europe/Oslo time; only on the last working day of the \
month (closed on Saturdays and Sundays or public holidays of NO)
closing-DE: 12 closings, succeeded; moved by a holiday:
  2029-03-29 Thursday 18:00
closing-GB: 12 closings, succeeded; moved by a holiday:
  2029-03-29 Thursday 18:00
closing-NO: 12 closings, succeeded; moved by a holiday:
  2029-03-28 Wednesday 18:00
"""

TEST_YOUR_SCHEDULE = r"""=+ test session starts =+
collecting \.\.\. collected 7 items

(?:\S+test_your_schedule\.py::test_\w+ PASSED +\[ *\d+%\]
){7}
=+ 7 passed in .*s =+
"""

RETRIES_AND_TIMEOUTS = """retries: two failures, then it works
  succeeded
    attempt 1 failed: ConnectionError: no answer (attempt 1)
    attempt 2 failed: ConnectionError: no answer (attempt 2)
    attempt 3 succeeded
give_up_on: the same retries, but not for this
  failed
    attempt 1 failed: ValueError: the file is not what it was
Snooze and Retry: the job says when
  succeeded
    attempt 1 cancelled: Snooze: run again in 0.02 seconds
    attempt 2 failed: Retry: the market has just closed
    attempt 3 succeeded
Cancel: nothing to do
  cancelled
    attempt 1 cancelled: Cancel: a bank holiday
timeout: the slot is free, the job runs on for a while
  timed_out
    attempt 1 timed_out: TimeoutError: took longer than 0.1 seconds
    still running: True
    still running: False
pause_after_failures: three in a row are enough
  paused after 3 failures in a row
  failed: 3
"""

A_DAYLIGHT_SAVING_NIGHT = """backup: On 2027-03-28 the clock of Europe/Oslo skips 02:00 to 03:00: \
the time due in it (02:30) \
runs once, at 03:00.
backup: On 2027-10-31 the clock of Europe/Oslo repeats 02:00 to 03:00: the time due in it \
(02:30) runs the first time only.
backup: On 2028-03-26 the clock of Europe/Oslo skips 02:00 to 03:00: the time due in it (02:30) \
runs once, at 03:00.
strict: On 2027-03-28 the clock of Europe/Oslo skips 02:00 to 03:00: the time due in it (02:30) \
does not run.
strict: On 2027-10-31 the clock of Europe/Oslo repeats 02:00 to 03:00: the time due in it \
(02:30) runs both times.
strict: On 2028-03-26 the clock of Europe/Oslo skips 02:00 to 03:00: the time due in it (02:30) \
does not run.

28 March
  backup    03:00 +02:00
  strict    not at all
  half-hour 01:00 +01:00, 01:30 +01:00, 03:00 +02:00, 03:30 +02:00
  why at three?
    backup was due at 2027-03-28T01:00:00Z (2027-03-28 03:00 by the clock of Europe/Oslo).
    The clock of Europe/Oslo skips 2027-03-28 02:00 to 03:00: 02:30, which is due in that time, \
runs now instead, at 03:00.

31 October
  backup    02:30 +02:00
  strict    02:30 +02:00, 02:30 +01:00
  half-hour 01:00 +02:00, 01:30 +02:00, 02:00 +02:00, 02:30 +02:00, 02:00 +01:00, 02:30 +01:00, \
03:00 +01:00, 03:30 +01:00
  why only once?
    backup is not due at 2027-10-31T01:30:00Z (2027-10-31 02:30 by the clock of Europe/Oslo).
    The clock of Europe/Oslo shows 2027-10-31 02:30 twice: this is the second time, and the \
rule runs the first time only.
"""

AN_OUTAGE_AND_CATCH_UP = """latest
  04:00 to 07:00 skipped (coalesced into 08:00)
  08:00 succeeded, 10 minutes late
earliest
  04:00 succeeded, 250 minutes late
  05:00 to 08:00 skipped (coalesced into 04:00)
all
  04:00 succeeded, 250 minutes late
  05:00 succeeded, 190 minutes late
  06:00 succeeded, 130 minutes late
  07:00 succeeded, 70 minutes late
  08:00 succeeded, 10 minutes late
all, two at most
  04:00 to 06:00 skipped (missed)
  07:00 succeeded, 70 minutes late
  08:00 succeeded, 10 minutes late
all of two hours
  04:00 to 06:00 skipped (missed)
  07:00 succeeded, 70 minutes late
  08:00 succeeded, 10 minutes late
skip
  04:00 to 08:00 skipped (missed)

latest was due at 2027-01-04T06:00:00Z.
It was skipped as coalesced: the instant 2027-01-04T08:00:00Z ran for it (catch_up='latest'). \
That was decided at 2027-01-04T08:10:00Z.
It shares one row with the instants from 2027-01-04T04:00:00Z to 2027-01-04T07:00:00Z, 4 in all.
At 2027-01-04T08:10:00Z a process was there again after nobody had run events (4.8 hours).
At 2027-01-04T08:10:00Z a process was found dead.

Every instant has one fate: True
"""

BACKFILL_LAST_WEEK = """planned 3, 4 remain
  100% done: 3 succeeded
planned 3, 1 remain
  100% done: 3 succeeded
planned 1, 0 remain
  100% done: 1 succeeded
summed up 8 days ago, 7 days ago, 6 days ago, 5 days ago, 4 days ago, 3 days ago, 2 days ago
once more: planned 0, 7 have run
"""

DECLARED_SCHEDULES = """daily-report would be updated policies trigger
hourly-sweep would be created
inbox.poll would be paused
daily-report: active
    events_created by kalends: declared by 'default'
    event_updated by ada: None
    event_updated by kalends: declared by 'default'
hourly-sweep: active
    events_created by kalends: declared by 'default'
inbox.poll: paused
    events_created by kalends: declared by 'default'
    event_paused by kalends: no longer declared by 'default'
"""

JOBS_IN_PROCESSES = """78498 primes, elsewhere: True
native.crash: failed, WorkerDied: killed by SIGSEGV
native.leave: failed, WorkerDied: exited with code 3
images.load: failed, MemoryError
regex.match: timed_out, TimeoutError: took longer than 0.5 seconds
and on: 25 primes
"""

GREENLETS_AND_COROUTINES = """1000 greenlets and 1000 coroutines waited at once
the slow one: timed_out
no room: skipped (queue_full)
no room: skipped (queue_full)
streams closed: 2
"""

CANCEL_AND_PROGRESS = """here: 499 of 1000
asked to stop: True ended: False
cancelled requested
info half_way converted=500
warning stopping converted=501
execution_cancelled by ada - wrong folder
"""

EXPECTED = {
    "cancel_and_progress.py": re.escape(CANCEL_AND_PROGRESS),
    "declared_schedules.py": re.escape(DECLARED_SCHEDULES),
    "hello.py": HELLO,
    "backfill_last_week.py": re.escape(BACKFILL_LAST_WEEK),
    "quickstart.py": QUICKSTART,
    "crash_and_recover.py": CRASH_AND_RECOVER,
    "actor_proxies.py": re.escape(ACTOR_PROXIES),
    "restart_an_actor.py": re.escape(RESTART_AN_ACTOR),
    "test_your_schedule.py": TEST_YOUR_SCHEDULE,
    "month_end_closing.py": re.escape(MONTH_END_CLOSING),
    "greenlets_and_coroutines.py": re.escape(GREENLETS_AND_COROUTINES),
    "jobs_in_processes.py": re.escape(JOBS_IN_PROCESSES),
    "retries_and_timeouts.py": re.escape(RETRIES_AND_TIMEOUTS),
    "a_daylight_saving_night.py": re.escape(A_DAYLIGHT_SAVING_NIGHT),
    "an_outage_and_catch_up.py": re.escape(AN_OUTAGE_AND_CATCH_UP),
}


def _run(name: str, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        cwd=folder,
        # What an example makes without being told where goes to a temporary directory: this one.
        env={**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_says_what_it_should_and_leaves_nothing_behind(
    name: str, tmp_path: Path
) -> None:
    output = _run(name, tmp_path)
    assert re.fullmatch(EXPECTED[name], output), output
    # The smallest example makes its database where a host would: where it runs.
    left = ["kalends.db"] if name == "hello.py" else []
    assert [path.name for path in tmp_path.iterdir()] == left


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("a_daylight_saving_night.py", "triggers.md"),
        ("an_outage_and_catch_up.py", "policies/catch-up.md"),
        ("declared_schedules.py", "declared-schedules.md"),
    ],
)
def test_what_a_page_says_that_an_example_prints_is_what_it_prints(
    name: str, page: str, tmp_path: Path
) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    (said,) = re.findall(
        rf'^--8<-- "{name}"\n```\n\nIt prints.*?:\n\n```text\n(.*?)^```$', text, re.M | re.S
    )
    assert said in _run(name, tmp_path)


def test_the_quickstart_may_run_twice_in_one_directory(tmp_path: Path) -> None:
    assert re.fullmatch(QUICKSTART, _run("quickstart.py", tmp_path, str(tmp_path)))
    again = _run("quickstart.py", tmp_path, str(tmp_path))
    assert len(re.findall("backup +succeeded", again)) == 10
    assert "removed 5 old backups, 3 remain" in again
    assert (tmp_path / "inventory.db").exists()
