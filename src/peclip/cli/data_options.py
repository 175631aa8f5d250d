"""Options of the commands that read a data set."""

from __future__ import annotations

from typing import Annotated, Any

from peclip.cli.field_options import Fields
from peclip.data.config import DataConfig

DataGroup = Annotated[dict[str, Any], Fields(DataConfig, "dataset", "root", "annotations")]
