"""Minutes of broken files for the decoder of every modality: refusals, no crash, no hang."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "service"))

from fuzzing import main

if __name__ == "__main__":
    main()
