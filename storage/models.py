"""The tables, as Peewee models. Private to ``storage``: rows never leave it.

The models are bound to no database: every query names the one it runs on, so any number of
schedulers in a process use them at once. Instants are integer microseconds UTC; JSON is text. Keys
are UUID version 7 and sort by time.
"""

from __future__ import annotations

from peewee import (
    SQL,
    BigIntegerField,
    CompositeKey,
    DoubleField,
    Expression,
    IntegerField,
    Model,
    Node,
    TextField,
)

__all__ = [
    "ATTEMPT_RUNS_ON",
    "CALLED_OFF",
    "LIMITED_EVENTS",
    "LIVING_EVENTS",
    "STILL_RUNNING",
    "TABLES",
    "UNWELL_ROWS",
    "AttemptRow",
    "DefinitionRow",
    "EventRow",
    "ExecutionRow",
    "GapRow",
    "JournalRow",
    "MetaRow",
    "NodeRow",
    "TagRow",
]


_ZERO: list[Node] = [SQL("DEFAULT 0")]
"""The default of columns that came with a later schema, as an older database gets them, too."""


class MetaRow(Model):
    """Facts about the database itself, the schema version among them."""

    key = TextField(primary_key=True)
    value = TextField()

    class Meta:
        table_name = "kalends_meta"


class EventRow(Model):
    """One event. ``next_due`` is the first instant without a fate; ``rule_since`` when its trigger
    was set; ``streak_since`` from when on its failures in a row are counted. ``limit_name``,
    ``priority`` and ``serial`` (0 under ``overlap="allow_all"``) are copies of its policies, for
    the queries that look for what may begin. ``declared_by`` names the application that has it in
    its code.
    """

    id = TextField(primary_key=True)
    name = TextField()
    job = TextField()
    arguments = TextField()
    trigger = TextField()
    policies = TextField()
    tags = TextField()
    status = TextField()
    note = TextField(null=True)
    status_note = TextField(null=True)
    paused_until = BigIntegerField(null=True)
    next_due = BigIntegerField(null=True)
    accounted_from = BigIntegerField()
    rule_since = BigIntegerField()
    streak_since = BigIntegerField(constraints=_ZERO)
    limit_name = TextField(null=True)
    priority = IntegerField(constraints=_ZERO)
    serial = IntegerField(constraints=[SQL("DEFAULT 1")])
    version = IntegerField()
    created_at = BigIntegerField()
    updated_at = BigIntegerField()
    declared_by = TextField(null=True)

    class Meta:
        table_name = "events"


EventRow.add_index(
    EventRow.index(
        EventRow.status, EventRow.next_due, EventRow.id, EventRow.limit_name, name="events_due"
    )
)
LIMITED_EVENTS = Expression(EventRow.status, "=", SQL("'active'")) & EventRow.limit_name.is_null(
    False
)
"""What the index ``events_limited`` is about: a query that is to use it says it like this."""

EventRow.add_index(
    EventRow.index(
        EventRow.limit_name,
        EventRow.priority.desc(),
        EventRow.next_due,
        where=LIMITED_EVENTS,
        name="events_limited",
    )
)
LIVING_EVENTS = Expression(EventRow.status, "!=", SQL("'deleted'"))
"""What the index ``events_name`` is about: a query that is to use it says it like this."""

EventRow.add_index(
    EventRow.index(EventRow.name, unique=True, where=LIVING_EVENTS, name="events_name")
)
EventRow.add_index(EventRow.index(EventRow.job, name="events_job"))
EventRow.add_index(
    EventRow.index(
        EventRow.declared_by,
        where=EventRow.declared_by.is_null(False),
        name="events_declared",
    )
)
EventRow.add_index(
    EventRow.index(
        EventRow.paused_until,
        where=EventRow.paused_until.is_null(False),
        name="events_pause_ends",
    )
)


class DefinitionRow(Model):
    """A rule that an event no longer has: it accounted for the instants in ``since <= due <=
    until``.
    """

    event_id = TextField()
    version = IntegerField()
    trigger = TextField()
    since = BigIntegerField()
    until = BigIntegerField()

    class Meta:
        table_name = "definitions"
        primary_key = CompositeKey("event_id", "version")


class TagRow(Model):
    """One tag of one event."""

    tag = TextField()
    event_id = TextField()

    class Meta:
        table_name = "tags"
        primary_key = CompositeKey("tag", "event_id")


class ExecutionRow(Model):
    """One due instant with its fate. It also holds its latest attempt; earlier ones are
    ``AttemptRow``.

    While it waits for an attempt, ``ready_at`` is when that may begin; ``attempt`` is 0 where none
    has begun. ``cancel`` is a ``Mark`` of ``called_off``: whoever runs it is to be told to stop;
    ``still_running`` says that its job had not ended when its fate was written. ``batch`` names the
    backfill it belongs to. ``progress``, ``note`` and ``log`` are what its attempt has told.
    """

    id = TextField(primary_key=True)
    event_id = TextField()
    due = BigIntegerField()
    version = IntegerField()
    fate = TextField()
    reason = TextField(null=True)
    attempt = IntegerField()
    node = TextField(null=True)
    claimed_at = BigIntegerField()
    started_at = BigIntegerField(null=True)
    ended_at = BigIntegerField(null=True)
    result = TextField(null=True)
    result_note = TextField(null=True)
    error = TextField(null=True)
    manual = IntegerField(default=0)
    ready_at = BigIntegerField(null=True)
    moved_to = BigIntegerField(null=True)
    priority = IntegerField(constraints=_ZERO)
    limit_name = TextField(null=True)
    batch = TextField(null=True)
    cancel = IntegerField(constraints=_ZERO)
    still_running = IntegerField(constraints=_ZERO)
    progress = DoubleField(null=True)
    note = TextField(null=True)
    log = TextField(null=True)

    class Meta:
        table_name = "executions"


STILL_RUNNING = Expression(ExecutionRow.still_running, "=", SQL("1"))
"""What the index ``executions_still_running`` is about: a query that is to use it says it so."""

ExecutionRow.add_index(
    ExecutionRow.index(ExecutionRow.event_id, ExecutionRow.due, unique=True, name="executions_due")
)
ExecutionRow.add_index(ExecutionRow.index(ExecutionRow.due, name="executions_time"))
ExecutionRow.add_index(
    ExecutionRow.index(
        ExecutionRow.event_id,
        ExecutionRow.attempt,
        where=ExecutionRow.ended_at.is_null(),
        name="executions_open",
    )
)
ExecutionRow.add_index(
    ExecutionRow.index(
        ExecutionRow.ready_at,
        where=ExecutionRow.node.is_null() & ExecutionRow.ended_at.is_null(),
        name="executions_unowned",
    )
)
ExecutionRow.add_index(
    ExecutionRow.index(
        ExecutionRow.event_id,
        ExecutionRow.ready_at,
        ExecutionRow.due,
        where=ExecutionRow.node.is_null() & ExecutionRow.ended_at.is_null(),
        name="executions_line",
    )
)
ExecutionRow.add_index(
    ExecutionRow.index(
        ExecutionRow.limit_name,
        where=ExecutionRow.limit_name.is_null(False)
        & ExecutionRow.node.is_null(False)
        & ExecutionRow.ended_at.is_null(),
        name="executions_limited",
    )
)
ExecutionRow.add_index(
    ExecutionRow.index(ExecutionRow.node, where=STILL_RUNNING, name="executions_still_running")
)
ExecutionRow.add_index(
    ExecutionRow.index(
        ExecutionRow.batch,
        ExecutionRow.due,
        where=ExecutionRow.batch.is_null(False),
        name="executions_batch",
    )
)
CALLED_OFF = Expression(ExecutionRow.cancel, "!=", SQL("0")) & ExecutionRow.ended_at.is_null()
"""What the index ``executions_called_off`` is about: a query that is to use it says it so."""

ExecutionRow.add_index(
    ExecutionRow.index(ExecutionRow.node, where=CALLED_OFF, name="executions_called_off")
)
UNWELL_ROWS = Expression(
    ExecutionRow.fate, "!=", SQL("'succeeded'")
) & ExecutionRow.ended_at.is_null(False)
"""What the index ``executions_unwell`` is about: a query that is to use it says it like this."""

ExecutionRow.add_index(
    ExecutionRow.index(
        ExecutionRow.fate, ExecutionRow.due, where=UNWELL_ROWS, name="executions_unwell"
    )
)


class AttemptRow(Model):
    """An attempt that was followed by another one; its job may still run."""

    execution_id = TextField()
    number = IntegerField()
    node = TextField(null=True)
    claimed_at = BigIntegerField()
    started_at = BigIntegerField(null=True)
    ended_at = BigIntegerField(null=True)
    outcome = TextField()
    error = TextField(null=True)
    progress = DoubleField(null=True)
    note = TextField(null=True)
    log = TextField(null=True)
    still_running = IntegerField(constraints=_ZERO)

    class Meta:
        table_name = "attempts"
        primary_key = CompositeKey("execution_id", "number")


ATTEMPT_RUNS_ON = Expression(AttemptRow.still_running, "=", SQL("1"))
"""What the index ``attempts_still_running`` is about: a query that is to use it says it so."""

AttemptRow.add_index(
    AttemptRow.index(AttemptRow.node, where=ATTEMPT_RUNS_ON, name="attempts_still_running")
)


class GapRow(Model):
    """``count`` consecutive due instants from ``first`` to ``last`` that share one fate."""

    id = TextField(primary_key=True)
    event_id = TextField()
    first = BigIntegerField()
    last = BigIntegerField()
    count = BigIntegerField()
    fate = TextField()
    reason = TextField(null=True)
    into = BigIntegerField(null=True)
    version = IntegerField()
    recorded_at = BigIntegerField()
    node = TextField(null=True)

    class Meta:
        table_name = "gaps"


GapRow.add_index(GapRow.index(GapRow.event_id, GapRow.last, name="gaps_span"))
GapRow.add_index(GapRow.index(GapRow.last, name="gaps_time"))


class JournalRow(Model):
    """One line of the journal."""

    id = TextField(primary_key=True)
    at = BigIntegerField()
    kind = TextField()
    event_id = TextField(null=True)
    node = TextField(null=True)
    author = TextField(null=True)
    note = TextField(null=True)
    details = TextField()

    class Meta:
        table_name = "journal"


JournalRow.add_index(
    JournalRow.index(
        JournalRow.event_id,
        JournalRow.id,
        where=JournalRow.event_id.is_null(False),
        name="journal_event",
    )
)


class NodeRow(Model):
    """One process that shares the database, alive while ``lease_until`` lies ahead."""

    id = TextField(primary_key=True)
    place = TextField()
    pid = IntegerField()
    started_at = BigIntegerField()
    lease_until = BigIntegerField()

    class Meta:
        table_name = "nodes"


TABLES: tuple[type[Model], ...] = (
    MetaRow,
    EventRow,
    DefinitionRow,
    TagRow,
    ExecutionRow,
    AttemptRow,
    GapRow,
    JournalRow,
    NodeRow,
)
