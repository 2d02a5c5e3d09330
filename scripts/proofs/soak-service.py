"""Ten minutes of mixed and bad requests on a served space: no wrong answer, flat memory."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "service"))

from service_soak import main

if __name__ == "__main__":
    main()
