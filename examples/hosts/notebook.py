# %%
"""A notebook: cells run one after the other on an event loop that goes on in between."""

# ruff: noqa: F704, PLE1142
# mypy: disable-error-code="top-level-await"
import asyncio

import kalends
from kalends import Scheduler, every

scheduler = Scheduler("sqlite:///kalends.db")


# %% A cell that is run again registers its job again.
@kalends.job("sample")
def sample() -> int:
    """Count up."""
    samples.append(len(samples))
    return samples[-1]


samples: list[int] = []

# %% A cell may await: the loop of the notebook goes on.
await scheduler.astart()
event = await scheduler.events.create("sample", every(seconds=0.05), name="sample")

# %% While a cell waits, and between cells, events are run.
while await scheduler.executions.count(event_id=event.id, fate="succeeded") == 0:  # noqa: ASYNC110
    await asyncio.sleep(0.05)
print("events were run")

# %% Or call: the verbs wait for their answer, for a moment.
print(scheduler.get_event(event.id).name, scheduler.status().state)

# %%
report = await scheduler.ashutdown()
print(report.clean)
