"""Frozen towers: items of one modality to features; one file per library that is wrapped."""
