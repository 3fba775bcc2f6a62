"""Reading compiled time zones: the forms that few or no zones of today's tzdata use."""

from __future__ import annotations

import datetime as dt
import io
import struct
import zoneinfo

import pytest

from kalends.clock import US
from kalends.errors import ValidationFailed
from kalends.triggers import tzif
from kalends.triggers.zone import Zone, zone

_TYPES = [(3_600, False), (7_200, True)]
_STAMPS = [(1_000_000_000, 1), (1_010_000_000, 0)]


def _file(footer: str | None, stamps: list[tuple[int, int]]) -> bytes:
    """A TZif file of version 1 (no footer) or 2."""

    def block(version: bytes, width: int) -> bytes:
        head = struct.pack(">4sc15x6I", b"TZif", version, 0, 0, 0, len(stamps), 2, 4)
        times = b"".join(struct.pack(">q" if width == 8 else ">l", at) for at, _ in stamps)
        kinds = bytes(kind for _, kind in stamps)
        types = b"".join(struct.pack(">l?B", offset, summer, 0) for offset, summer in _TYPES)
        return head + times + kinds + types + b"ABC\0"

    if footer is None:
        return block(b"\0", 4)
    return block(b"2", 4) + block(b"2", 8) + f"\n{footer}\n".encode()


@pytest.mark.parametrize(
    "footer",
    [
        "AAA-1",
        "AAA-1BBB,M3.5.0,M10.5.0/3",
        "AAA-1BBB-3,J60/0,J300",
        "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",
        "<+0330>-3:30<+0430>,J79/24,J263/24",
        "AAA-1BBB-0:30:15,M1.1.1/49:30:15,M11.5.6/167",
    ],
)
@pytest.mark.parametrize("stamps", [_STAMPS, []], ids=["listed", "bare"])
def test_a_zone_file_is_read_as_zoneinfo_reads_it(
    footer: str | None, stamps: list[tuple[int, int]]
) -> None:
    data = _file(footer, stamps)
    spans = Zone("Made/Up", tzif.parse(data)).spans
    peer = zoneinfo.ZoneInfo.from_file(io.BytesIO(data))
    for at in range(-2_000_000_000, 4_000_000_000, 7_654_321):
        shown = dt.datetime.fromtimestamp(at, peer).utcoffset()
        assert shown == dt.timedelta(microseconds=spans.offsets[spans.index(at * US)])


@pytest.mark.parametrize("footer", [None, ""])
def test_without_a_rule_the_last_offset_stays(footer: str | None) -> None:
    data = _file(footer, _STAMPS)
    spans = Zone("Made/Up", tzif.parse(data)).spans
    assert spans.final
    assert spans.offsets == [3_600 * US, 7_200 * US, 3_600 * US]
    assert spans.starts[1:] == [1_000_000_000 * US, 1_010_000_000 * US]


def test_days_without_a_letter_count_from_zero_and_through_29_february() -> None:
    # POSIX says so; zoneinfo counts them from one (CPython 3.11), and no zone of tzdata has any.
    footer = tzif.parse_footer("AAA0BBB,59/0,299/-5:30")
    found = [
        dt.datetime.fromtimestamp(at, dt.UTC).isoformat()
        for at, _ in tzif.footer_transitions(footer, 2023, 2024)
    ]
    assert found == [
        "2023-03-01T00:00:00+00:00",
        "2023-10-26T17:30:00+00:00",
        "2024-02-29T00:00:00+00:00",
        "2024-10-25T17:30:00+00:00",
    ]


def test_a_change_may_fall_into_the_next_year() -> None:
    footer = tzif.parse_footer("AAA0BBB,M3.1.0/0,M12.5.6/167")
    ends = [at for at, east in tzif.footer_transitions(footer, 2014, 2014) if east == 0]
    assert dt.datetime.fromtimestamp(ends[0], dt.UTC).isoformat() == "2015-01-02T22:00:00+00:00"


def test_daylight_time_all_year_has_no_transitions() -> None:
    data = _file("AAA3BBB,0/0,J365/25", [])
    spans = Zone("Made/Up", tzif.parse(data)).until(0)
    year_2020 = 1_577_836_800 * US
    late = spans.index(year_2020)
    assert spans.offsets[late] == -2 * 3_600 * US
    assert spans.index(year_2020 + 300 * 86_400 * US) == late


@pytest.mark.parametrize("text", ["x", "AAA", "AAA-1BBB", "AAA-1BBB,M3.5.0", "AAA-1,"])
def test_a_footer_that_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="POSIX"):
        tzif.parse_footer(text)


def test_a_file_that_is_no_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="TZif"):
        tzif.parse(b"#" * 100)
    with pytest.raises(struct.error):
        tzif.parse(b"TZ")


def test_without_system_files_the_tzdata_package_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = tzif.load("Europe/Oslo")
    monkeypatch.setattr(zoneinfo, "TZPATH", ())
    packaged = tzif.load("Europe/Oslo")
    assert packaged.footer == listed.footer
    with pytest.raises(KeyError):
        tzif.load("Mars/Phobos")


@pytest.mark.parametrize("name", ["localtime", "posixrules", "Factory", "LOCALTIME"])
def test_a_name_that_depends_on_the_machine_is_refused(name: str) -> None:
    with pytest.raises(ValidationFailed, match="depends on the machine") as refused:
        zone(name)
    assert refused.value.details["path"] == "tz"


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("local", ""),
        ("CEST", ""),
        ("factor", ""),
        ("Europe/Olso", " (did you mean 'Europe/Oslo'?)"),
        ("utc ", ""),
    ],
)
def test_a_hint_names_a_place_or_nothing(wrong: str, hint: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        zone(wrong)
    assert str(refused.value).endswith(f"there is no time zone {wrong!r}{hint}")
