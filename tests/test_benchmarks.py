"""The benchmarks say no more than they measured."""

import json
import socket
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
chunk_sizes = pytest.importorskip("chunk_sizes")
pages = pytest.importorskip("pages")


def jobs(**seconds):
    return {size: SimpleNamespace(jobs=[time]) for size, time in seconds.items()}


def test_jobs_too_short_choose_no_chunk_size():
    measured = jobs(**{"1MiB": 0.02, "4MiB": 0.03})
    assert chunk_sizes.choose(measured) is None
    assert chunk_sizes.verdict(measured, None).startswith(
        "Too short to choose a chunk size: the fastest job took 0.02 s"
    )


def test_longer_jobs_choose_the_smallest_size_that_is_as_good():
    measured = jobs(**{"64KiB": 4.0, "1MiB": 2.01, "4MiB": 2.0})
    assert chunk_sizes.choose(measured) == "1MiB"
    assert chunk_sizes.verdict(measured, "1MiB") == "Fastest: 4MiB. It would choose 1MiB; the default is 1MiB."


@pytest.mark.parametrize("seen", [b"", b"a snapshot" * 200])
def test_readers_that_saw_nothing_are_no_readers(tmp_path, monkeypatch, seen):
    monkeypatch.setattr(pages, "LOOK", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        (tmp_path / "result.web").write_text(json.dumps({"address": address, "token": "t"}))
        answers = threading.Thread(target=answer, args=(server, seen))
        answers.start()
        if seen:
            pages.follow(tmp_path, 1)
            assert float((tmp_path / pages.FOLLOWED).read_text()) >= 0
        else:
            with pytest.raises(SystemExit, match="a reader saw nothing"):
                pages.follow(tmp_path, 1)
        answers.join()


def answer(server, seen):
    connection, _ = server.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(seen)
