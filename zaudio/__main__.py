"""``python -m zaudio``: the same as the console script."""

from zaudio.cli import main

if __name__ == "__main__":
    main()
