"""`export_model`: a model by name to a checked file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name

from peclip.errors import ConfigError, ExportError
from peclip.exported.facts import ExportedFacts
from peclip.exported.registry import EXPORTED
from peclip.exporting.parity import TOLERANCE, largest_difference
from peclip.exporting.registry import FORMATS
from peclip.exporting.window_logits import WindowLogits
from peclip.files import replacing
from peclip.literals import ExportFormat
from peclip.recognizers.recognizer import Recognizer
from peclip.runtime import choose_device
from peclip.settings import load_settings
from peclip.version import VERSION
from peclip.weights.model_card import licence_of
from peclip.weights.resolve import resolve


def export_model(
    name: str | Path | None,
    output: str | Path,
    *,
    form: ExportFormat = "onnx",
    labels: Sequence[str] | Mapping[str, str] | None = None,
) -> float:
    """Writes a model to a file that predicts without torch (`peclip.load(FILE)`), and checks it.

    It is written only if its logits are within 1e-4 of the network's (see `largest_difference`).

    Args:
        name: of the model, as in `Recognizer.from_pretrained`.
        output: the file; it is replaced if it exists.
        form: its format.
        labels: names, or names with custom texts; by default the model's.

    Returns:
        The largest difference of a logit.

    Raises:
        ConfigError: the name is unknown, the file cannot be written, or the model reads more than frames.
        WeightsError: the weights are unavailable.
        ExportError: the model cannot be exported, or its file computes something else.
        MissingExtraError: a package is missing.
    """
    path, suffix = Path(output), FORMATS[form].suffix
    if path.suffix.lower() != suffix:
        raise ConfigError(f"The output {str(path)!r} must end with {suffix}.")
    recognizer, licence = _load(name)
    if labels is not None:
        recognizer = recognizer.with_labels(labels)
    facts = ExportedFacts.of(
        recognizer.config,
        name=recognizer.name,
        revision=recognizer.revision,
        licence=licence,
        peclip_version=VERSION,
        texts=recognizer.texts,
    )
    model = WindowLogits(recognizer.loaded).eval()
    try:
        with replacing(path) as partial:
            FORMATS[form].write(model, facts, partial)
            return _check(recognizer, partial, suffix)
    except OSError as error:
        raise ConfigError(
            f"{str(path)!r} cannot be written: {error.strerror or error}. Choose a file in a "
            "writable folder."
        ) from None


def _load(name: str | Path | None) -> tuple[Recognizer, str]:
    """Returns a model on the CPU in fp32, and the licence of its weights."""
    settings = load_settings()
    checkpoint = resolve(name, settings=settings)
    recognizer = Recognizer.from_checkpoint(checkpoint, choose_device("cpu"), "fp32", settings)
    folder = None if checkpoint.tensors is None else checkpoint.tensors.parent
    return recognizer, "unknown" if folder is None else licence_of(folder)


def _check(recognizer: Recognizer, path: Path, suffix: str) -> float:
    """Returns the largest difference between the logits of a file and those of its network."""
    found = largest_difference(recognizer.loaded, resolve_name(EXPORTED[suffix].load)(path))
    if not found <= TOLERANCE:  # a NaN as well
        raise ExportError(
            f"The exported model differs from {recognizer.name!r} by {found:.2g} in a logit, but at most "
            f"{TOLERANCE:g} is allowed, so no file was written. Try other versions of torch and "
            "onnxscript."
        )
    return found
