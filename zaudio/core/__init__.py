"""Decisions, and nothing else: no sockets, clock, threads, files or logging.

The contract of a brain: it takes messages and time and gives back actions. `receive(peer, message, *, now)`,
`tick(*, now)`, `next_deadline()`, which only reads, and `finished`. Bytes of audio never come here.
"""
