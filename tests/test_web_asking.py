import base64
import re
from hashlib import sha256

import pytest

from zaudio.errors import UsageError
from zaudio.web.address import Address
from zaudio.web.asking import HEAD_MAX, Refusal, answer, check_token, parse
from zaudio.web.client import fetch
from zaudio.web.page import load_page

HERE = Address("127.0.0.1", 80)


def head(line="GET / HTTP/1.1", *fields, host="localhost"):
    return "\r\n".join([line, *([f"Host: {host}"] if host is not None else []), *fields, "", ""]).encode()


def status_of(text):
    with pytest.raises(Refusal) as refused:
        parse(text, HERE)
    return refused.value.status


def test_a_request_has_a_path_a_query_and_headers():
    asked = parse(head("GET /stream?after=ab1.7 HTTP/1.1", "Authorization: Bearer x"), HERE)
    assert (asked.path, asked.place, asked.headers["authorization"]) == ("/stream", ("ab1", 7), "Bearer x")


@pytest.mark.parametrize("query", ["after=x", "after=.1", "after=ab.-1", "after=ab." + "9" * 19, "a=b", ""])
def test_another_place_is_the_beginning(query):
    assert parse(head(f"GET /stream?{query} HTTP/1.1"), HERE).place == ("", 0)


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE"])
def test_only_get_is_answered(method):
    assert status_of(head(f"{method} / HTTP/1.1")) == 405


@pytest.mark.parametrize(
    "line",
    [
        "GET /",
        "GET / HTTP/2",
        "GET http://a/ HTTP/1.1",
        "get / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /\t HTTP/1.1",
        "\x16\x03",
        "",
    ],
)
def test_a_malformed_request_is_refused(line):
    assert status_of(head(line)) == 400


@pytest.mark.parametrize("field", ["no colon", " folded: x", "a b: c", "x: \x00", ": y"])
def test_a_malformed_header_is_refused(field):
    assert status_of(head("GET / HTTP/1.1", field)) == 400


@pytest.mark.timeout(20)
@pytest.mark.parametrize("end", ["\x00", "x"])
def test_a_header_of_blanks_costs_no_time(end):
    fields = [f"a:{' ' * HEAD_MAX}{end}", f"b: x{' ' * HEAD_MAX}{end}"]
    if end == "x":
        assert parse(head("GET / HTTP/1.1", *fields, "c:\t y \t"), HERE).headers["c"] == "y"
    else:
        assert status_of(head("GET / HTTP/1.1", *fields)) == 400


def test_a_second_host_is_refused():
    assert status_of(head("GET / HTTP/1.1", "Host: evil.example")) == 400


@pytest.mark.parametrize("host", [None, "evil.example", "localhost.evil.example"])
def test_a_foreign_host_is_refused(host):
    assert status_of(head(host=host)) == 403


@pytest.mark.parametrize("given", ["Bearer secret", "bearer secret", "Bearer  secret"])
def test_a_bearer_is_let_in(given):
    check_token(parse(head("GET / HTTP/1.1", f"Authorization: {given}"), HERE), "secret")


@pytest.mark.parametrize(
    "given", ["", "secret", "Basic secret", "Bearer", "Bearer secre", "Bearer secrett", "Bearer s\xe9"]
)
def test_another_is_not_let_in(given):
    fields = [f"Authorization: {given}"] if given else []
    asked = parse("\r\n".join(["GET / HTTP/1.1", "Host: localhost", *fields, "", ""]).encode("latin-1"), HERE)
    with pytest.raises(Refusal) as refused:
        check_token(asked, "secret")
    assert refused.value.status == 401


def test_every_answer_forbids_a_browser_all_that_it_does_not_need():
    text = answer(200, "text/plain", b"x").decode()
    for line in ("nosniff", "no-referrer", "no-store", "default-src 'none'", "DENY"):
        assert line in text
    assert "Access-Control" not in text
    assert "Set-Cookie" not in text


def test_the_policy_of_the_page_has_the_hashes_of_its_parts():
    page = load_page()
    for part in ("script", "style"):
        (text,) = re.findall(rf"<{part}>(.*?)</{part}>".encode(), page.html, re.DOTALL)
        assert f"{part}-src 'sha256-{base64.b64encode(sha256(text).digest()).decode()}'" in page.policy
    assert page.policy.startswith("default-src 'none'; ")
    assert "unsafe" not in page.policy


@pytest.mark.parametrize(
    "word",
    [b"innerHTML", b"outerHTML", b"insertAdjacent", b"document.write", b"eval(", b"://", b" style=", b" onclick"],
)
def test_the_page_makes_no_markup_of_texts_and_needs_nothing_from_elsewhere(word):
    assert word not in load_page().html


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "https://a:1/#t", "ftp://a:1/#t", "http://a/#t", "http://a:x/#t"]
)
def test_an_address_without_all_its_parts_is_a_usage_error(url):
    with pytest.raises(UsageError, match="http://HOST:PORT/#TOKEN"):
        fetch(url)
