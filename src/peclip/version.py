"""The version of the installed package."""

from __future__ import annotations

from importlib.metadata import version

VERSION = version("peclip")
"""Read once, at import: a prediction does not search the installation again for every video."""
