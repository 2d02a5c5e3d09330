"""The whole idea on public pictures: knowledge, centers, head, search, and an honest table."""

from unibind.quickstart.reporting import Reporter
from unibind.quickstart.run import Quickstart, quickstart

__all__ = ["Quickstart", "Reporter", "quickstart"]
