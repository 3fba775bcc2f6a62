"""Close the books on the last working day of each month, by the holidays of each country.

    pip install kalends[holidays]
    python examples/month_end_closing.py

Three offices close at 18:00 by their own clock. Where the last weekday of a month is a public
holiday, the closing moves to the working day before it; nobody has to remember. The year 2029 is
lived through in virtual time, so this takes a moment, not a year.
"""

from __future__ import annotations

import pendulum

from kalends import Registry, cron, current, holidays, weekdays, working_day
from kalends.testing import VirtualScheduler

jobs = Registry()

OFFICES = {"NO": "Europe/Oslo", "DE": "Europe/Berlin", "GB": "Europe/London"}


@jobs.job("books.close")
def close_books(country: str) -> str:
    """What a real job would do; its result is kept in the ledger."""
    return current().due.in_timezone(OFFICES[country]).format("YYYY-MM-DD dddd HH:mm")


def main() -> None:
    """A year of closings, and the months in which a holiday moved one of them."""
    with VirtualScheduler(registry=jobs, start=pendulum.datetime(2029, 1, 1)) as scheduler:
        for country, tz in OFFICES.items():
            closed = weekdays("sat", "sun") | holidays(country)
            scheduler.schedule_event(
                "books.close",
                cron("0 18 * * *", tz=tz) & working_day(-1, closed=closed),
                name=f"closing-{country}",
                kwargs={"country": country},
            )
        norway = scheduler.list_events(name="closing-NO").items[0]
        print(norway.trigger.describe())

        scheduler.advance_to(pendulum.datetime(2030, 1, 1))

        for event in scheduler.list_events(name="closing-*", sort="name").items:
            done = scheduler.list_executions(event_id=event.id, limit=100).items
            print(f"{event.name}: {len(done)} closings, {done[0].fate}; moved by a holiday:")
            last_weekday = cron("0 18 LW * *", tz=OFFICES[event.kwargs["country"]])
            for execution in reversed(done):
                if last_weekday.previous(execution.due.add(seconds=1)) != execution.due:
                    print(f"  {execution.result}")


if __name__ == "__main__":
    main()
