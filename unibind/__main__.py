"""``python -m unibind``: the command line where its script is not on the PATH."""

from unibind.cli import main

if __name__ == "__main__":
    main()
