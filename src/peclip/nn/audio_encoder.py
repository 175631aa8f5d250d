"""Audio encoders of `transformers`: CLAP, HuBERT, wav2vec 2.0 and WavLM, frozen, with LoRA.

CLAP: Wu et al., ICASSP 2023, arXiv 2211.06687. HuBERT: Hsu et al., TASLP 2021, arXiv 2106.07447. wav2vec 2.0: Baevski et
al., NeurIPS 2020, arXiv 2006.11477. WavLM: Chen et al., JSTSP 2022, arXiv 2110.13900.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from peclip.downloads.hub import download_repository
from peclip.errors import CheckpointError, MissingExtraError, WeightsError, first_line
from peclip.nn.audio_config import AudioPreset
from peclip.nn.log_mel import LogMel
from peclip.nn.lora import LowRank
from peclip.nn.tensor_file import copy_tensors, counted, read_tensors
from peclip.runtime import on_device
from peclip.settings import load_settings

_TENSORS, _CONFIG = "model.safetensors", "config.json"
_CLAP_SECONDS = 10
_OFF = {"apply_spec_augment": False, "mask_time_prob": 0.0, "mask_feature_prob": 0.0}
"""Training of the encoder itself, which needs a parameter of its own."""


class AudioEncoder(nn.Module):
    """Turns the sound of each window into one feature.

    wav2vec 2.0, HuBERT and WavLM read samples, and the feature is the mean of their frames; CLAP reads a log-mel
    spectrogram of 10 s, for which a shorter sound is repeated as often as it fits, then padded with zeros. Sounds of
    different lengths are computed apart, so that no feature depends on the rest of the batch.

    Args:
        network: the model of `transformers`.
        preset: its architecture.
        lora: rank and alpha of low-rank updates (see `peclip.nn.lora`) of all matrices of attention and MLP; `None`
            leaves the encoder as it is.
        weighted: return a learned mean of the layers (SUPERB, Yang et al., Interspeech 2021, arXiv 2105.01051)
            instead of the last one; not for CLAP, whose layers differ in width.
    """

    def __init__(
        self,
        network: Any,
        preset: AudioPreset,
        *,
        lora: tuple[int, float] | None = None,
        weighted: bool = False,
    ) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        if lora is not None:
            _add_lora(network, *lora)
        self.rate, self.normalize = preset.rate, preset.normalize
        self.log_mel = None if preset.mel is None else LogMel(preset.mel, rate=preset.rate)
        config = network.config
        self.width: int = config.hidden_size
        self.layers: nn.Parameter | None = None
        if weighted:
            self.layers = nn.Parameter(torch.zeros(config.num_hidden_layers + 1))

    def frozen_parameters(self) -> list[nn.Parameter]:
        """Returns the parameters of the encoder itself."""
        updates = [module for module in self.network.modules() if isinstance(module, LowRank)]
        added = {id(parameter) for update in updates for parameter in update.parameters()}
        return [p for p in self.network.parameters() if id(p) not in added]

    def forward(self, samples: Tensor, lengths: Sequence[int]) -> Tensor:
        """Encodes sounds.

        Args:
            samples: float (B, N), from -1 to 1, at `rate`.
            lengths: samples of each sound, B numbers; a sound of 0 samples has a feature of zeros.

        Returns:
            (B, W), fp32.
        """
        features = samples.new_zeros(len(lengths), self.width, dtype=torch.float32)
        for length in sorted(set(lengths) - {0}):
            rows = [row for row, own in enumerate(lengths) if own == length]
            index = on_device(torch.tensor(rows), samples.device)
            features[index] = self._encode(samples[index, :length]).float()
        return features

    def _encode(self, samples: Tensor) -> Tensor:
        """Maps sounds of the same length (B, N) to (B, W)."""
        if self.log_mel is not None:
            return self._clap(samples, self.log_mel)
        if self.normalize:
            mean, variance = samples.mean(1, keepdim=True), samples.var(1, False, keepdim=True)
            samples = (samples - mean) / (variance + 1e-7).sqrt()
        output = self.network(samples, output_hidden_states=self.layers is not None)
        if self.layers is None:
            frames: Tensor = output.last_hidden_state
            return frames.mean(1)
        means = torch.stack([layer.mean(1) for layer in output.hidden_states], -1)
        return means @ self.layers.softmax(0).to(means.dtype)

    def _clap(self, samples: Tensor, log_mel: LogMel) -> Tensor:
        whole = _CLAP_SECONDS * self.rate
        repeated = samples[:, :whole]
        repeated = repeated.repeat(1, whole // repeated.shape[1])
        spectrogram = log_mel(F.pad(repeated, (0, whole - repeated.shape[1])))
        longer = torch.zeros(len(samples), 1, dtype=torch.bool, device=samples.device)
        pooled: Tensor = self.network(spectrogram[:, None], is_longer=longer).pooler_output
        return pooled


class _Updated(nn.Module):
    """The matrix of a linear layer with a low-rank update, for layers whose matrix others read, as in WavLM."""

    def __init__(self, update: LowRank) -> None:
        super().__init__()
        self.update = update

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.update.matrix().to(weight.dtype)


_MATRICES = frozenset(
    {
        *("q_proj", "k_proj", "v_proj", "out_proj", "intermediate_dense", "output_dense"),
        *("query", "key", "value", "dense"),  # CLAP
    }
)


def _add_lora(network: nn.Module, rank: int, alpha: float) -> None:
    """Adds low-rank updates to all matrices of attention and MLP."""
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in _MATRICES:
            update = LowRank(module.in_features, module.out_features, rank, alpha)
            register_parametrization(module, "weight", _Updated(update))


def build_audio_encoder(
    preset: AudioPreset,
    weights: str | None,
    *,
    lora: tuple[int, float] | None = None,
    weighted: bool = False,
    offline: bool = False,
) -> AudioEncoder:
    """Builds an audio encoder.

    Args:
        preset: the architecture.
        weights: hub repository `owner/name[@revision]`, or a folder, with `config.json` and `model.safetensors`;
            `None` for random weights.
        lora: see `AudioEncoder`.
        weighted: see `AudioEncoder`.
        offline: never download.

    Raises:
        MissingExtraError: `transformers` is not installed.
        WeightsError: the weights are not cached and cannot be downloaded, or have no safetensors file.
        CheckpointError: the weights have another architecture, or are corrupt.
    """
    try:
        import transformers
    except ImportError:
        raise MissingExtraError("The audio stream", "audio") from None
    names = {
        "clap": ("ClapAudioConfig", "ClapAudioModel"),
        "hubert": ("HubertConfig", "HubertModel"),
        "wav2vec2": ("Wav2Vec2Config", "Wav2Vec2Model"),
        "wavlm": ("WavLMConfig", "WavLMModel"),
    }
    config_class, model_class = (getattr(transformers, name) for name in names[preset.kind])
    own = {} if preset.kind == "clap" else _OFF
    network = model_class(config_class(**preset.sizes, **own))
    if weights is not None:
        folder = _find_weights(weights, offline=offline)
        _check_architecture(folder, config_class, preset)
        _load(network, folder / _TENSORS)
    return AudioEncoder(network, preset, lora=lora, weighted=weighted)


def _find_weights(name: str, *, offline: bool) -> Path:
    """Returns the folder with the weights."""
    if os.path.isdir(name):
        folder = Path(name)
    else:
        settings = load_settings()
        settings = settings.model_copy(update={"offline": offline or settings.offline})
        repository, _, revision = name.partition("@")
        folder = download_repository(
            repository,
            revision or None,
            [_CONFIG, _TENSORS],
            settings,
            advice="Load the model once while online, or set audio.weights to a folder with the files.",
        )
    for file in (_CONFIG, _TENSORS):
        if not (folder / file).is_file():
            raise WeightsError(
                f"The audio encoder {name!r} has no {file}. Pickled weights (pytorch_model.bin) are not read, because a "
                "pickle can run code: use a revision with safetensors (owner/name@refs/pr/N), or convert the weights "
                "with save_pretrained of transformers, and set audio.weights to it."
            )
    return folder


def _check_architecture(folder: Path, config_class: Any, preset: AudioPreset) -> None:
    """Checks that weights are those of an architecture: not all differences change the shape of a tensor.

    Raises:
        CheckpointError: they are not.
    """
    kind, found = _read_config(folder, config_class)
    other = {} if kind == preset.kind else {"model_type": kind}
    expected = config_class(**preset.sizes).to_dict()
    for name in (*_ARCHITECTURE, *preset.sizes):
        if name in expected and found.get(name) != expected[name]:
            other[name] = str(found.get(name))
    if other:
        told = ", ".join(f"{name} {str(value)[:60]!r}" for name, value in other.items())
        raise CheckpointError(
            f"The weights in {str(folder)!r} have another architecture than the audio encoder: {told}. Choose the encoder "
            "that they belong to (model.audio.encoder), or other weights (model.audio.weights)."
        )


_ARCHITECTURE = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"),
    *("feat_extract_norm", "feat_extract_activation", "do_stable_layer_norm", "conv_bias"),
    *("conv_dim", "conv_kernel", "conv_stride", "enable_fusion", "depths"),
    *("num_mel_bins", "spec_size", "window_size", "patch_size", "patch_stride"),
)
"""Fields of a configuration that decide what is computed."""


def _read_config(folder: Path, config_class: Any) -> tuple[str, Mapping[str, Any]]:
    """Returns the kind and the fields of an encoder in a folder; CLAP's are inside those of both encoders."""
    from transformers import PretrainedConfig

    try:
        values, _ = PretrainedConfig.get_config_dict(folder, local_files_only=True)
        inner = values.get("audio_config", values)
        kind = str(inner.get("model_type", values.get("model_type"))).removesuffix("_audio_model")
        return kind, config_class.from_dict(inner).to_dict()
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{str(folder / _CONFIG)!r} cannot be read: {first_line(error)}"
        ) from None


def _load(network: nn.Module, path: Path) -> None:
    """Loads the tensors of an encoder, which may be part of a larger model."""
    loaded = {_renamed(name): tensor for name, tensor in read_tensors(path).items()}
    expected = {name: t for name, t in network.state_dict().items() if t.is_floating_point()}
    wrong = [n for n, t in expected.items() if n not in loaded or loaded[n].shape != t.shape]
    if wrong:
        raise CheckpointError(
            f"{str(path)!r} does not fit the audio encoder: {counted('parameters missing or of another shape', wrong)}. "
            "Use the weights of the encoder."
        )
    copy_tensors(path, {name: loaded[name] for name in expected}, expected)


_PREFIXES = ("wav2vec2.", "hubert.", "wavlm.", "audio_model.")
_WEIGHT_NORM = {
    ".weight_g": ".parametrizations.weight.original0",
    ".weight_v": ".parametrizations.weight.original1",
}


def _renamed(name: str) -> str:
    """Returns the name of a parameter without its larger model, and as torch has named weight norms since 2.0."""
    name = next((name.removeprefix(p) for p in _PREFIXES if name.startswith(p)), name)
    end = next((old for old in _WEIGHT_NORM if name.endswith(old)), "")
    return name.removesuffix(end) + _WEIGHT_NORM[end] if end else name
