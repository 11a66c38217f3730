"""The server over real sockets; time limits are shortened, and nothing here sleeps."""

import json
import socket
import threading
from contextlib import ExitStack

import pytest
from net_support import wait_until

from zaudio import events, machine
from zaudio.errors import UsageError, ZaudioError
from zaudio.facts import Progress
from zaudio.watching.ledger import Ledger
from zaudio.watching.stream import Stream
from zaudio.web import Site, door, parse_address
from zaudio.web import site as module
from zaudio.web.asking import HEAD_MAX
from zaudio.web.client import fetch
from zaudio.web.door import Connection, Door

TOKEN = "0123456789abcdef"
PATIENCE = 60.0
JOB = {"job": "ab", "at": 0.0}
STARTED = events.Started(
    **JOB, chunks=4, chunk_frames=10, frames=40, channels=1, samplerate=44100, format="f32le", bytes=160
)


@pytest.fixture
def farm(monkeypatch):
    monkeypatch.setattr(module, "TICK", 0.01)
    ledger = Ledger()
    stream = Stream(ledger)
    with Site(parse_address("0")) as site:
        site.open(TOKEN, stream.subscribe(), lambda: ledger.progress(0.0), title="take.wav")
        stream.publish(STARTED)
        yield site, stream


def connect(site):
    return socket.create_connection((site.address.host, site.address.port), timeout=PATIENCE)


def ask(site, text):
    """All that the server answers to those bytes."""
    with connect(site) as connection:
        connection.sendall(text if isinstance(text, bytes) else text.encode())
        with connection.makefile("rb") as answer:
            return answer.read().decode()


def get(path, *fields, host="localhost", token=TOKEN):
    given = [f"Authorization: Bearer {token}"] if token else []
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *given, *fields, "", ""])


def status(answer):
    return int(answer.split()[1])


def open_stream(site, place=""):
    connection = connect(site)
    connection.sendall(get(f"/stream{place}").encode())
    lines = connection.makefile("rb")
    assert lines.readline().startswith(b"HTTP/1.1 200")
    while lines.readline() != b"\r\n":
        pass
    return connection, lines


# Who is let in


def test_the_page_needs_no_token_and_has_no_data(farm):
    answer = ask(farm[0], get("/", token=""))
    assert status(answer) == 200
    assert "take.wav" not in answer
    assert TOKEN not in answer


@pytest.mark.parametrize(
    "path", ["/stream", "/snapshot", "/metrics", "/nothing", "/../etc/passwd", "/%2e%2e/", "//", "/page.html"]
)
@pytest.mark.parametrize("token", ["", "wrong", TOKEN.upper()])
def test_nothing_else_is_told_without_the_token(farm, path, token):
    assert status(ask(farm[0], get(path, token=token))) == 401


@pytest.mark.parametrize(
    "path", ["/nothing", "/../etc/passwd", "/%2e%2e/etc/passwd", "/stream/", "/snapshot%00", "//snapshot", "/page.html"]
)
def test_there_are_no_other_paths(farm, path):
    assert status(ask(farm[0], get(path))) == 404


@pytest.mark.parametrize("path", ["/", "/snapshot", "/health"])
def test_a_name_that_was_rebound_is_refused(farm, path):
    assert status(ask(farm[0], get(path, host="evil.example"))) == 403


def test_a_post_is_refused(farm):
    answer = ask(farm[0], get("/snapshot").replace("GET", "POST"))
    assert status(answer) == 405
    assert "Allow: GET" in answer


def test_a_probe_needs_no_token(farm):
    assert ask(farm[0], get("/health", token="")).endswith("\r\n\r\nok\n")


# Limits


def test_a_slow_head_is_given_up(farm, monkeypatch):
    monkeypatch.setattr(door, "HEAD_SECONDS", 0.05)
    assert status(ask(farm[0], "GET / HTTP/1.1\r\nHost: local")) == 408


def test_a_connection_that_says_nothing_does_not_disturb_the_end(farm, caplog):
    site, _ = farm
    with connect(site):
        wait_until(lambda: len(site._door) == 1, "it is met")
        site.close()
    assert [record.getMessage() for record in caplog.records if record.name == "zaudio.web"] == []


@pytest.mark.parametrize("size", [HEAD_MAX, 3 * HEAD_MAX])
def test_a_huge_head_is_refused(farm, size):
    with connect(farm[0]) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * size)
        assert connection.recv(100).startswith(b"HTTP/1.1 431")


def test_bytes_that_are_no_request_are_refused(farm):
    assert status(ask(farm[0], b"\x16\x03\x01\x02\x00\r\n\r\n")) == 400


def test_the_sixty_fifth_reader_is_refused_until_another_one_goes(farm):
    with ExitStack() as stack:
        readers = [open_stream(farm[0]) for _ in range(64)]
        for connection, lines in readers:
            stack.enter_context(connection)
            stack.enter_context(lines)
            lines.readline()
        assert status(ask(farm[0], get("/stream"))) == 503
        readers[0][1].close()
        readers[0][0].close()
        while status(answer := _first_line(farm[0])) == 503:
            pass
        assert status(answer) == 200


def _first_line(site):
    with connect(site) as connection:
        connection.sendall(get("/stream").encode())
        return connection.recv(64).decode()


def test_silent_connections_shut_nobody_out(farm, monkeypatch):
    monkeypatch.setattr(machine, "PAGE_CONNECTIONS", 4)
    site, _ = farm
    with ExitStack() as stack:
        connection, lines = open_stream(site)
        stack.enter_context(connection)
        stack.enter_context(lines)
        silent = [stack.enter_context(connect(site)) for _ in range(8)]
        assert ask(site, get("/health")).endswith("ok\n")
        assert silent[0].recv(1) == b"", "the oldest made room"
        assert lines.readline(), "a reader stays"
        assert len(site._readers) == 1


def test_connections_too_many_are_closed_at_once(farm, monkeypatch):
    monkeypatch.setattr(machine, "PAGE_CONNECTIONS", 2)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(open_stream(farm[0])[0])
        with connect(farm[0]) as third:
            assert _is_closed(third)


def _is_closed(connection):
    """Whether the other side closes it without a word."""
    try:
        connection.sendall(get("/health").encode())
        return not connection.recv(1)
    except (ConnectionResetError, BrokenPipeError):
        return True


def test_a_reader_that_reads_nothing_is_dropped_and_the_others_go_on(farm, monkeypatch):
    site, stream = farm
    monkeypatch.setattr(module, "BEHIND_SECONDS", 0.05)
    with connect(site) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(get("/stream").encode())
        connection, lines = open_stream(site)
        with connection, lines:
            for number in range(100_000):
                stream.publish(events.Lost(**JOB, worker=f"w{number}", reason="x" * 250))
                if number % 50 == 0:
                    lines.readline()
                    if len(site._readers) == 1:
                        break
            assert len(site._readers) == 1
            lines.readline()


# The stream


def test_a_stream_begins_with_a_snapshot_and_tells_what_happens(farm):
    site, stream = farm
    connection, lines = open_stream(site)
    with connection, lines:
        assert json.loads(lines.readline())["title"] == "take.wav"
        stream.publish(events.Joined(**JOB, worker="<script>"))
        while not (snapshot := json.loads(lines.readline()))["workers"]:
            pass
        assert snapshot["workers"][0]["name"] == "<script>"


def test_a_stream_goes_on_where_it_was_cut(farm):
    site, stream = farm
    stream.publish(events.Joined(**JOB, worker="a"))
    while (first := fetch(f"{site.address.url}#{TOKEN}"))["seen"] < 2:
        pass
    connection, lines = open_stream(site, f"?after={first['life']}.{first['seen'] - 1}")
    with connection, lines:
        assert [item[0] for item in json.loads(lines.readline())["news"]] == [first["seen"]]


def test_readers_that_come_at_once_share_one_snapshot(farm, monkeypatch):
    site, _ = farm
    made = []
    snapshot = site._board.snapshot
    with ExitStack() as stack:
        with connect(site) as first:  # from here on there is no tick
            monkeypatch.setattr(site, "_tick", lambda: None)
            first.sendall(get("/health").encode())
            first.recv(1)
        site._lines.clear()
        monkeypatch.setattr(site._board, "snapshot", lambda *given, **more: made.append(1) or snapshot(*given, **more))
        for _ in range(10):
            connection, lines = open_stream(site)
            stack.enter_context(connection)
            stack.enter_context(lines)
            lines.readline()
    assert len(made) == 1


@pytest.mark.parametrize(("readers", "each"), [(1, 16), (16, 16), (17, 8), (50, 4), (64, 4)])
def test_all_readers_together_get_at_most_64_lines_a_second(monkeypatch, readers, each):
    sent = []
    monkeypatch.setattr(Door, "send", lambda door, connection, line: sent.append(connection))
    stream = Stream(Ledger())
    with Site(parse_address("0")) as site, socket.socket() as peer:
        site._events, site._progress = stream.subscribe(), lambda: Ledger().progress(0.0)
        site._readers = {Connection(peer, 0.0): module.Reader(0, 0.0) for _ in range(readers)}
        for number in range(16):  # in four seconds
            stream.publish(events.Joined(**JOB, worker=str(number)))
            site._tick()
    assert len(sent) == readers * each


def test_another_life_s_place_is_the_beginning(farm):
    connection, lines = open_stream(farm[0], "?after=earlier.99")
    with connection, lines:
        snapshot = json.loads(lines.readline())
        assert snapshot["life"] != "earlier"


def test_the_end_is_the_last_line_and_stays_to_be_read(farm):
    site, stream = farm
    connection, lines = open_stream(site)
    with connection, lines:
        stream.publish(events.Failed(**JOB, error="JobError", sentence="it failed"))
        stream.close()
        site.end(("it failed",))
        last = json.loads(lines.read().splitlines()[-1])
        assert (last["final"], last["report"], last["progress"]["state"]) == (True, ["it failed"], "failed")
    assert fetch(site.url)["report"] == ["it failed"]


def test_the_farm_never_waits_for_the_page(monkeypatch):
    monkeypatch.setattr(module, "EVENTS", 8)
    held = threading.Event()
    ledger = Ledger()
    stream = Stream(ledger)

    def slowly():
        held.wait(PATIENCE)
        return Progress(events.State.RUNNING, 4, 0, 160, 0, 1, 0, 0, 1.0)

    with Site(parse_address("0")) as site:
        subscription = stream.subscribe(8)
        site.open(TOKEN, subscription, slowly)
        for number in range(1000):
            stream.publish(events.Joined(**JOB, worker=str(number)))
        assert len(subscription._queue) <= 9
        held.set()


# Metrics


def test_prometheus_reads_the_metrics(farm):
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus_client is not installed")
    site, stream = farm
    stream.publish(events.Joined(**JOB, worker='quo"te\n'))
    stream.publish(events.Granted(**JOB, worker="a", chunk=0, chunks=1, attempt=1))
    stream.publish(events.Accepted(at=0.5, job="ab", worker="a", chunk=0, chunks=1))
    stream.publish(events.Requeued(**JOB, worker="a", chunk=1, chunks=1, attempt=1, reason="no result after 60.0 s"))
    while "zaudio_chunk_seconds_count 1" not in (answer := ask(site, get("/metrics"))):
        pass
    families = {each.name: each for each in parser.text_string_to_metric_families(answer.partition("\r\n\r\n")[2])}
    names = {"zaudio_chunks", "zaudio_results", "zaudio_requeued", "zaudio_workers", "zaudio_chunk_seconds"}
    assert names | {"zaudio_bytes_sealed", "zaudio_cipher_starved_seconds"} <= set(families)
    labels = {value for family in families.values() for sample in family.samples for value in sample.labels.values()}
    assert "a" not in labels
    requeued = {sample.labels["reason"]: sample.value for sample in families["zaudio_requeued"].samples}
    assert requeued["deadline"] == 1.0


# The address


def test_a_page_that_broke_is_gone_and_hangs_nobody(farm, monkeypatch, caplog):
    site, _ = farm
    monkeypatch.setattr(site._door, "tick", None)
    wait_until(lambda: not site._thread.is_alive(), "it broke")
    with pytest.raises(ZaudioError, match="refused"):
        fetch(site.url)
    assert "the job goes on" in caplog.text


def test_a_port_in_use_is_said_before_the_job(farm):
    with pytest.raises(UsageError, match="give another port"):
        Site(parse_address(f"{farm[0].address.port}"))


def test_an_address_that_nobody_has_is_said():
    with pytest.raises(UsageError, match=r"--web 192\.0\.2\.1"):
        Site(parse_address("192.0.2.1:0"))


def test_a_wrong_token_is_said(farm):
    with pytest.raises(UsageError, match="401"):
        fetch(f"{farm[0].address.url}#wrong")


def test_a_page_that_is_gone_is_said(farm):
    farm[0].close()
    with pytest.raises(ZaudioError, match="no page of zaudio answers"):
        fetch(farm[0].url)


@pytest.mark.parametrize("url", ["http://[::1/#a", "http://127.0.0.1:99999/#a", "http://127.0.0.1:80/", "ftp://a:1/#a"])
def test_what_is_no_address_of_a_page_is_said(url):
    with pytest.raises(UsageError, match="expected an address as --web prints it"):
        fetch(url)


@pytest.mark.parametrize("content", ["[]", '"v"', "null", "NaN", '{"v": 2}', "[" * 100_000])
def test_another_program_that_answers_is_no_page(farm, monkeypatch, content):
    monkeypatch.setattr(farm[0], "_line", lambda after: content.encode())
    with pytest.raises(ZaudioError, match="page of"):
        fetch(farm[0].url)
