"""Depth maps for unibind: a modality in a package of its own."""
