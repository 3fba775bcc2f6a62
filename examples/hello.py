"""The smallest whole program: one job, one event, its accounts. Run it twice: the event is kept."""

import kalends
from kalends import Scheduler, every


@kalends.job("greet")
def greet(name: str) -> str:
    return f"hello, {name}"


with Scheduler("sqlite:///kalends.db") as scheduler:
    scheduler.schedule_event(
        "greet", every(seconds=0.5), name="greeting", kwargs={"name": "Ada"}, on_conflict="keep"
    )
    scheduler.wait(timeout=2)
    for execution in scheduler.list_executions(fate="succeeded", limit=3).items:
        print(execution.due, execution.fate, execution.result, f"{execution.lateness:.4f} s late")
