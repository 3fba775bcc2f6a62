"""The line in front of an executor, against a list that is sorted each time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kalends.jobs.executors.base import Task
from kalends.jobs.executors.queue import TaskQueue
from kalends.testing.executor_contract import RecordingOwner

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(st.integers(-2, 2), max_size=4)),
        st.tuples(st.just("pop"), st.just([])),
        st.tuples(st.just("withdraw"), st.lists(st.integers(0, 9), min_size=1, max_size=2)),
    ),
    max_size=40,
)


@given(STEPS, st.integers(0, 4), st.integers(0, 2))
def test_the_queue_agrees_with_a_list_that_is_sorted_each_time(
    steps: list[tuple[str, list[int]]], limit: int, free: int
) -> None:
    owner, queue, model, made = RecordingOwner(), TaskQueue(limit), list[Task](), 0
    for step, numbers in steps:
        if step == "put":
            tasks = [owner.task(made + n, print, priority=p) for n, p in enumerate(numbers)]
            made += len(tasks)
            turned_away = queue.put(tasks, free)
            model = sorted([*model, *tasks], key=lambda task: -task.claim.priority)
            if len(model) > limit + free:
                model = [task for task in model if not task.withdrawn]
            model, rest = model[: limit + free], model[limit + free :]
            assert set(turned_away) == set(rest)
        elif step == "pop":
            wanted = next((task for task in model if not task.withdrawn), None)
            assert queue.pop() is wanted
            model = [] if wanted is None else model[model.index(wanted) + 1 :]
        else:
            for n in numbers:
                if n < len(model):
                    model[n].withdrawn = True
        assert len(queue) == len(model)
    assert queue.clear() == model
    assert len(queue) == 0
