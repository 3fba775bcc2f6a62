"""Two nights on which the clock changes: what three rules make of them, and why.

    python examples/a_daylight_saving_night.py

In Oslo the clock skips 02:00 to 03:00 on 28 March 2027, and shows 02:00 to 03:00 twice on 31
October. A job at half past two would run at no time on the one night, and twice on the other. What
it does instead is said when the event is made, and can be asked for afterwards. Both nights are
lived through in virtual time.
"""

from __future__ import annotations

import pendulum

from kalends import Event, Registry, cron
from kalends.testing import VirtualScheduler

OSLO = "Europe/Oslo"

jobs = Registry()


@jobs.job("backup")
def backup() -> None:
    """Whatever has to be done at half past two."""


def local(instant: pendulum.DateTime) -> str:
    """An instant by the clock on the wall, with the offset that tells 02:30 from 02:30."""
    return instant.in_timezone(OSLO).format("HH:mm Z")


def night(scheduler: VirtualScheduler, events: list[Event], day: pendulum.DateTime) -> None:
    """Live through a night, and show at what times each event ran between one and four."""
    scheduler.advance_to(day.at(12))
    print(f"\n{day.format('D MMMM')}")
    for event in events:
        page = scheduler.list_executions(event_id=event.id, since=day.at(1), until=day.at(4))
        times = ", ".join(local(one.due) for one in reversed(page.items))
        print(f"  {event.name:<9} {times or 'not at all'}")


def main() -> None:
    """Make the events, live through the nights, ask why."""
    with VirtualScheduler(registry=jobs, start=pendulum.datetime(2027, 3, 27)) as scheduler:
        rules = {
            # A fixed time, as in Debian's cron: once after the gap, and only the first time.
            "backup": cron("30 2 * * *", tz=OSLO),
            # By name: not in the gap, and both times.
            "strict": cron("30 2 * * *", tz=OSLO, gap="skip", fold="both"),
            # A wildcard follows real time: every half hour, whatever the clock shows.
            "half-hour": cron("*/30 * * * *", tz=OSLO),
        }
        events = [
            scheduler.schedule_event("backup", rule, name=name) for name, rule in rules.items()
        ]
        # Whoever makes an event that meets a change within a year is told so, with the dates.
        for event in events[:2]:
            for warning in event.warnings:
                print(f"{event.name}: {warning.words}")

        spring = pendulum.datetime(2027, 3, 28, tz=OSLO)
        night(scheduler, events, spring)
        print("  why at three?")
        for sentence in scheduler.explain(events[0].id, spring.at(3)).sentences[:2]:
            print(f"    {sentence}")

        night(scheduler, events, pendulum.datetime(2027, 10, 31, tz=OSLO))
        print("  why only once?")
        # 02:30 for the second time: an instant of its own, an hour after the first.
        second = pendulum.datetime(2027, 10, 31, 1, 30)
        for sentence in scheduler.explain(events[0].id, second).sentences[:2]:
            print(f"    {sentence}")


if __name__ == "__main__":
    main()
