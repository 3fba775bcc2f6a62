"""In other people's processes: plain, gevent-patched, asyncio, twice over, forked, spawned."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

PATCH = "from gevent import monkey; monkey.patch_all()"
Host = Callable[..., str]

posix = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")


def test_a_plain_process_is_left_as_it_was(host: Host) -> None:
    host("""
warm("warm.db")
leaks = Leaks()
ran = []
for round in range(3):
    with make("k.db", ran) as scheduler:
        use(scheduler, ran)
        assert not scheduler.wait(0.01)
leaks.check()
""")


def test_a_start_that_fails_leaves_nothing(host: Host) -> None:
    host("""
from kalends import StorageRefused
warm("warm.db")
leaks = Leaks()
with open("not.db", "w") as file:
    file.write("something else " * 100)
for _ in range(3):
    try:
        make("not.db", []).start()
    except StorageRefused:
        continue
    raise SystemExit("it started")
leaks.check()
""")


def test_a_scheduler_that_failed_leaves_nothing_once_it_is_shut_down(host: Host) -> None:
    host("""
from kalends import SchedulerFailed
from kalends.actors.exits import Crash
warm("warm.db")
leaks = Leaks()
scheduler = make("k.db", [], restart_intensity=0).start()
scheduler._system.loop.tell_urgent(Crash(RuntimeError("a bug")))
try:
    scheduler.wait(20)
except SchedulerFailed:
    pass
else:
    raise SystemExit("it lives")
assert scheduler.shutdown(5).clean
leaks.check()
""")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_gevent_patched_process_goes_on_while_it_waits(host: Host, when: str) -> None:
    """Greenlets of the host run on while others of them wait for a scheduler's answer."""
    after = "import kalends\n" + PATCH if when == "after" else ""
    host(
        after
        + """
import gevent
turns = []
def spin():
    while True:
        turns.append(1)
        gevent.sleep(0.001)
spinner = gevent.spawn(spin)
warm("warm.db")
leaks = Leaks()
ran = []
for round in range(2):
    with make("k.db", ran) as scheduler:
        use(scheduler, ran)
        before = len(turns)
        jobs = [gevent.spawn(scheduler.count_events) for _ in range(50)]
        gevent.joinall(jobs, timeout=20, raise_error=True)
        assert {job.value for job in jobs} == {2 * (round + 1)}, [job.value for job in jobs]
        future = scheduler.loop.trigger_now("01890a5d-ac96-774b-bcce-b302099a8057")
        try:
            future.get(timeout=5)
        except Exception as error:
            assert error.code == "EVENT_NOT_FOUND", error
        assert not scheduler.wait(0.2)
        assert len(turns) > before + 20
    before = len(turns)
    gevent.sleep(0.1)
    assert len(turns) > before
del jobs, future, scheduler
leaks.check()
spinner.kill()
""",
        first=PATCH if when == "before" else "",
    )


NEVER_BLOCKED = """
import asyncio
import apsw
from kalends import EventNotFound, every

async def meanwhile(ask, let_go):
    asked = asyncio.ensure_future(ask())
    for _ in range(100):
        await asyncio.sleep(0)
    assert not asked.done(), asked
    let_go()
    return await asked

def held(path):
    other = apsw.Connection(path)  # nothing is written while it has the lock
    other.set_busy_timeout(60_000)
    other.execute("BEGIN IMMEDIATE")
    return other.close

def stalled(scheduler):
    gate = threading.Event()
    scheduler._system.hub.call(gate.wait, 60)
    return gate.set

async def main(path):
    ran = []
    scheduler = make(path, ran, busy_timeout=60, stall_after=60)
    await meanwhile(scheduler.astart, held(path))
    event = await meanwhile(
        lambda: scheduler.events.create("tick", every(seconds=0.02)), held(path)
    )
    while len(ran) < 5:
        await asyncio.sleep(0.005)
    found = await meanwhile(lambda: scheduler.events.get(event.id), stalled(scheduler))
    assert found.id == event.id
    async def count():
        return await asyncio.gather(*(scheduler.events.count() for _ in range(50)))
    assert set(await meanwhile(count, stalled(scheduler))) == {1}
    try:
        await scheduler.events.get("01890a5d-ac96-774b-bcce-b302099a8057")
    except EventNotFound:
        pass
    else:
        raise SystemExit("found")
    try:
        await scheduler.events.get("no id")
    except Exception as error:
        assert error.code == "VALIDATION_FAILED"
    report = await meanwhile(scheduler.housekeeper.keep_house, held(path))
    assert report.errors == {}, report
    await scheduler.events.pause(event.id)
    assert (await meanwhile(scheduler.ashutdown, held(path))).clean
    assert scheduler.status().state == "stopped"

warm("warm.db")
for path in ("1.db", "2.db"):
    make(path, []).start().shutdown()
asyncio.run(main("1.db"))
leaks = Leaks()
asyncio.run(main("2.db"))
leaks.check()
"""


def test_under_asyncio_the_loop_is_never_blocked(host: Host) -> None:
    """What is asked for cannot be answered until the loop has turned a hundred times more."""
    host(NEVER_BLOCKED)


def test_a_cancelled_start_under_asyncio_leaves_nothing(host: Host) -> None:
    host("""
import asyncio

async def main():
    scheduler = make("k.db", [])
    task = asyncio.create_task(scheduler.astart())
    await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    for _ in range(2000):
        if scheduler.status().state == "stopped":
            return
        await asyncio.sleep(0.005)
    raise SystemExit(scheduler.status().state)

warm("warm.db")
leaks = Leaks()
asyncio.run(main())
leaks.check()
""")


def test_jobs_inherit_the_context_of_an_asynchronous_start(host: Host) -> None:
    assert (
        host("""
import asyncio, contextvars
from kalends import Registry, Scheduler, once
import pendulum
tenant = contextvars.ContextVar("tenant")
registry = Registry()
@registry.job("tell")
def tell():
    return tenant.get()

async def main():
    tenant.set("acme")
    async with Scheduler("k.db", registry=registry, environ={}) as scheduler:
        event = await scheduler.events.create("tell", once(pendulum.datetime(2090, 1, 1)))
        execution = await scheduler.loop.trigger_now(event.id)
        while (found := await scheduler.executions.get(execution.id)).ended_at is None:
            await asyncio.sleep(0.005)
        print(found.result)

asyncio.run(main())
""")
        == "acme\n"
    )


def test_two_at_once_in_one_process_leave_nothing(host: Host) -> None:
    host("""
warm("warm.db")
leaks = Leaks()
first, second, third = [], [], []
with make("k.db", first) as one, make("k.db", second) as two, make("other.db", third) as three:
    use(three, third)
    use(one, first)
    assert two.count_events() == 2
leaks.check()
""")


@posix
def test_a_forked_child_is_told_so_and_can_start_its_own(host: Host) -> None:
    out = host("""
from kalends import ForkedError
ran = []
scheduler = make("k.db", ran).start()
use(scheduler, ran)
waiting = scheduler.events.count()
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of any fork beside threads
    child = os.fork()
if child == 0:
    try:
        calls = {
            "verb": scheduler.count_events, "proxy": lambda: scheduler.events.count().get(),
            "start": scheduler.start, "shutdown": scheduler.shutdown, "wait": scheduler.wait,
            "ref": lambda: scheduler._system.loop.ref.ask("x"),
        }
        for name, call in calls.items():
            try:
                call()
            except ForkedError as error:
                assert error.code == "FORKED"
                assert error.details["child"] == os.getpid()
            else:
                print("not told", name)
        assert scheduler.status().state == "forked"
        mine = []
        own = make("k.db", mine)
        with own:
            use(own, mine)
        print("child", len(mine) >= 5, own.status().state, flush=True)
        os._exit(0)
    except BaseException as error:
        print("child failed", repr(error), flush=True)
        os._exit(1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
use(scheduler, ran)
assert waiting.get() >= 2
scheduler.shutdown()
import apsw
assert apsw.Connection("k.db").execute("PRAGMA integrity_check").fetchall() == [("ok",)]
print("parent", scheduler.status().state)
""")
    assert out == "child True stopped\nparent stopped\n"


@posix
def test_a_forked_child_that_ends_normally_does_not_touch_its_parents_scheduler(
    host: Host,
) -> None:
    out = host("""
ran = []
scheduler = make("k.db", ran).start()
use(scheduler, ran)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    child = os.fork()
if child == 0:
    sys.exit(0)  # with all the exit functions it inherited
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
use(scheduler, ran)
scheduler.shutdown()
print("parent", scheduler.status().state)
""")
    assert out == "parent stopped\n"


@pytest.mark.parametrize("method", ["spawn", pytest.param("fork", marks=posix)])
def test_children_of_multiprocessing_run_their_own_on_the_same_file(
    host: Host, method: str
) -> None:
    out = host(
        f"""
import multiprocessing
def child(number):
    ran = []
    with make("k.db", ran) as scheduler:
        use(scheduler, ran, 2)
    print("child", number, flush=True)

if __name__ == "__main__":
    ran = []
    with make("k.db", ran) as scheduler, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        use(scheduler, ran)
        context = multiprocessing.get_context({method!r})
        children = [context.Process(target=child, args=(number,)) for number in range(2)]
        for process in children:
            process.start()
        for process in children:
            process.join(60)
            assert process.exitcode == 0
        use(scheduler, ran)
    print("parent", flush=True)
"""
    )
    assert sorted(out.split("\n")) == ["", "child 0", "child 1", "parent"]
