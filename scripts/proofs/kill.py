"""1,000 times SIGKILL at a random moment of a writing store: nothing acknowledged is lost."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "retrieval"))

from crash import main

if __name__ == "__main__":
    main()
