"""FileOutput: a file that plays, as the output of a job: a destination that keeps notes of the job for a later life."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from zaudio.audio.marks import FileMark
from zaudio.audio.rendering import AudioFile
from zaudio.errors import ZaudioError
from zaudio.plan import Order
from zaudio.result import Description, Machines, MeasuredOp, Settlement, encode_note
from zaudio.signal import Signal
from zaudio.steps import Buffer

TOKEN_BYTES = 24  # as many as of a sealed result


class FileOutput:
    """A file that plays, as the output of a job.

    Args:
        file: The file, whose name is taken.
    """

    def __init__(self, file: AudioFile) -> None:
        self._file = file
        self._page_token = secrets.token_hex(TOKEN_BYTES)
        self._describe: Callable[[], Settlement] | None = None
        self._described: Description | None = None

    @property
    def job_id(self) -> bytes:
        """The job's id in all its lives; known after `open`."""
        return self._file.job_id

    @property
    def incarnation(self) -> int:
        """The number of this life, from 1; known after `open`."""
        return self._file.incarnation

    @property
    def page_token(self) -> str:
        """Text that lets its bearer see the page of the job; a random one in each life, since there is no key."""
        return self._page_token

    @property
    def description(self) -> Description:
        """The description of the result, in the words of a sealed one; known when the file is sealed."""
        assert self._described is not None, "it is sealed"
        return self._described

    def mark(self) -> FileMark:
        """Return the mark by which a later start recognises the sealed file."""
        return self._file.mark()

    @property
    def kept(self) -> bool:
        """Whether a later start finds something here to go on from."""
        return self._file.kept

    @property
    def finished(self) -> int:
        """Payloads that are written."""
        return self._file.finished

    @property
    def spent(self) -> tuple[float, float]:
        """Seconds so far of the cipher, which is not used, and of the encoder with the disk."""
        return self._file.spent

    @property
    def saved(self) -> int:
        """Bytes that a later life of the job can go on from."""
        return self._file.saved

    @property
    def sealed(self) -> bool:
        """Whether the file is whole, without its name."""
        return self._file.sealed

    @property
    def error(self) -> ZaudioError | None:
        """The failure that ended it, if one did."""
        return self._file.error

    def open(
        self, signal: Signal, order: Order, *, notify: Callable[[], None], check_stop: Callable[[], None] = lambda: None
    ) -> int:
        """Open the file; return the bytes that an earlier life of the job has left in it."""
        return self._file.open(signal, order, notify=notify, check_stop=check_stop)

    def note(self, note: MeasuredOp | Machines) -> None:
        """Keep that for a later life, durable."""
        self._file.note(encode_note(note))

    def describe_by(self, describe: Callable[[], Settlement]) -> None:
        """Ask that function, once, when the first payload comes or the file is sealed.

        The class of machines that it tells is kept.
        """
        self._describe = describe

    def put(self, payload: Buffer) -> None:
        """Take the next payload in output order."""
        self._settle()
        self._file.put(payload)

    def seal(self) -> None:
        """Complete the file: no payload follows."""
        self._settle()
        self._file.seal()

    def publish(self) -> dict[str, str]:
        """Give the file its name; return its path."""
        return self._file.publish()

    def abort(self) -> None:
        """Close everything; keep only files from which a later life can continue. Idempotent."""
        self._file.abort()

    def disown(self) -> None:
        """Abort, and keep nothing: the bytes so far are in doubt."""
        self._file.disown()

    def _settle(self) -> None:
        if self._describe is not None:
            self._described, machines = self._describe()
            self._describe = None
            if machines is not None:
                self.note(machines)
