"""The version of zaudio. Packaging, a worker's hello and `--version` read it here."""

VERSION = "0.1.0"
