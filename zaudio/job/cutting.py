"""Cutting: the output of a stage, cut into chunks.

    cut           a pass, a chunk size  -> Plan
    in_bundles    a Plan                -> the Plan by which small chunks travel together

Rules: pure. A chunk has as many whole blocks of the grid as make its input about as long as the user asked for.
"""

from __future__ import annotations

from zaudio.errors import UsageError
from zaudio.job.request import Request
from zaudio.ops.chain import Pass
from zaudio.plan import Order, Plan
from zaudio.settings import Playable
from zaudio.sizes import parse_frames

CHUNK = 1 << 20  # large enough that Python's share of a chunk vanishes, small enough for the caches and the window
CHUNK_OF_FILE = 2 << 20  # of a long file that plays: it waits for no cipher, so half the messages count for more
CHUNK_OF_GRID = 4 << 20  # the context of a block costs less in a longer chunk
CHUNKS_LEAST = 16  # of a short recording: 4 MiB are 47 s of a mono CD, which only one worker would be busy with
WINDOW_LEAST = 4  # such chunks that fit in the memory at least
SHARE = 4  # chunks of a file for each worker that fit in the memory at least: two to compute, two results
WORKERS_LEAST = 8  # workers that SHARE counts with: they may come from elsewhere
BUNDLE_BYTES = 256 * 1024  # small chunks travel together, as many as fit: a message costs what 256 KiB of AES costs
BUNDLES_LEAST = 64  # so that 16 workers share a small job of a slow op evenly; more of them share it less evenly


def cut(request: Request, pass_: Pass, order: Order | None = None) -> Plan:
    """Return the chunks of a pass; by default in the order of the result.

    Raises:
        UsageError: The chunk size cannot be used, or a chunk needs more memory than is allowed.
    """
    output = pass_.graph().output
    frames = max(1, round(_asked(request, pass_) / pass_.stretch))
    plan = Plan(output.frames, _whole(frames, pass_.grid), order or request.order, pass_.needs)
    if request.memory < (chunk := chunk_bytes(plan, pass_)):
        raise UsageError(
            f"memory: a chunk takes {chunk} bytes, and {request.memory} are allowed; "
            "give more with --memory (Limits(memory=)), or shorter chunks with --chunk (chunk=)"
        )
    return plan


def rounded(request: Request, pass_: Pass, plan: Plan) -> str:
    """Return a sentence when a chunk is not as long as the user asked for; empty when it is."""
    if request.chunk is None or not pass_.grid:
        return ""
    asked = max(1, round(_asked(request, pass_) / pass_.stretch))
    if _whole(asked, pass_.grid) == asked or plan.frames <= min(asked, plan.chunk_frames):
        return ""
    return f"a chunk is {plan.chunk_frames} frames and not {asked}: whole blocks of {pass_.grid}, as its ops need them"


def chunk_bytes(plan: Plan, pass_: Pass) -> int:
    """Return the bytes of the longest of a chunk's input and its result."""
    spans = [plan.span(index) for index in {0, len(plan) // 2, len(plan) - 1} if 0 <= index < len(plan)]
    coming, going = pass_.signal.frame_bytes, pass_.graph().output.frame_bytes
    return max((max(span.input_frames * coming, span.frames * going) for span in spans), default=0)


def in_bundles(plan: Plan, pass_: Pass) -> Plan:
    """Return the plan by which chunks travel."""
    fitting = BUNDLE_BYTES // max(1, chunk_bytes(plan, pass_))
    return plan.in_bundles(min(fitting, len(plan) // BUNDLES_LEAST))


def _asked(request: Request, pass_: Pass) -> int:
    """Return the frames of the recording in a chunk, as the user asked for them, or by default."""
    signal = pass_.signal
    size: str | int = CHUNK
    if request.chunk is not None:
        size = request.chunk
    elif pass_.grid:
        size = max(signal.frame_bytes, min(CHUNK_OF_GRID, request.memory // WINDOW_LEAST, signal.bytes // CHUNKS_LEAST))
    elif isinstance(request.store, Playable):
        evenly = signal.bytes // (2 * BUNDLES_LEAST)
        held = request.memory // (SHARE * max(WORKERS_LEAST, request.workers))
        size = max(CHUNK, min(CHUNK_OF_FILE, evenly, held))
    return parse_frames(size, what="chunk", frame_bytes=signal.frame_bytes, samplerate=signal.samplerate)


def _whole(frames: int, grid: int) -> int:
    return -(-frames // grid) * grid if grid else frames
