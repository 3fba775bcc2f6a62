"""Rules by the wall clock of a time zone: what daylight saving does to them, as named choices.

A rule says which wall-clock moments match; this module says at which instants they run. A *gap* is
a stretch of wall-clock time that the clock skips:

- ``gap="edge"``: what a gap skips runs at the first whole minute after it, once for all of it;
- ``gap="shift"``: it runs later by the length of the gap, as if the clock had not been changed yet
  (RFC 5545 reads such times so);
- ``gap="skip"``: it does not run.

A *fold* is a stretch that the clock shows twice, and a time in it runs ``fold="first"``, ``"last"``
or ``"both"`` times. Two moments that come to one instant are one run.

In terms of ``Spans``: ``edge`` with ``first`` maps each matching moment through one monotone
function to its instant, and ``skip`` with ``both`` is the naive rule in each span, so ``next``,
``previous`` and ``count`` are the naive rule's with a correction at each transition. All other
pairs are the naive rule in the part of each span that counts, and a short list of what each gap
adds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any

from kalends.clock import MAX_US, MIN_US
from kalends.errors import ValidationFailed, did_you_mean
from kalends.triggers.base import Trigger
from kalends.triggers.days import year_of, year_start
from kalends.triggers.local import DAY_US, LocalRule
from kalends.triggers.moments import Moments
from kalends.triggers.zone import Spans, Zone, zone

__all__ = ["FOLDS", "GAPS", "Moments", "ZonedTrigger", "check_choice"]

GAPS = ("edge", "shift", "skip")
"""What may become of the times that a gap skips."""

FOLDS = ("first", "last", "both")
"""Which of the two times in a fold run."""

_COLD = (1, 0, 0, 0)
"""A window that holds no instant."""

_KEPT = 512
"""Gaps whose additions one rule remembers at a time."""


def check_choice(value: object, name: str, known: tuple[str, ...]) -> None:
    """Refuse what is neither None nor one of the ``known`` choices called ``name``."""
    if value is not None and (not isinstance(value, str) or value not in known):
        near = did_you_mean(value, known)
        raise ValidationFailed(
            f"{name}: unknown choice {str(value)[:40]!r}{near}; known: {', '.join(known)}",
            path=name,
        )


class ZonedTrigger(Trigger):
    """Matching wall-clock moments in a time zone. Subclasses call ``_begin`` once, in
    ``__init__``."""

    __slots__ = (
        "_added",
        "_fold",
        "_gap",
        "_per_day",
        "_plain",
        "_rule",
        "_sparse",
        "_times",
        "_window",
        "_zone",
        "fold",
        "gap",
        "tz",
    )
    _added: dict[int, tuple[int, ...]]
    _fold: str
    _gap: str
    _per_day: int
    _plain: str
    _rule: Moments
    _sparse: bool
    _times: Any
    _window: tuple[int, int, int, int]
    _zone: Zone
    fold: str | None
    gap: str | None
    tz: str

    def _begin(
        self,
        rule: Moments,
        tz: str,
        gap: str | None,
        fold: str | None,
        usual: tuple[str, str],
        sparse: bool = False,
    ) -> None:
        """Fill the slots; ``usual`` are the gap and fold where the user chose none, and ``sparse``
        says that the rule matches once a year at most."""
        check_choice(gap, "gap", GAPS)
        check_choice(fold, "fold", FOLDS)
        chosen = (gap or usual[0], fold or usual[1])
        plain = {("edge", "first"): "once", ("skip", "both"): "real"}.get(chosen, "")
        self._set(tz=tz, gap=gap, fold=fold, _gap=chosen[0], _fold=chosen[1], _plain=plain)
        self._set(_rule=rule, _zone=zone(tz), _added={})
        # For next_us, which is called more than all else together: the instants from window[0] to
        # before window[1] lie in one span and one local year; window[2] added to one gives the
        # time since that year began, and window[3] has a bit for each matching day of it. A rule
        # that matches once a year would never use a window twice; one that has no days has none.
        times = rule.times if isinstance(rule, LocalRule) else ()
        sparse = sparse or not isinstance(rule, LocalRule)
        self._set(_times=times, _per_day=len(times), _window=_COLD, _sparse=sparse)

    @property
    def zone(self) -> Zone:
        """The zone whose wall clock the rule goes by."""
        return self._zone

    @property
    def moments(self) -> Moments:
        """The wall-clock moments that match, before daylight saving."""
        return self._rule

    @property
    def dst(self) -> tuple[str, str]:
        """The gap and the fold that hold, chosen or usual."""
        return self._gap, self._fold

    def runs_in(self, spans: Spans, span: int) -> tuple[int, int]:
        """The wall-clock moments, from and to before, that run when ``span`` shows them."""
        begin, end = spans.begins[span], spans.ends[span]
        if begin < spans.highs[span]:
            if self._fold == "first":
                begin = spans.highs[span]
        elif self._gap == "edge" and begin > spans.highs[span]:
            begin = spans.fresh[span]
        return begin, min(end, spans.lows[span]) if self._fold == "last" else end

    def next_us(self, after_us: int) -> int | None:
        low, high, shift, mask = self._window
        if low <= after_us < high:
            day, rest = divmod(after_us + shift, DAY_US)
            mask >>= day
            if mask & 1:
                times = self._times
                at = bisect_right(times, rest)
                if at < self._per_day:
                    due: int = after_us - rest + times[at]
                    if due < high:
                        return due
            mask >>= 1
            if mask:
                due = (day + (mask & -mask).bit_length()) * DAY_US + self._times[0] - shift
                if due < high:
                    return due
        return self._next(max(after_us, MIN_US - 1))

    def previous_us(self, before_us: int) -> int | None:
        before = min(before_us, MAX_US + 1)
        spans = self._zone.until(before)
        if self._plain == "once":
            moment = self._rule.before(_moment(spans, before))
            due = None if moment is None else _instant(spans, moment)
        elif self._plain == "real":
            due = self._previous_real(spans, before)
        else:
            due = self._previous_chosen(spans, before)
        return due if due is not None and due >= MIN_US else None

    def count_us(self, a: int, b: int) -> int:
        a, b = max(a, MIN_US), min(b, MAX_US + 1)
        if b <= a:
            return 0
        spans = self._zone.until(b)
        if self._plain == "once":
            return self._count_once(spans, a, b)
        if self._plain == "real":
            return self._count_real(spans, a, b)
        return self._count_chosen(spans, a, b)

    def _next(self, after: int) -> int | None:
        spans = self._zone.until(after)
        while True:
            if self._plain == "once":
                moment = self._rule.at_or_after(_moment(spans, after + 1))
                due = None if moment is None else _instant(spans, moment)
            elif self._plain == "real":
                due = self._next_real(spans, after)
            else:
                due = self._next_chosen(spans, after)
            if due is not None or spans.final:
                break
            if self._rule.at_or_after(spans.end - 2 * DAY_US) is None:
                break  # the rule has ended: no need to look at the years to come
            spans = self._zone.later(spans)
        if due is None or due > MAX_US:
            return None
        if not self._sparse:
            self._open_window(spans, due)
        return due

    def _next_real(self, spans: Spans, after: int) -> int | None:
        """The first instant after ``after`` at which the wall clock matches, within ``spans``."""
        index = spans.index(after)
        moment = after + 1 + spans.offsets[index]
        found = self._rule.at_or_after(moment)
        for span in range(index, len(spans.starts)):
            begin, end = spans.begins[span], spans.ends[span]
            if span > index and begin < moment:  # a fold goes back before what was searched
                back = self._rule.at_or_after(begin)
                if back is not None and back < min(end, moment):
                    return back - spans.offsets[span]
            if found is not None and found < begin:  # it fell into a gap
                moment = begin
                found = self._rule.at_or_after(begin)
            if found is None and spans.lows[span] >= moment:
                return None
            if found is not None and found < end:
                return found - spans.offsets[span]
        return None

    def _previous_real(self, spans: Spans, before: int) -> int | None:
        """The last instant before ``before`` at which the wall clock matches."""
        index = spans.index(before - 1)
        moment = before + spans.offsets[index]
        found = self._rule.before(moment)
        for span in range(index, -1, -1):
            begin, end = spans.begins[span], spans.ends[span]
            if span < index and end > moment:  # a fold reaches beyond what was searched
                ahead = self._rule.before(end)
                if ahead is not None and ahead >= max(begin, moment):
                    return ahead - spans.offsets[span]
            if found is not None and found >= end:  # it fell into a gap
                moment = end
                found = self._rule.before(end)
            if found is None and spans.highs[span] <= moment:
                return None
            if found is not None and found >= begin:
                return found - spans.offsets[span]
        return None

    def _count_real(self, spans: Spans, a: int, b: int) -> int:
        """The naive count from the first moment to the last, corrected at each transition
        between."""
        count = self._rule.count
        first, last = spans.index(a), spans.index(b)
        start, end = a + spans.offsets[first], b + spans.offsets[last]
        total = count(start, end) - count(end, start)
        for span in range(first + 1, last + 1):
            reached, begin = spans.ends[span - 1], spans.begins[span]
            total += count(begin, reached) - count(reached, begin)
        return total

    def _count_once(self, spans: Spans, a: int, b: int) -> int:
        """The naive count, with all moments that fall into one gap counted as one."""
        start, end = _moment(spans, a), _moment(spans, b)
        total = self._rule.count(start, end)
        for span in range(spans.index(a), spans.index(b) + 1):
            high = spans.highs[span]
            if high < spans.begins[span] and start <= high < end:
                total -= max(self._rule.count(high, spans.fresh[span] + 1) - 1, 0)
        return total

    def _add(self, spans: Spans, span: int) -> tuple[int, ...]:
        """The instants that the gap before ``span`` adds to those which the clock shows, sorted."""
        low, high = spans.highs[span], spans.begins[span]
        if low >= high or self._gap == "skip":
            return ()
        key = spans.starts[span]
        added = self._added.get(key)
        if added is None:
            added = self._added_in(spans, span, low, high)
            if len(self._added) >= _KEPT:
                self._set(_added={})
            self._added[key] = added
        return added

    def _added_in(self, spans: Spans, span: int, low: int, high: int) -> tuple[int, ...]:
        rule, start, offset = self._rule, spans.starts[span], spans.offsets[span]
        if self._gap == "edge":
            edge = spans.fresh[span]
            skipped = rule.at_or_after(low)
            return () if skipped is None or skipped >= edge else self._new(span, spans, {edge})
        stop = spans.ends[span] - offset
        shifted = set()
        moment = rule.at_or_after(low)
        while moment is not None and moment < high:
            at = moment - low + start
            shifted.add((at if at < stop else start) + offset)
            moment = rule.at_or_after(moment + 1)
        return self._new(span, spans, shifted)

    def _new(self, span: int, spans: Spans, shown: set[int]) -> tuple[int, ...]:
        """The instants of the moments ``shown`` by ``span``, without those that run anyway."""
        begin, end = self.runs_in(spans, span)
        offset = spans.offsets[span]
        return tuple(
            at - offset
            for at in sorted(shown)
            if not (begin <= at < end and self._rule.count(at, at + 1))
        )

    def _next_chosen(self, spans: Spans, after: int) -> int | None:
        if self._rule.at_or_after(after - 2 * DAY_US) is None:
            return None  # the rule has ended: no need to look at every span to come
        for span in range(spans.index(after), len(spans.starts)):
            offset = spans.offsets[span]
            begin, end = self.runs_in(spans, span)
            found = self._rule.at_or_after(max(begin, after + 1 + offset))
            due = None if found is None or found >= end else found - offset
            added = self._add(spans, span)
            at = bisect_right(added, after)
            if at < len(added) and (due is None or added[at] < due):
                due = added[at]
            if due is not None:
                return due
        return None

    def _previous_chosen(self, spans: Spans, before: int) -> int | None:
        if self._rule.before(before + 2 * DAY_US) is None:
            return None
        for span in range(spans.index(before - 1), -1, -1):
            offset = spans.offsets[span]
            begin, end = self.runs_in(spans, span)
            found = self._rule.before(min(end, before + offset))
            due = None if found is None or found < begin else found - offset
            added = self._add(spans, span)
            at = bisect_left(added, before)
            if at and (due is None or added[at - 1] > due):
                due = added[at - 1]
            if due is not None:
                return due
        return None

    def _count_chosen(self, spans: Spans, a: int, b: int) -> int:
        total = 0
        for span in range(spans.index(a), spans.index(b - 1) + 1):
            offset = spans.offsets[span]
            begin, end = self.runs_in(spans, span)
            total += self._rule.count(max(begin, a + offset), min(end, b + offset))
            added = self._add(spans, span)
            total += bisect_left(added, b) - bisect_left(added, a)
        return total

    def _open_window(self, spans: Spans, due: int) -> None:
        """Remember the span and local year around ``due``, so that the next steps need no
        search."""
        rule = self._rule
        assert isinstance(rule, LocalRule)
        index = spans.index(due)
        offset = spans.offsets[index]
        year = year_of((due + offset) // DAY_US)
        start = year_start(year)
        if self._plain == "once":
            begin, stop = spans.fresh[index], spans.ends[index]
        elif self._plain == "real":
            begin, stop = spans.begins[index], spans.ends[index]
        else:
            begin, stop = self.runs_in(spans, index)
            begin = max([begin, *(at + offset for at in self._add(spans, index)[-1:])])
        end = min(stop, year_start(year + 1) * DAY_US, MAX_US + 1 + offset)
        self._set(
            _window=(
                max(begin, start * DAY_US) - offset,
                end - offset,
                offset - start * DAY_US,
                rule.days.mask(year, start),
            )
        )


def _moment(spans: Spans, at: int) -> int:
    """The first wall-clock moment whose instant, for a rule that runs once, is not before
    ``at``."""
    index = spans.index(at)
    moment = at + spans.offsets[index]
    return moment if moment > spans.fresh[index] else spans.highs[index]


def _instant(spans: Spans, moment: int) -> int | None:
    """When a rule that runs once runs what the wall clock says is ``moment``; None beyond the
    table."""
    index = bisect_right(spans.highs, moment) - 1
    if index >= len(spans.starts):
        return None
    index = max(index, 0)
    return max(moment, spans.fresh[index]) - spans.offsets[index]
