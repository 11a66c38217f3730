"""Shells: a socket, a thread or a process around each brain. The only code that uses ZeroMQ."""
