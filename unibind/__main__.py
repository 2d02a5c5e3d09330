"""The entry point of the command line, also as ``python -m unibind``."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line. Ctrl-C is understood from the first import on."""
    try:
        from unibind.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(130) from None
    run()


if __name__ == "__main__":
    main()
