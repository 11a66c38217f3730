"""The brains: decisions, without sockets, clock, threads, files or logging.

A brain takes messages and the time, and returns actions for a shell to do. Its verbs are
`receive(peer, message, *, now)`, `tick(*, now)`, `next_deadline()`, which only reads, and `finished`. Bytes of audio
never come here.

The coordinator's brain over one stage is the Desk, and no shell calls another class of it. A worker's is the Session.
"""
