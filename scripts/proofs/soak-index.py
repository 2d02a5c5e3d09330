"""Ten minutes of one writer and eight readers: no error, nothing stale, nothing deleted."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "retrieval"))

from soak import main

if __name__ == "__main__":
    main()
