"""A spool gives back what was written, and nothing of it can be found on the disk, during its life or after it."""

import errno
import os
import random
import resource
import subprocess
import sys

import pytest

from zaudio import disk
from zaudio.errors import StorageError
from zaudio.result import spool as module
from zaudio.result.spool import BLOCK_BYTES, STORED_BYTES, Spool


def filled(folder, content, piece=300_007):
    spool = Spool(str(folder))
    for start in range(0, len(content), piece):
        spool.write(memoryview(content)[start : start + piece])
    spool.freeze()
    return spool


def stored(spool):
    """The file's bytes, as they lie on the disk."""
    return os.pread(spool._fd, 1 << 30, 0)


SIZES = [0, 1, 1009, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES, 2 * BLOCK_BYTES + 7919]


@pytest.mark.parametrize("size", SIZES)
def test_what_was_written_is_read_from_any_place(tmp_path, size):
    content = random.Random(size).randbytes(size)
    with filled(tmp_path, content) as spool:
        assert spool.size == size
        assert spool.read(0, size + 5) == content
        for offset in {0, 1, size // 2, BLOCK_BYTES - 1, BLOCK_BYTES, max(0, size - 1), size, size + 1}:
            for length in (0, 1, 4096, BLOCK_BYTES + 1):
                assert spool.read(offset, length) == content[offset : offset + length]


def test_pieces_of_any_size_and_type_make_the_same_spool(tmp_path):
    content = random.Random(5).randbytes(BLOCK_BYTES * 2 + 11)
    with Spool(str(tmp_path)) as spool:
        spool.write(content)
        spool.write(bytearray(b"abc"))
        spool.write(b"")
        spool.freeze()
        spool.freeze()
        assert spool.read(0, 1 << 30) == content + b"abc"


@pytest.mark.parametrize("unlinked", [False, True])
def test_the_folder_shows_nothing_and_the_file_no_sample(tmp_path, monkeypatch, unlinked):
    if unlinked:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    content = b"a recording that is secret from its first second" * 50_000
    with filled(tmp_path, content) as spool:
        assert list(tmp_path.iterdir()) == []
        assert os.fstat(spool._fd).st_mode & 0o777 == 0o600
        assert os.fstat(spool._fd).st_nlink == 0
        assert len(stored(spool)) > len(content)
        assert b"secret" not in stored(spool)
        assert spool.read(0, len(content)) == content


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL])
@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="the system has no such files")
def test_a_file_system_without_nameless_files_gets_one_that_loses_its_name(tmp_path, monkeypatch, code):
    real = os.open

    def refuse(path, flags, *more):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(code, os.strerror(code))
        return real(path, flags, *more)

    monkeypatch.setattr(module.os, "open", refuse)
    with filled(tmp_path, b"samples") as spool:
        assert spool.read(0, 9) == b"samples"
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_changed_or_moved_is_found(tmp_path):
    content = random.Random(1).randbytes(3 * BLOCK_BYTES)
    for damage in ("flip", "swap", "cut"):
        with filled(tmp_path, content) as spool:
            second = os.pread(spool._fd, STORED_BYTES, STORED_BYTES)
            if damage == "flip":
                os.pwrite(spool._fd, bytes([second[99] ^ 1]), STORED_BYTES + 99)
            elif damage == "swap":
                os.pwrite(spool._fd, second, 0)
            else:
                os.ftruncate(spool._fd, 10)
            with pytest.raises(StorageError, match="samples of the input changed on the disk"):
                spool.read(0 if damage != "flip" else BLOCK_BYTES, 5)
            if damage != "cut":
                assert spool.read(2 * BLOCK_BYTES, 5) == content[2 * BLOCK_BYTES :][:5]


@pytest.mark.parametrize("length", [300_007, BLOCK_BYTES, BLOCK_BYTES + 4])
@pytest.mark.parametrize("step", [1, -1])
def test_reads_in_a_row_decrypt_each_block_once(tmp_path, monkeypatch, step, length):
    content = random.Random(2).randbytes(3 * BLOCK_BYTES)
    with filled(tmp_path, content) as spool:
        decrypted, real = [], spool._cipher.decrypt
        monkeypatch.setattr(
            spool._cipher, "decrypt", lambda index, block: decrypted.append(index) or real(index, block)
        )
        places = range(-7, len(content), length)[::step]
        pieces = [spool.read(max(at, 0), length + min(at, 0)) for at in places]
        assert b"".join(pieces[::step]) == content
        assert sorted(set(decrypted)) == [0, 1, 2]
        assert len(decrypted) <= 4  # the first read of a row begins with its lower block


def test_a_spool_is_read_once_it_is_frozen_and_written_no_more(tmp_path):
    with Spool(str(tmp_path)) as spool:
        with pytest.raises(ValueError, match="frozen"):
            spool.read(0, 1)
        spool.freeze()
        with pytest.raises(ValueError, match="frozen"):
            spool.write(b"more")
    spool.close()
    with pytest.raises(ValueError, match="closed"):
        spool.read(0, 1)


def test_too_little_room_is_said_before_anything_is_written(tmp_path):
    with Spool(str(tmp_path)) as spool:
        spool.reserve(0)
        with pytest.raises(
            StorageError, match=r"samples of the input: too little room on the disk: \d{19} bytes are needed"
        ):
            spool.reserve(1 << 60)


def test_a_disk_that_fills_up_says_what_was_needed(tmp_path, monkeypatch):
    with Spool(str(tmp_path)) as spool:
        spool.write(bytes(BLOCK_BYTES))

        def full(fd, piece):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(disk, "write_all", full)
        with pytest.raises(StorageError, match=f"need more than {BLOCK_BYTES} bytes: No space left"):
            spool.write(bytes(BLOCK_BYTES))


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(StorageError):
        Spool(str(tmp_path / "missing"))


def test_core_dumps_are_off_while_a_spool_is_open(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_CORE)
    with Spool(str(tmp_path)):
        assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
    assert resource.getrlimit(resource.RLIMIT_CORE) == before


def test_a_killed_process_leaves_no_file_behind(tmp_path):
    code = (
        "import os, signal, sys; from zaudio.result.spool import Spool; spool = Spool(sys.argv[1]); "
        "spool.write(bytes(3 << 20)); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_spool(tmp_path):
    code = (
        "import sys, resource; from zaudio.result.spool import Spool; spool = Spool(sys.argv[1])\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "spool.write(bytes(4 << 20)); before = peak()\n"
        "for _ in range(60): spool.write(bytes(1 << 20))\n"
        "spool.freeze()\n"
        "for at in range(0, spool.size, 99991): spool.read(at, 99991)\n"
        "print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 8192  # KiB, of 64 MiB
