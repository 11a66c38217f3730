"""Cells: the map of a stage's chunks, one letter for each cell. A long job has several chunks in a cell.

    .  waiting    g  granted    c  computed    s  sealed    r  granted once more while another is at it
    f  failed: a grant came to nothing, and the chunk is to be granted again    S  sealed after an r or an f

Rules: pure. Chunks are sealed in order, so a number says which. Only those behind it that are on their way are kept one
by one; the farm's window bounds them, and `prune` forgets the others. A cell has the letter of its chunk that a user
should look at first.
"""

from __future__ import annotations

import re

MOST = 4096  # cells: more are no longer told apart on a screen

_RANK = {letter: rank for rank, letter in enumerate(b".cgrf")}
_RUN = re.compile(rb"(.)\1*", re.DOTALL)


class Cells:
    """The map of one stage.

    Args:
        chunks: The stage's chunks.
        done: Those that an earlier life sealed.

    Attributes:
        count: Cells of the map.
        chunks: The stage's chunks.
    """

    def __init__(self, chunks: int, done: int = 0) -> None:
        self.chunks = chunks
        self._done = done
        self.count = min(chunks, MOST)
        self._flight: dict[int, tuple[int, int]] = {}  # first chunk of a message -> letter, chunks
        self._marked: set[int] = set()  # cells in which a chunk was repeated or failed

    def grant(self, chunk: int, chunks: int, *, repeated: bool) -> None:
        """Note that chunks were granted; `repeated`, while another worker is at them."""
        if repeated:
            self._mark(chunk, chunks)
        self._put("r" if repeated else "g", chunk, chunks)

    def accept(self, chunk: int, chunks: int) -> None:
        """Note that chunks have their result."""
        self._put("c", chunk, chunks)

    def fail(self, chunk: int, chunks: int) -> None:
        """Note that chunks are to be granted again."""
        if self._flight.get(chunk, (0, 0))[0] in b"rc":  # another worker is at them, or was quicker
            return
        self._mark(chunk, chunks)
        self._put("f", chunk, chunks)

    def withdraw(self, chunk: int, chunks: int) -> None:
        """Note that the result of chunks no longer counts."""
        self._mark(chunk, chunks)
        self._put("f", chunk, chunks)

    def seal(self, done: int) -> None:
        """Note that the first `done` chunks are sealed."""
        self._done = done

    def prune(self) -> None:
        """Forget sealed chunks; now and then, since it looks at all that are kept."""
        done = self._done
        self._flight = {first: kept for first, kept in self._flight.items() if first + kept[1] > done}

    def counts(self) -> dict[str, int]:
        """Return the number of chunks by state."""
        found = dict.fromkeys("cgrf", 0)
        for first, (letter, chunks) in self._flight.items():
            found[chr(letter)] += max(0, first + chunks - max(first, self._done))
        waiting = max(0, self.chunks - self._done - sum(found.values()))
        return {
            "waiting": waiting,
            "granted": found["g"],
            "computed": found["c"],
            "sealed": self._done,
            "repeated": found["r"],
            "failed": found["f"],
        }

    def text(self) -> str:
        """Return the letters of all cells, each run as its length and letter: ``120s3g``."""
        if not self.count:
            return ""
        sealed = self._done * self.count // self.chunks
        letters = bytearray(b"s" * sealed + b"." * (self.count - sealed))
        for first, (letter, chunks) in self._flight.items():
            for cell in range(max(self._cell(first), sealed), self._cell(first + chunks - 1) + 1):
                if _RANK[letter] > _RANK.get(letters[cell], 0):
                    letters[cell] = letter
        for cell in self._marked:
            if cell < sealed:
                letters[cell] = ord("S")
        return "".join(f"{len(run[0])}{chr(run[1][0])}" for run in _RUN.finditer(letters))

    def _put(self, letter: str, chunk: int, chunks: int) -> None:
        if chunk + chunks > self._done and 0 <= chunk < self.chunks:
            self._flight[chunk] = ord(letter), min(chunks, self.chunks - chunk)

    def _mark(self, chunk: int, chunks: int) -> None:
        if 0 <= chunk < self.chunks:
            self._marked.update(range(self._cell(chunk), self._cell(min(chunk + chunks, self.chunks) - 1) + 1))

    def _cell(self, chunk: int) -> int:
        return chunk * self.count // self.chunks
