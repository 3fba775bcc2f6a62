"""Metrics for Prometheus: what schedulers do, as a collector of ``prometheus_client``.

``pip install kalends[metrics]``, then ``SchedulerMetrics().watch(scheduler)``. Counters and
histograms are counted as executions end in this process (every process exposes its own, as
Prometheus wants it); gauges are read when somebody scrapes. Counting waits for nothing and drops
nothing. No metric has a label for events, of which there may be millions; ``scheduler`` is the name
given to ``watch``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kalends.errors import ConflictError, KalendsError, ValidationFailed
from kalends.notices import Notice, NoticeKind, Sink
from kalends.scheduler import Scheduler, SchedulerStatus
from kalends.validation import MAX_NAME, text

__all__ = ["SchedulerMetrics"]

_LATENESS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0)
_DURATION = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
_STATES = ("new", "starting", "running", "degraded", "failed", "stopping", "stopped", "forked")


class SchedulerMetrics(Collector):
    """The metrics of the schedulers it watches. ``registry=None``: it is registered nowhere.

    One is enough for any number of schedulers: a second one on the same registry is refused with
    ``ConflictError``.
    """

    def __init__(self, registry: CollectorRegistry | None = REGISTRY) -> None:
        self._watched: dict[str, tuple[Scheduler, _Counting]] = {}
        by_job = ["scheduler", "job"]
        self.executions = Counter(
            "kalends_executions", "Executions that have ended, by fate.",
            [*by_job, "fate", "reason"], registry=None,
        )  # fmt: skip
        self.retries = Counter(
            "kalends_retries", "Attempts that another one follows.", by_job, registry=None
        )
        self.skipped = Counter(
            "kalends_instants_skipped", "Instants that were skipped without a row of their own.",
            ["scheduler", "reason"], registry=None,
        )  # fmt: skip
        self.lateness = Histogram(
            "kalends_lateness_seconds", "From the instant an attempt was to begin to its begin.",
            by_job, buckets=_LATENESS, registry=None,
        )  # fmt: skip
        self.duration = Histogram(
            "kalends_duration_seconds", "From the begin of an attempt to its end.",
            by_job, buckets=_DURATION, registry=None,
        )  # fmt: skip
        if registry is not None:
            if not isinstance(registry, CollectorRegistry):
                raise ValidationFailed(
                    "registry must be a prometheus_client.CollectorRegistry or None",
                    path="registry",
                )
            self._register(registry)

    def _register(self, registry: CollectorRegistry) -> None:
        try:
            registry.register(self)
        except ValueError as error:
            raise ConflictError(
                "the registry has metrics of these names already: watch(scheduler, name) with the "
                "SchedulerMetrics that is there, or pass another registry",
                path="registry",
            ) from error

    def watch(self, scheduler: Scheduler, name: str = "default") -> None:
        """Count what this scheduler does from now on, also before it is started and when it is
        started again.

        Raises ``ConflictError`` where another one of that name is watched.
        """
        if not isinstance(scheduler, Scheduler):
            raise ValidationFailed("scheduler must be a kalends.Scheduler", path="scheduler")
        name = text(name, "name", MAX_NAME)
        if name in self._watched:
            raise ConflictError(f"a scheduler named {name!r} is watched already", path="name")
        counting = _Counting(self, name)
        self._watched[name] = scheduler, counting
        scheduler.notices.add(counting)

    def forget(self, name: str = "default") -> None:
        """Watch it no longer, if it was watched. What was counted stays."""
        watched = self._watched.pop(text(name, "name", MAX_NAME), None)
        if watched is not None:
            watched[0].notices.remove(watched[1])

    # -- what prometheus_client asks -----------------------------------------------------------

    def describe(self) -> Iterable[Metric]:
        """The metrics without samples: to be registered must not cost a look at a scheduler."""
        for counted in self._counted():
            yield from counted.describe()
        yield from _Gauges().families

    def collect(self) -> Iterator[Metric]:
        """What was counted, and how the schedulers are now."""
        for counted in self._counted():
            yield from counted.collect()
        gauges = _Gauges()
        for name, (scheduler, _) in list(self._watched.items()):
            gauges.read(name, scheduler)
        yield from gauges.families

    def _counted(self) -> tuple[Counter | Histogram, ...]:
        return self.executions, self.retries, self.skipped, self.lateness, self.duration


class _Counting(Sink):
    """Counts the notices of one scheduler."""

    def __init__(self, metrics: SchedulerMetrics, name: str) -> None:
        super().__init__(
            (
                NoticeKind.EXECUTION_ENDED,
                NoticeKind.EXECUTION_RETRIED,
                NoticeKind.INSTANTS_SKIPPED,
            )
        )
        self._metrics = metrics
        self._name = name

    def offer(self, notice: Notice) -> None:
        """Count one notice."""
        metrics, name, job = self._metrics, self._name, notice.job or ""
        if notice.kind == NoticeKind.INSTANTS_SKIPPED:
            metrics.skipped.labels(name, notice.reason or "").inc(notice.details["count"])
            return
        if notice.kind == NoticeKind.EXECUTION_RETRIED:
            metrics.retries.labels(name, job).inc()
        else:
            metrics.executions.labels(name, job, notice.fate or "", notice.reason or "").inc()
        if notice.lateness is not None:
            metrics.lateness.labels(name, job).observe(max(0.0, notice.lateness))
        if notice.duration is not None:
            metrics.duration.labels(name, job).observe(notice.duration)


class _Gauges:
    """How schedulers are now, as metric families."""

    def __init__(self) -> None:
        self.state = _gauge("state", "1 for the state it is in.", "state")
        self.storage = _gauge("storage_ok", "1 where the database takes transactions.")
        self.claims = _gauge("open_claims", "Executions claimed and not ended.")
        self.unrecorded = _gauge("unrecorded_outcomes", "Outcomes that are not durable yet.")
        self.overdue = _gauge(
            "oldest_overdue_seconds", "For how long what should have its fate by now has none."
        )
        self.commits = _counter("commits", "Transactions committed since the start.")
        self.stalls = _counter("hub_stalls", "How often something has held the hub's thread.")
        self.waiting = _gauge("mailbox_length", "Messages that wait for an actor.", "actor")
        self.age = _gauge("mailbox_oldest_seconds", "Age of the oldest of them.", "actor")
        self.messages = _counter("messages", "Messages an actor has received.", "actor")
        self.restarts = _counter("restarts", "How often an actor was restarted.", "actor")
        self.running = _gauge("executor_running", "Jobs that run on an executor.", "executor")
        self.queued = _gauge("executor_queued", "Jobs that wait for a place on it.", "executor")
        self.capacity = _gauge("executor_capacity", "Jobs that can run at once.", "executor")

    @property
    def families(self) -> list[Metric]:
        """All of them."""
        return list(vars(self).values())

    def read(self, name: str, scheduler: Scheduler) -> None:
        """Read one scheduler."""
        status = scheduler.status()
        for state in _STATES:
            self.state.add_metric([name, state], float(status.state == state))
        self.storage.add_metric([name], float(status.storage == "ok"))
        self.claims.add_metric([name], status.in_flight)
        self.unrecorded.add_metric([name], status.unrecorded)
        self.commits.add_metric([name], status.commits)
        self.stalls.add_metric([name], status.stalls)
        self._read_parts(name, status)
        try:
            oldest = scheduler.executions.overdue(0.0, limit=1).get(timeout=5.0)
        except KalendsError:
            return  # it is not running, or its database is away: storage_ok says so
        since = max(((status.at - item.since).total_seconds() for item in oldest), default=0.0)
        self.overdue.add_metric([name], max(0.0, since))

    def _read_parts(self, name: str, status: SchedulerStatus) -> None:
        for actor in status.actors:
            self.waiting.add_metric([name, actor.name], actor.waiting)
            self.age.add_metric([name, actor.name], actor.oldest_age)
            self.messages.add_metric([name, actor.name], actor.received)
            self.restarts.add_metric([name, actor.name], actor.restarts)
        for executor in status.executors:
            self.running.add_metric([name, executor.name], executor.running)
            self.queued.add_metric([name, executor.name], executor.queued)
            self.capacity.add_metric([name, executor.name], executor.capacity)


def _gauge(name: str, says: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"kalends_{name}", says, labels=["scheduler", *labels])


def _counter(name: str, says: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"kalends_{name}", says, labels=["scheduler", *labels])
