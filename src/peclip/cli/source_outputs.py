"""Outputs with one file per source: a file for one source, a folder for several."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from peclip.cli.options import check_output
from peclip.errors import ConfigError


def files_of_sources(
    output: Path, sources: Sequence[str], endings: Sequence[str], option: str, *, overwrite: bool
) -> Mapping[str, Path]:
    """Returns the file of each source, before a model is loaded.

    Args:
        output: a file for one source, or a folder, which may be new.
        sources: the names of all sources.
        endings: the accepted extensions; files in a folder have the first one.
        option: its name, for messages.
        overwrite: whether existing files may be replaced.

    Raises:
        ConfigError: several sources would be written to one file, a file exists, cannot be written, or is
            itself a source.
    """
    from peclip.results.source_files import source_files

    if len(sources) < 2 and not output.is_dir() and output.suffix:
        check_output(output, overwrite=overwrite, endings=endings)
        files = dict.fromkeys(sources, output)
    elif output.is_file() or (output.suffix and not output.is_dir()):
        raise ConfigError(
            f"There are {len(sources)} sources, but {option} {str(output)!r} is a single file. Set it to "
            f"a folder: {option} FOLDER."
        )
    else:
        if not output.is_dir():
            check_output(output, overwrite=overwrite)  # the folder is created in an existing one
        files = source_files(output, sources, endings[0].removeprefix("."))
        for path in files.values() if output.is_dir() else ():
            check_output(path, overwrite=overwrite)
    originals = {os.path.realpath(source) for source in sources}
    for path in files.values():
        if os.path.realpath(path) in originals:
            raise ConfigError(
                f"{option} would replace the source {str(path)!r}. Choose another file or folder."
            )
    return files
