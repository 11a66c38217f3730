"""zaudio: a ZeroMQ task farm for one long audio recording."""
