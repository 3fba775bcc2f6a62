"""``why(trigger, instant)``: whether a trigger is due at an instant, and why or why not.

For every trigger and every instant there is an answer, and it agrees with the trigger:
``why(t, i).due`` is ``t.next_us(i - 1) == i``. An answer has at least one cause, each a claim that
is true by itself; all that said no are named, not the first one only. Pure, and as quick as asking
the trigger: a rule made of rules is due by what those say, and the nearest instants are one search
each way, as bounded as every search (``search``).
"""

from __future__ import annotations

import datetime as dt

from kalends.clock import MAX_US, MIN_US, to_us
from kalends.errors import ValidationFailed
from kalends.refusals import refusing
from kalends.triggers.base import Trigger, iso
from kalends.triggers.bounded import Bounded
from kalends.triggers.combine import Difference, Intersection, Union
from kalends.triggers.interval import Interval
from kalends.triggers.jitter import Jittered
from kalends.triggers.limit import Limited
from kalends.triggers.local import DAY_US
from kalends.triggers.on_days import OnDays
from kalends.triggers.once import Once
from kalends.triggers.verdicts import Cause, CauseKind, Verdict, Why
from kalends.triggers.wall import length_words, wall_of
from kalends.triggers.why_clock import clock_verdict
from kalends.triggers.zoned import ZonedTrigger

__all__ = ["why", "why_us"]


@refusing
def why(trigger: Trigger, instant: dt.datetime, *, seed: str | None = None) -> Why:
    """Whether ``trigger`` is due at ``instant`` (an aware datetime), and why; see ``Why``.

    ``seed`` is the id of the event, for a rule with jitter: with it, the delay is told exactly.
    """
    if not isinstance(trigger, Trigger):
        raise ValidationFailed(
            f"trigger must be a trigger such as every(hours=1), not {type(trigger).__name__}",
            path="trigger",
        )
    return why_us(trigger, to_us(instant), seed=seed)


def why_us(trigger: Trigger, instant_us: int, *, seed: str | None = None) -> Why:
    """As ``why``, in microseconds UTC."""
    before, after, given_up = _nearest(trigger, instant_us)
    verdict = _verdict(trigger, instant_us, seed)
    return Why(
        rule=verdict.rule,
        due=verdict.due,
        causes=verdict.causes,
        parts=verdict.parts,
        tz=verdict.tz,
        clock=verdict.clock,
        instant_us=instant_us,
        before_us=before,
        after_us=after,
        given_up=given_up,
    )


def _nearest(trigger: Trigger, at: int) -> tuple[int | None, int | None, tuple[str, ...]]:
    """The due instants next to ``at``, and the sides on which the search was given up."""
    if trigger.needs_anchor:
        return None, None, ()
    found: dict[str, int | None] = {}
    given_up = []
    sides = (("before", trigger.previous_us), ("after", trigger.next_us))
    for side, search in sides:
        try:
            found[side] = search(at)
        except ValidationFailed:  # it says that it took too many steps
            given_up.append(side)
    return found.get("before"), found.get("after"), tuple(given_up)


def _verdict(trigger: Trigger, at: int, seed: str | None) -> Verdict:
    if trigger.needs_anchor:
        words = "The rule counts from an instant that it has not been given yet: give it an anchor."
        return _no(trigger, Cause(CauseKind.UNANCHORED, words))
    if not MIN_US <= at <= MAX_US:
        words = "Nothing is due before the year 1 or after the year 9999."
        return _no(trigger, Cause(CauseKind.OUTSIDE, words))
    return _judge(trigger, at, seed)


def _judge(rule: Trigger, at: int, seed: str | None) -> Verdict:
    """The verdict of a rule that has its anchor, on an instant that there is."""
    match rule:
        case ZonedTrigger():
            return clock_verdict(rule, at)
        case Once():
            return _once(rule, at)
        case Interval():
            return _interval(rule, at)
        case Union() | Intersection():
            return _several(rule, at, seed)
        case Difference():
            return _difference(rule, at, seed)
        case OnDays() | Bounded() | Limited():
            return _changed(rule, at, seed)
        case Jittered():
            return _jittered(rule, at, seed)
    due = rule.next_us(at - 1) == at
    kind = CauseKind.MATCH if due else CauseKind.UNKNOWN
    return Verdict(rule.describe(), due, (Cause(kind, f"The rule is {_is(due)}due then."),))


def _once(rule: Once, at: int) -> Verdict:
    if at == rule.at_us:
        cause = Cause(CauseKind.MATCH, "It is the one instant of the rule.")
        return Verdict(rule.describe(), True, (cause,))
    apart = length_words(abs(rule.at_us - at))
    side = "later" if rule.at_us > at else "earlier"
    words = f"The rule is due once only, at {iso(rule.at_us)}, which is {apart} {side}."
    return _no(rule, Cause(CauseKind.INSTANT, words, value=iso(at), allowed=iso(rule.at_us)))


def _interval(rule: Interval, at: int) -> Verdict:
    assert rule.anchor_us is not None  # a rule without one is not asked
    past = (at - rule.anchor_us) % rule.period_us
    period = length_words(rule.period_us)
    counted = f"one every {period}, counted from {iso(rule.anchor_us)}"
    if not past:
        cause = Cause(CauseKind.MATCH, f"The rule has {counted}, and this is one of them.")
        return Verdict(rule.describe(), True, (cause,))
    words = (
        f"The rule has {counted}: this is {length_words(past)} after one of them and "
        f"{length_words(rule.period_us - past)} before the next."
    )
    return _no(rule, Cause(CauseKind.PERIOD, words, "period", length_words(past), period))


def _several(rule: Union | Intersection, at: int, seed: str | None) -> Verdict:
    """Union and intersection: the causes are the parts that decided it, each with its own."""
    parts = tuple(_judge(part, at, seed) for part in rule.rules)
    due = (any if isinstance(rule, Union) else all)(part.due for part in parts)
    causes = []
    for number, part in enumerate(parts, 1):
        if part.due == due:
            told = " ".join(cause.words for cause in part.causes)
            words = f"Part {number} ({part.rule}) is {_is(due)}due. {told}"
            causes.append(Cause(CauseKind.PART, words, str(number), part.clock, part.rule))
    return Verdict(rule.describe(), due, tuple(causes), parts, *_shared_clock(parts))


def _difference(rule: Difference, at: int, seed: str | None) -> Verdict:
    """Due if the rule is and what is taken out of it is not."""
    parts = one, minus = _judge(rule.rule, at, seed), _judge(rule.minus, at, seed)
    causes = one.causes
    if one.due and minus.due:
        words = f"The rule is due, but what is taken out of it is due too: {minus.rule}."
        causes = (Cause(CauseKind.EXCLUDED, words, allowed=minus.rule),)
    due = one.due and not minus.due
    return Verdict(rule.describe(), due, causes, parts, one.tz, one.clock)


def _changed(rule: OnDays | Bounded | Limited, at: int, seed: str | None) -> Verdict:
    """A rule that takes instants away from one other."""
    if isinstance(rule, OnDays):
        cause = _other_day(rule, at)
    else:
        cause = _outside(rule, at) if isinstance(rule, Bounded) else _beyond(rule, at)
    part = _judge(rule.rule, at, seed)
    causes: tuple[Cause, ...] = () if cause is None else (cause,)
    if cause is None or not part.due:
        causes += part.causes
    due = part.due and cause is None
    return Verdict(rule.describe(), due, causes, (part,), part.tz, part.clock)


def _other_day(rule: OnDays, at: int) -> Cause | None:
    """Why ``rule`` does not run on the day of ``at``; None where it may."""
    day = rule.day_of(at)
    has = rule.days.has(day)
    if has == rule.keep:
        return None
    date = wall_of(day * DAY_US).date
    kind = rule.days.describe()
    if rule.keep:
        words = f"{date} is none of the days that the rule keeps to: {kind}."
        return Cause(CauseKind.OTHER_DAY, words, value=date, allowed=kind)
    name = rule.days.name(day)
    words = f"{date} is left out{'' if name == date else f': {name}'} ({kind})."
    return Cause(CauseKind.EXCLUDED_DAY, words, value=f"{date} {name}", allowed=kind)


def _outside(rule: Bounded, at: int) -> Cause | None:
    if rule.start_us is not None and at < rule.start_us:
        words = f"The rule begins at {iso(rule.start_us)}, which is later."
        return Cause(CauseKind.START, words, "start", iso(at), iso(rule.start_us))
    if rule.end_us is not None and at >= rule.end_us:
        words = f"The rule ends before {iso(rule.end_us)}, which is not later."
        return Cause(CauseKind.END, words, "end", iso(at), iso(rule.end_us))
    return None


def _beyond(rule: Limited, at: int) -> Cause | None:
    try:
        start, end = rule.bounds_us
    except ValidationFailed as refusal:  # counting would take too long
        return Cause(CauseKind.UNKNOWN, f"The limit cannot be told: {refusal.message}.", "n")
    one = rule.n == 1
    if at < start:
        what = "one instant of the rule is" if one else f"{rule.n} instants of the rule are"
        words = f"The {what} counted from {iso(start)} on, which is later."
        return Cause(CauseKind.START, words, "anchor", iso(at), iso(start))
    if at > end:
        last = "that is" if one else "the last of them is"
        times = "one instant" if one else f"{rule.n} instants"
        words = f"The rule is limited to {times}, and {last} {iso(end)}."
        return Cause(CauseKind.LIMIT, words, "n", iso(at), str(rule.n))
    return None


def _jittered(rule: Jittered, at: int, seed: str | None) -> Verdict:
    part = _judge(rule.rule, at, seed)
    causes = part.causes
    if part.due:
        words = f"Its execution begins up to {length_words(rule.width_us)} late (jitter)."
        if seed is not None:
            delay = length_words(rule.delay_us(at, seed))
            words = f"Its execution begins {delay} late (jitter)."
        causes = (*causes, Cause(CauseKind.JITTER, words, "jitter"))
    return Verdict(rule.describe(), part.due, causes, (part,), part.tz, part.clock)


def _no(rule: Trigger, cause: Cause) -> Verdict:
    return Verdict(rule.describe(), False, (cause,))


def _is(due: bool) -> str:
    return "" if due else "not "


def _shared_clock(parts: tuple[Verdict, ...]) -> tuple[str | None, str | None]:
    """The zone and what its clock shows, where all parts go by one."""
    shown = {(part.tz, part.clock) for part in parts}
    return shown.pop() if len(shown) == 1 else (None, None)
