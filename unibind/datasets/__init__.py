"""Labelled items: a folder of classes, a manifest, or a public set by its name.

    dataset = open_dataset("photos/")           # a folder whose sub-folders are the classes
    dataset = open_dataset("photos.csv")        # path,label,caption,group,split
    dataset = fetch("stamps")                   # a public set, brought here once

Files are listed here, never opened: whether one can be read is found out where it is used.
"""

from unibind.datasets.catalogue import SETS, fetch, named_set, open_dataset
from unibind.datasets.folder import read_folder
from unibind.datasets.items import Dataset, LabelledItem
from unibind.datasets.manifest import read_manifest, write_manifest
from unibind.datasets.named import NamedSet, is_here

__all__ = [
    "SETS",
    "Dataset",
    "LabelledItem",
    "NamedSet",
    "fetch",
    "is_here",
    "named_set",
    "open_dataset",
    "read_folder",
    "read_manifest",
    "write_manifest",
]
