"""Instruments: items to named attributes in physical units; one file for each kind of sensor."""
