"""The version of zaudio, in the one place that packaging, the hello of a worker and `--version` read."""

VERSION = "0.1.0"
