"""The messages between coordinator and workers, and their bytes."""
