"""Kalends: a scheduler inside your process, built of supervised actors, which keeps accounts."""

from kalends.actors.housekeeper import HousekeepingReport
from kalends.backfills import Backfill
from kalends.cleanup import CleanupRule
from kalends.errors import (
    ActorCrashed, AskTimeout, BackfillNotFound, ConflictError, EventNotFound, ExecutionEnded,
    ExecutionNotFound, ForkedError, JobNotFound, KalendsError, MailboxFull, NotInitialized,
    PayloadTooLarge, SchedulerFailed, StorageRefused, StorageUnavailable, TransitionError,
    ValidationFailed, VersionConflict,
)  # fmt: skip
from kalends.explanation import Explanation, Standing
from kalends.futures import Future
from kalends.jobs.context import ExecutionContext, current
from kalends.jobs.handler import JobLogHandler
from kalends.jobs.registry import Registry, default_registry
from kalends.jobs.requests import Cancel, Retry, Snooze
from kalends.model import (
    Attempt, Event, EventStatus, Execution, Failure, Fate, Gap, JournalEntry, JournalKind,
    LogLine, NextSkipped, Page, Reason,
)  # fmt: skip
from kalends.notices import Notice, NoticeKind, Subscription
from kalends.outlook import HeatMap, NextRun, Overdue, OverdueCause
from kalends.policies import CatchUp, Delivery, Overlap, Policies, RetryBackoff
from kalends.reconciliation import DeclaredAction, DeclaredEvent, Reconciliation
from kalends.report import Report
from kalends.result import Result
from kalends.scheduler import Scheduler, SchedulerStatus
from kalends.settings import Settings
from kalends.shutdown import ShutdownReport
from kalends.triggers import (
    Trigger, calendar, cron, dates, every, holidays, once, rrule, weekdays, working_day,
)  # fmt: skip
from kalends.verification import Verification, Violation, ViolationKind

job = default_registry.job
scheduled = default_registry.scheduled

__all__ = [
    "ActorCrashed", "AskTimeout", "Attempt", "Backfill", "BackfillNotFound", "Cancel",
    "CatchUp", "CleanupRule", "ConflictError", "DeclaredAction", "DeclaredEvent", "Delivery",
    "Event", "EventNotFound", "EventStatus", "Execution", "ExecutionContext", "ExecutionEnded",
    "ExecutionNotFound", "Explanation", "Failure", "Fate", "ForkedError", "Future", "Gap",
    "HeatMap", "HousekeepingReport", "JobLogHandler", "JobNotFound", "JournalEntry",
    "JournalKind", "KalendsError", "LogLine", "MailboxFull", "NextRun", "NextSkipped",
    "NotInitialized", "Notice", "NoticeKind", "Overdue", "OverdueCause", "Overlap", "Page",
    "PayloadTooLarge", "Policies", "Reason", "Reconciliation", "Registry", "Report", "Result",
    "Retry", "RetryBackoff", "Scheduler", "SchedulerFailed", "SchedulerStatus", "Settings",
    "ShutdownReport", "Snooze", "Standing", "StorageRefused", "StorageUnavailable",
    "Subscription", "TransitionError", "Trigger", "ValidationFailed", "Verification",
    "VersionConflict", "Violation", "ViolationKind", "calendar", "cron", "current", "dates",
    "every", "holidays", "job", "once", "rrule", "scheduled", "weekdays", "working_day",
]  # fmt: skip
