"""Kinds of items, one file each: how their bytes are read, in which units, with which limits."""
