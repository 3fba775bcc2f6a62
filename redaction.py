"""Secrets left out of what is logged and kept for people to read, by the names they go by.

Promises: pure; whatever a text or a value is, nothing is raised, and the time grows with its size
and no faster. What was redacted stays as it is when it is redacted again. What holds no secret
comes back as the very object that was given.

A key is secret where it matches one of the patterns, in which ``*`` stands for anything; case, and
``_ - .`` and spaces, are no difference. Redacted are

- in values: what a secret key of a mapping leads to, at any depth, and what texts show;
- in texts: what follows a secret key, as ``key=value``, ``key: value``, ``"key": "value"`` (also
  escaped inside of other JSON), ``["key"] = value`` or ``--key value``; what follows ``Bearer``;
  the password of a URL; and a private key in PEM.

None, True, False and an empty text hide nothing and stay.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

__all__ = ["LOOKED_AT", "REDACTED", "SECRET_KEYS", "Redactor", "redactor_of"]

SECRET_KEYS = (
    "*password*",
    "*passwd*",
    "*passphrase*",
    "*secret*",
    "*token*",
    "*api_key*",
    "*access_key*",
    "*private_key*",
    "*authorization*",
    "*credential*",
)
"""The patterns where nobody says otherwise."""
REDACTED = "[redacted]"
"""What stands in the place of a secret."""
LOOKED_AT = 262_144
"""Characters of a text that need be looked at, where but a few of them are kept."""
_MAX_DEPTH = 70
"""A little deeper than what is stored."""
_LONG_KEY = 200


class Redactor:
    """Redacts by these patterns; by none, it redacts nothing at all. Use it from any thread."""

    def __init__(self, keys: Sequence[str]) -> None:
        patterns = [_squeezed(key) for key in keys]
        self._on = bool(patterns)
        self._pattern = re.compile("|".join(map(_translated, patterns)))
        self._marks = {max(pattern.split("*"), key=len) for pattern in patterns} | {"bearer"}
        """One of these is in any text, once squeezed, that names a secret."""
        self._known = functools.lru_cache(maxsize=1024)(self._matches)

    def secret(self, key: str) -> bool:
        """Whether what goes by this key is one; the last part of a dotted key counts as well."""
        return self._known(key) if len(key) <= _LONG_KEY else self._matches(key)

    def _matches(self, key: str) -> bool:
        names = {_squeezed(key), _squeezed(key.rpartition(".")[2])}
        return self._on and any(self._pattern.match(name) for name in names)

    def suspects(self, text: str) -> bool:
        """False: there is nothing in it to redact."""
        if not self._on:
            return False
        squeezed = _squeezed(text)
        return (
            any(mark in squeezed for mark in self._marks)
            or "privatekey" in squeezed
            or ("://" in text and "@" in text)
        )

    # -- values --------------------------------------------------------------------------------

    def value(self, value: Any) -> Any:
        """The value without its secrets: dicts, lists, tuples and texts are looked into."""
        return self._value(value, {}, 0) if self._on else value

    def json(self, text: str) -> str:
        """JSON without its secrets; text that is no JSON is redacted as text."""
        if not self.suspects(text):
            return text
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return self.text(text)
        redacted = self.value(value)
        return text if redacted is value else msgspec.json.encode(redacted).decode()

    def _value(self, value: Any, seen: dict[int, Any], depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return self.text(value)
        if not issubclass(kind, dict | list | tuple):
            return value
        if depth == _MAX_DEPTH:
            return REDACTED
        if id(value) not in seen:
            seen[id(value)] = REDACTED  # where it is met within itself
            try:
                seen[id(value)] = self._container(value, seen, depth + 1)
            except Exception:  # noqa: BLE001 - its keys may have methods of their own
                return REDACTED
        return seen[id(value)]

    def _container(self, value: Any, seen: dict[int, Any], depth: int) -> Any:
        if issubclass(type(value), dict):
            items = list(dict.items(value))
            made = {key: self._item(key, item, seen, depth) for key, item in items}
            return value if all(made[key] is item for key, item in items) else made
        is_list = issubclass(type(value), list)
        before = [*(list if is_list else tuple).__iter__(value)]
        after = [self._value(item, seen, depth) for item in before]
        if all(new is old for new, old in zip(after, before, strict=True)):
            return value
        return after if is_list else tuple(after)

    def _item(self, key: Any, item: Any, seen: dict[int, Any], depth: int) -> Any:
        name = key.decode("latin-1") if type(key) is bytes else key
        if type(name) is not str or not self.secret(name):
            return self._value(item, seen, depth)
        bare = item is None or (type(item) in (bool, str, bytes) and item in _NOTHING)
        return item if bare else REDACTED

    # -- texts ---------------------------------------------------------------------------------

    def text(self, text: str) -> str:
        """The text without its secrets."""
        if not self.suspects(text):
            return text
        text = self._pairs(_PEM.sub(REDACTED, text))
        text = _URL.sub(rf"\1{REDACTED}@", text)
        return _BEARER.sub(rf"\1{REDACTED}", text)

    def _pairs(self, text: str) -> str:
        """Without what follows secret keys."""
        kept: list[str] = []
        partners = functools.cache(lambda: _partners(text))
        done = 0
        found = _KEY.search(text)
        while found is not None:
            end = found.end()
            if self.secret(found["key"] or found["flag"]):
                end, shown = _value_at(text, end, partners)
                kept += text[done : found.end()], shown
                done = end
            found = _KEY.search(text, end)
        return "".join([*kept, text[done:]]) if kept else text


@functools.lru_cache(maxsize=32)
def redactor_of(keys: tuple[str, ...]) -> Redactor:
    """The redactor of these patterns; the same one each time."""
    return Redactor(keys)


_NOTHING = (True, False, "", b"")
_NO_DIFFERENCE = str.maketrans("", "", "_-. ")


def _squeezed(text: str) -> str:
    return text.lower().translate(_NO_DIFFERENCE)


def _translated(pattern: str) -> str:
    """A squeezed pattern as a regular expression that takes linear time; only ``*`` is special."""
    return fnmatch.translate(re.sub(r"([\[?])", r"[\1]", pattern))


# -- what texts look like ----------------------------------------------------------------------

# All quantifiers are possessive, bounded, or end where the next match could begin: no text makes
# them try anything twice.
_KEY = re.compile(
    r"""(?<![\w.$-])(?:
        (?P<key>[\w.$-]++)\\*+["']?\]?[ \t]*+(?:=>|:=|==|=|:)
        | (?P<flag>--[\w.$-]++)(?:\\*+["'])?(?:,|(?=[ \t]))(?![ \t]*+[-=])
    )[ \t]*+""",
    re.VERBOSE,
)
"""A key and what separates it from its value."""
_QUOTED = re.compile(
    r"""(?P<open>[bBfFrRuU]{0,2}(?P<quote>\"\"\"|'''|\\{1,8}+["']|["']))""",
)
_INSIDE = {
    quote: re.compile(rf"(?:[^{quote[0]}\\\n]|\\.|{quote[0]}(?!{quote[1:]}))*+")
    if len(quote) == 3
    else re.compile(rf"(?:[^{quote}\\\n]|\\.)*+")
    for quote in ('"', "'", '"""', "'''")
}
"""What a quoted value may hold, up to its end or that of the line."""
_SCHEME = re.compile(
    r"(?i:(?:basic|bearer|token|negotiate|apikey)[ \t]++[^\s&;]++"
    r"|(?:digest|signature|aws4-hmac-sha256)[ \t][^\r\n]*+)"
)
_BARE = re.compile(r"[^\s&;]*+")
_LINE = re.compile(r"[^\r\n]*+")
_ASSIGNED = re.compile(r"[ \t]*+=(?!=)[ \t]*+")
"""As behind the annotation of a parameter."""
_CLOSERS = "\\\"')]}>,.:"
_SHOWS_NOTHING = {"", "None", "null", "True", "False", "true", "false"}

_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----(?:[^-]|-(?!----))*+"
    r"(?:-----END [A-Z0-9 ]{0,40}-----)?"
)
_URL = re.compile(r"(://[^\s/?#:@'\"<>]*+:)(?!//|\d{1,5}[/?#])(?:(?!://)[^\s'\"<>])*@")
_BEARER = re.compile(r"(?i)(\bbearer[ \t]++)[\w.~+/=-]{8,}+")
_STRUCTURE = re.compile(
    r"""(?<=[\[({,:=\s])[bBrRuU]{0,2}(?:"(?:[^"\\\n]|\\.)*+"|'(?:[^'\\\n]|\\.)*+')"""
    r"""|(?<=[\[({,:=\s])(?P<quote>\\{1,8}+["'])(?:(?!(?<!\\)(?P=quote))[^\n])*+(?P=quote)"""
    r"""|[\[\](){}]"""
)
_PAIRS = {")": "(", "]": "[", "}": "{"}


def _value_at(text: str, at: int, partners: Callable[[], dict[int, int]]) -> tuple[int, str]:
    """Where the value ends that begins there, and what is shown of it."""
    end, shown = _one_value(text, at, partners)
    assigned = _ASSIGNED.match(text, end)
    if assigned is not None and end > at:
        end, further = _one_value(text, assigned.end(), partners)
        shown += assigned[0] + further
    return end, shown


def _one_value(text: str, at: int, partners: Callable[[], dict[int, int]]) -> tuple[int, str]:
    quoted = _QUOTED.match(text, at)
    if quoted is not None:
        return _in_quotes(text, quoted)
    if text.startswith(REDACTED, at):
        return at + len(REDACTED), REDACTED
    if text[at : at + 1] in ("[", "(", "{"):
        end = partners().get(at) or _LINE.match(text, at).end()  # type: ignore[union-attr]  # matches
        return end, REDACTED
    found = _SCHEME.match(text, at) or _BARE.match(text, at)
    assert found is not None, "it matches nothing, too"
    plain = found[0].rstrip(_CLOSERS)
    return at + len(plain), plain if plain in _SHOWS_NOTHING else REDACTED


def _in_quotes(text: str, quoted: re.Match[str]) -> tuple[int, str]:
    opening, quote = quoted["open"], quoted["quote"]
    if quote in _INSIDE:
        inside = _INSIDE[quote].match(text, quoted.end())
        assert inside is not None, "it matches nothing, too"
        end, closing = inside.end(), quote if text.startswith(quote, inside.end()) else ""
    else:
        end, closing = _escaped_end(text, quoted.end(), quote)
    shown = REDACTED if end > quoted.end() else ""
    return end + len(closing), f"{opening}{shown}{closing}"


def _escaped_end(text: str, at: int, quote: str) -> tuple[int, str]:
    r"""Where a value ends that begins with ``\"``: at another one, behind no further backslash."""
    end = text.find(quote, at)
    while end > at and text[end - 1] == "\\":
        end = text.find(quote, end + 1)
    broken = text.find("\n", at, len(text) if end < 0 else end)
    if broken < 0 and end >= 0:
        return end, quote
    return len(text) if broken < 0 else broken, ""


def _partners(text: str) -> dict[int, int]:
    """For each bracket that is closed, where its partner ends."""
    partners: dict[int, int] = {}
    waiting: list[tuple[str, int]] = []
    for found in _STRUCTURE.finditer(text):
        sign = found[0]
        if sign in _PAIRS:
            if waiting and waiting[-1][0] == _PAIRS[sign]:
                partners[waiting.pop()[1]] = found.end()
        elif len(sign) == 1:
            waiting.append((sign, found.start()))
    return partners
