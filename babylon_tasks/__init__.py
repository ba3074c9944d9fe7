"""Babylon's recorded hours in, a better model out; importing the package costs nothing."""

__version__ = "0.1.0"
