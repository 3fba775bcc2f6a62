"""Secrets are left out by the names they go by, and everything else stays as it is."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.counting import lines_run

from kalends.redaction import REDACTED, SECRET_KEYS, Redactor, redactor_of

SECRET = "hunter2"
redactor = redactor_of(SECRET_KEYS)


# -- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    ["password", "PASSWORD", "db_password", "passwordHash", "mysql-passwd", "SecretKey", "secrets",
     "token", "access_token", "refreshToken", "X-Auth-Token", "api_key", "apiKey", "API-KEY",
     "X.Api.Key", "api key", "aws_secret_access_key", "AccessKey", "private-key", "privateKey",
     "Authorization", "Proxy-Authorization", "credentials", "passphrase", "db.password"],
)  # fmt: skip
def test_what_usually_names_a_secret_is_known_however_it_is_written(key: str) -> None:
    assert redactor.secret(key)


@pytest.mark.parametrize("key", ["pass", "user", "key", "author", "path", "", "keypass"])
def test_other_names_are_none(key: str) -> None:
    assert not redactor.secret(key)


def test_a_pattern_is_for_the_whole_name_unless_it_has_stars() -> None:
    mine = Redactor(["pin", "*_iban", "card*", "a*b*c"])
    assert all(
        map(mine.secret, ["pin", "PIN", "p_i-n", "my_iban", "card_number", "aXbXc", "x.pin"])
    )
    assert not any(map(mine.secret, ["pins", "spin", "ibans", "my_card", "acb", "pin.code"]))


def test_nothing_but_the_star_is_special_in_a_pattern() -> None:
    assert Redactor(["a[bc]?"]).secret("A[BC]?")
    assert not Redactor(["a[bc]?"]).secret("abx")


def test_no_patterns_redact_nothing_at_all() -> None:
    off = Redactor([])
    text = 'password=hunter2 postgres://me:hunter2@host Bearer hunter2hunter2 {"token": 1}'
    assert off.text(text) is text
    assert off.json(text) is text
    assert off.value({"password": text}) == {"password": text}


def test_a_star_alone_is_every_name() -> None:
    assert Redactor(["*"]).value({"a": 1, "b": {"c": 2}}) == {"a": REDACTED, "b": REDACTED}
    assert Redactor(["*"]).text("x=1, y: 2") == f"x={REDACTED}, y: {REDACTED}"


# -- values --------------------------------------------------------------------------------------


def test_what_a_secret_key_leads_to_is_left_out_at_any_depth() -> None:
    given_ = {"user": "ada", "db": [{"host": "h", "options": ({"password": SECRET, "port": 5},)}]}
    assert redactor.value(given_) == {
        "user": "ada", "db": [{"host": "h", "options": ({"password": REDACTED, "port": 5},)}],
    }  # fmt: skip
    assert given_["db"][0]["options"][0]["password"] == SECRET  # type: ignore[index]  # as given


@pytest.mark.parametrize("hidden", [SECRET, 1234, 0, 0.5, [SECRET], {"x": SECRET}, {}, b"x"])
def test_whatever_it_is(hidden: Any) -> None:
    assert redactor.value({"password": hidden, b"token": hidden}) == {
        "password": REDACTED, b"token": REDACTED,
    }  # fmt: skip


def test_what_shows_nothing_stays() -> None:
    value = {"password": None, "token": "", "has_token": True, "secret": False}
    assert redactor.value(value) is value


def test_texts_within_values_are_redacted_as_texts() -> None:
    assert redactor.value(["postgres://me:hunter2@host/db", "nothing"]) == [
        f"postgres://me:{REDACTED}@host/db", "nothing",
    ]  # fmt: skip


def test_a_value_that_holds_itself_ends() -> None:
    loop: list[Any] = [{"password": SECRET}]
    loop += [loop, loop]
    deep: Any = SECRET
    for _ in range(100_000):
        deep = [deep]
    assert SECRET not in repr(redactor.value(loop))
    assert SECRET not in repr(redactor.value({"x": deep}))


def test_a_value_of_which_parts_are_met_again_and_again_takes_no_longer() -> None:
    shared: Any = {"token": SECRET}
    for _ in range(60):
        shared = [shared, shared]
    found = redactor.value(shared)
    assert found[0] is found[1]


def test_json_without_secrets_is_the_very_text() -> None:
    text = '{"a":1.0,"b":[1e5,"x"],"user":"@://"}'
    assert redactor.json(text) is text
    assert redactor.json('{"a":{"token":"x"},"b":1}') == f'{{"a":{{"token":"{REDACTED}"}},"b":1}}'
    assert redactor.json("token=x, no JSON") == f"token={REDACTED}, no JSON"


# -- texts ---------------------------------------------------------------------------------------

FORMS = [
    ("password=hunter2", f"password={REDACTED}"),
    ("PASSWORD = hunter2 user=ada", f"PASSWORD = {REDACTED} user=ada"),
    ("password: hunter2, user: ada", f"password: {REDACTED}, user: ada"),
    ('{"password": "hunter2", "user": "ada"}', f'{{"password": "{REDACTED}", "user": "ada"}}'),
    ('{"password":"hun\\"ter2","x":1}', f'{{"password":"{REDACTED}","x":1}}'),
    ("{'password': 'hunter2', 'x': 1}", f"{{'password': '{REDACTED}', 'x': 1}}"),
    ("{'token': b'hunter2', 'x': 1}", f"{{'token': b'{REDACTED}', 'x': 1}}"),
    ("{'password': ['hun', 'ter2)'], 'x': 1}", f"{{'password': {REDACTED}, 'x': 1}}"),
    ("{'token': {'a': ('hunter2',)}, 'x': 1}", f"{{'token': {REDACTED}, 'x': 1}}"),
    ("Login(user='ada', password='hunter2')", f"Login(user='ada', password='{REDACTED}')"),
    ("Login(user='ada', password=hunter2)", f"Login(user='ada', password={REDACTED})"),
    ('"{\\"token\\": \\"hun\\\\\\"ter2\\", \\"x\\": 1}"',
     f'"{{\\"token\\": \\"{REDACTED}\\", \\"x\\": 1}}"'),
    ('    connect(password="hunter2")', f'    connect(password="{REDACTED}")'),
    ('    def f(password: str = "hunter2"):',
     f'    def f(password: {REDACTED} = "{REDACTED}"):'),
    ('    if token == """hunter2""":', f'    if token == """{REDACTED}""":'),
    ('    settings["password"] = "hunter2"', f'    settings["password"] = "{REDACTED}"'),
    ("x.api_key := 'hunter2' ", f"x.api_key := '{REDACTED}' "),
    ("mysql --password hunter2 -h db", f"mysql --password {REDACTED} -h db"),
    ("mysql --password=hunter2 -h db", f"mysql --password={REDACTED} -h db"),
    ("['mysql', '--password', 'hunter2', 'db']", f"['mysql', '--password', '{REDACTED}', 'db']"),
    ('["--api-key","hunter2","db"]', f'["--api-key","{REDACTED}","db"]'),
    ("https://host/?user=ada&token=hunter2&x=1", f"https://host/?user=ada&token={REDACTED}&x=1"),
    ("Server=db;Password=hunter2;Database=x", f"Server=db;Password={REDACTED};Database=x"),
    ("Authorization: Bearer hunter2.x-y_z", f"Authorization: {REDACTED}"),
    ("Authorization: Basic aHVudGVyMg== failed", f"Authorization: {REDACTED} failed"),
    ('Authorization: Digest username="ada", response="hunter2"', f'Authorization: {REDACTED}"'),
    ("'Authorization': 'Bearer hunter2'", f"'Authorization': '{REDACTED}'"),
    ("[('X', 'Bearer hunter2hunter2')]", f"[('X', 'Bearer {REDACTED}')]"),
    ("sent bearer hunter2hunter2.", f"sent bearer {REDACTED}"),
    ("postgres://ada:hunter2@host:5432/db", f"postgres://ada:{REDACTED}@host:5432/db"),
    ("redis://:hunter2@host", f"redis://:{REDACTED}@host"),
    ("amqp://ada:hun/t@er#2?@host/x", f"amqp://ada:{REDACTED}@host/x"),
    ("x -----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY----- y",
     f"x {REDACTED} y"),
    ("private_key: -----BEGIN PRIVATE KEY-----\\nhunter2", f"private_key: {REDACTED}"),
    ("password: 'hunter2 and no end", f"password: '{REDACTED}"),
    ("password: [hunter2 and no end\nx", f"password: {REDACTED}\nx"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), FORMS, ids=[text for text, _ in FORMS])
def test_what_follows_a_secret_key_is_left_out(text: str, expected: str) -> None:
    assert redactor.text(text) == expected
    assert SECRET not in expected


@pytest.mark.parametrize(
    "text",
    ["", "no such file: 'x'", "key=value", "http://host:8080/path?x=a@b", "ada@host", "a: b: c",
     "password=None", "{'token': None, 'secret': ''}", "password=", "token: true)",
     "bearer of news", "ssh://git@host/repo", "the password is wrong", "tokens [1, 2]",
     "--password", "--token -v"],
)  # fmt: skip
def test_what_holds_no_secret_stays_as_it_is(text: str) -> None:
    assert redactor.text(text) == text


@given(
    st.lists(
        st.sampled_from([*"abc \n\\'\"=:,;&[](){}@/.-", "password", "token=", "://", "Bearer "])
    ).map("".join)
)
def test_any_text_is_redacted_once_and_for_all(text: str) -> None:
    once = redactor.text(text)
    assert redactor.text(once) == once


word = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)


@given(word.filter(lambda text: len(text) > 4), st.sampled_from(["password", "api-key", "x_token"]))
def test_whatever_the_secret_is_neither_repr_nor_json_shows_it(secret: str, key: str) -> None:
    hidden = f"S{secret}S"  # not by chance a part of the rest
    for value in ({key: hidden, "a": [1]}, {"x": [{key: [hidden, {"y": hidden}]}]}):
        for text in (repr(value), json.dumps(value), json.dumps(json.dumps(value)), f"{value} x"):
            found = redactor.text(text)
            assert hidden not in found
            assert REDACTED in found
        assert hidden not in repr(redactor.value(value))


# -- time ----------------------------------------------------------------------------------------

HOSTILE = {
    "keys": "a=",
    "secret keys": "password=x ",
    "a word": "a",
    "spaces behind a key": "password ",
    "open brackets": "token=(",
    "open brackets on lines": "token=(\n",
    "closed brackets": "token=()",
    "quotes": "token='",
    "mixed quotes": "token=\"'",
    "escaped quotes": 'token=\\"',
    "backslashes": "\\",
    "backslashes behind keys": "token\\",
    "schemes": "://a:",
    "schemes with names": "http://a:a ",
    "at signs": "://a:@",
    "bearers": "bearer ",
    "begins of keys": "-----BEGIN PRIVATE KEY-----",
    "dashes": "--a ",
    "dashes alone": "-",
    "assignments": "token: x = ",
}


@pytest.mark.parametrize("part", HOSTILE.values(), ids=HOSTILE)
def test_the_steps_grow_with_the_length_of_a_text_and_no_faster(part: str) -> None:
    def steps(length: int) -> int:
        text = "password " + part * (length // len(part))
        return lines_run(lambda: Redactor(SECRET_KEYS).text(text))

    assert steps(4000) <= 4.5 * steps(1000) + 200


@pytest.mark.parametrize("part", HOSTILE.values(), ids=HOSTILE)
def test_so_does_the_time_that_the_expressions_take(part: str) -> None:
    """Four times the text, in the same run: 16 times as long were quadratic."""

    def seconds(length: int) -> float:
        text = "password " + part * (length // len(part))
        fresh = Redactor(SECRET_KEYS)
        start = time.thread_time()
        fresh.text(text)
        return time.thread_time() - start

    short = min(seconds(10_000) for _ in range(3))
    assert min(seconds(40_000) for _ in range(3)) <= 9 * short + 0.005
