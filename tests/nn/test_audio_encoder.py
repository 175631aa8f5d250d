"""Audio encoders: sounds do not depend on their batch, and weights are read from safetensors of `transformers`."""

from __future__ import annotations

import builtins
import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from peclip.errors import CheckpointError, ConfigError, MissingExtraError, WeightsError
from peclip.nn.audio_config import audio_encoders, audio_preset
from peclip.nn.audio_encoder import AudioEncoder, build_audio_encoder
from peclip.nn.audio_fusion import AudioFusion

TINY = ("debug-clap", "debug-hubert", "debug-wav2vec2", "debug-wavlm")
CLASSES = {
    "clap": ("ClapAudioConfig", "ClapAudioModel"),
    "hubert": ("HubertConfig", "HubertModel"),
    "wav2vec2": ("Wav2Vec2Config", "Wav2Vec2Model"),
    "wavlm": ("WavLMConfig", "WavLMModel"),
}


def tiny(name: str, weights: str | None = None, **options: Any) -> AudioEncoder:
    torch.manual_seed(0)
    return build_audio_encoder(audio_preset(name), weights, **options).eval()


def published(name: str, folder: Path) -> Any:
    """Saves a random encoder as `transformers` does, and returns it."""
    torch.manual_seed(7)
    preset = audio_preset(name)
    config, model = (getattr(transformers, known) for known in CLASSES[preset.kind])
    network = model(config(**preset.sizes)).eval()
    network.save_pretrained(folder)
    return network


@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_a_sound_does_not_depend_on_its_batch(name: str) -> None:
    encoder = tiny(name)
    rate = encoder.rate
    samples = torch.randn(4, rate)
    lengths = (rate, 0, rate // 2, rate)
    features = encoder(samples, lengths)
    assert features.shape == (4, encoder.width)
    assert not features[1].any()
    for row, length in enumerate(lengths):
        if length:
            alone = encoder(samples[row : row + 1, :length], (length,))
            torch.testing.assert_close(features[row], alone[0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(features[0], features[3])


@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_published_weights_compute_what_transformers_computes(name: str, tmp_path: Path) -> None:
    network = published(name, tmp_path)
    encoder = tiny(name, str(tmp_path))
    preset = audio_preset(name)
    samples = 0.3 * torch.randn(2, preset.rate)
    if preset.kind == "clap":
        repeated = samples.repeat(1, 10)
        extractor = transformers.ClapFeatureExtractor(frequency_min=50, truncation="rand_trunc")
        read = extractor(list(repeated.numpy()), sampling_rate=48_000, return_tensors="pt")
        expected = network(**read).pooler_output
    else:
        extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=preset.normalize)
        read = extractor(list(samples.numpy()), sampling_rate=16_000, return_tensors="pt")
        expected = network(read.input_values).last_hidden_state.mean(1)
    found = encoder(samples, (preset.rate,) * 2)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_an_encoder_inside_a_larger_model_is_found(tmp_path: Path) -> None:
    """With the prefix, the head and the old names of weight norms that published files have."""
    published("debug-hubert", tmp_path)
    file = tmp_path / "model.safetensors"
    new = load_file(file)
    ends = {".parametrizations.weight.original0": ".weight_g"}
    ends[".parametrizations.weight.original1"] = ".weight_v"
    old = {}
    for name, tensor in new.items():
        for end, before in ends.items():
            name = name.replace(end, before)
        old["hubert." + name] = tensor
    assert any(name.endswith("weight_g") for name in old)
    save_file(old | {"lm_head.weight": torch.zeros(3, 16)}, file)
    samples = torch.randn(1, 8000)
    found = tiny("debug-hubert", str(tmp_path))(samples, (8000,))
    save_file(new, file)
    assert torch.equal(found, tiny("debug-hubert", str(tmp_path))(samples, (8000,)))
    assert not torch.equal(found, tiny("debug-hubert")(samples, (8000,)))


@torch.no_grad()
def test_weighted_layers_start_as_their_mean() -> None:
    encoder = tiny("debug-wavlm", weighted=True)
    assert encoder.layers is not None
    assert encoder.layers.requires_grad
    samples = torch.randn(1, 8000)
    layers = encoder.network(samples, output_hidden_states=True).hidden_states
    assert len(layers) == 3
    mean = torch.stack([layer.mean(1) for layer in layers]).mean(0)
    torch.testing.assert_close(encoder(samples, (8000,)), mean)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    published("debug-hubert", tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"no model\.safetensors.*pytorch_model\.bin.*refs/pr"):
        tiny("debug-hubert", str(tmp_path))


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    published("debug-hubert", tmp_path)
    with pytest.raises(CheckpointError, match=r"model_type 'hubert'.*model\.audio\.encoder"):
        tiny("debug-wav2vec2", str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    # This changes no shape, only what is computed.
    (tmp_path / "config.json").write_text(json.dumps(config | {"do_stable_layer_norm": True}))
    with pytest.raises(CheckpointError, match="do_stable_layer_norm 'True'"):
        tiny("debug-hubert", str(tmp_path))


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    published("debug-hubert", tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    first = next(iter(tensors))
    save_file({name: t for name, t in tensors.items() if name != first}, file)
    with pytest.raises(CheckpointError, match="1 parameters missing"):
        tiny("debug-hubert", str(tmp_path))
    save_file(tensors | {first: torch.full_like(tensors[first], torch.nan)}, file)
    with pytest.raises(CheckpointError, match="NaN"):
        tiny("debug-hubert", str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        tiny("debug-hubert", str(tmp_path))


def test_missing_weights_offline_name_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match="not in the cache.*offline mode.*audio.weights"):
        tiny("debug-hubert", "nobody/nothing", offline=True)


def test_an_unknown_encoder_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'wavlm-huge'; choose one of clap-htsat-fused.*weights"):
        audio_preset("wavlm-huge")


def test_without_transformers_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "transformers":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match="The audio stream requires.*pip install"):
        tiny("debug-hubert")


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("clap-htsat-fused", 27.5),
        ("clap-htsat-unfused", 27.5),
        ("hubert-base", 94.4),
        ("hubert-large", 315.4),
        ("wav2vec2-base", 94.4),
        ("wav2vec2-large", 315.4),
        ("wavlm-base-plus", 94.4),
        ("wavlm-large", 315.5),
    ],
)
def test_published_encoders_have_the_published_size(name: str, millions: float) -> None:
    with torch.device("meta"):
        encoder = build_audio_encoder(audio_preset(name), None)
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    assert audio_preset(name).weights is not None
    assert encoder.rate == (48_000 if name.startswith("clap") else 16_000)


def test_every_encoder_has_a_rate_that_is_tested() -> None:
    assert {audio_preset(name).rate for name in audio_encoders()} == {16_000, 48_000}


@pytest.mark.parametrize("name", TINY)
def test_untrained_lora_changes_nothing_and_trained_lora_everything(name: str) -> None:
    plain, updated = tiny(name), tiny(name, lora=(2, 4.0))
    samples = torch.randn(1, plain.rate)
    with torch.no_grad():
        before = plain(samples, (plain.rate,))
        torch.testing.assert_close(updated(samples, (plain.rate,)), before)
    assert {id(p) for p in updated.parameters() if not p.requires_grad} == {
        id(p) for p in updated.frozen_parameters()
    }
    updated(samples, (plain.rate,)).square().sum().backward()
    trained = [p for p in updated.parameters() if p.requires_grad]
    ups = [p for p in trained if p.shape[1] == 2]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in ups)
    with torch.no_grad():
        for parameter in ups:
            parameter.normal_()
        assert not torch.allclose(updated(samples, (plain.rate,)), before, atol=1e-3)
    copied = copy.deepcopy(updated)
    with torch.no_grad():
        assert torch.equal(copied(samples, (plain.rate,)), updated(samples, (plain.rate,)))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # 12 layers of q, k, v and out (768 + 768 each) and of fc1 and fc2 (768 + 3072 each), times rank 8.
        ("hubert-base", 12 * 8 * (4 * 1536 + 2 * 3840)),
        ("wavlm-large", 24 * 8 * (4 * 2048 + 2 * 5120)),
        # Stages of 2, 2, 6 and 2 layers of width d: 4 * 2d + 2 * 5d = 18d each.
        ("clap-htsat-fused", 8 * 18 * (2 * 96 + 2 * 192 + 6 * 384 + 2 * 768)),
    ],
)
def test_lora_adds_a_known_number_of_parameters(name: str, expected: int) -> None:
    with torch.device("meta"):
        encoder = build_audio_encoder(audio_preset(name), None, lora=(8, 32.0))
    assert sum(p.numel() for p in encoder.parameters() if p.requires_grad) == expected


def fusion(kind: str) -> AudioFusion:
    torch.manual_seed(0)
    return AudioFusion(tiny("debug-wav2vec2"), 8, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["concatenation", "adaptive"])
@torch.no_grad()
def test_an_untrained_fusion_keeps_the_direction_of_the_video(kind: str) -> None:
    video = torch.nn.functional.normalize(torch.randn(3, 8), dim=-1)
    fused = fusion(kind)(video, torch.randn(3, 8000), (8000, 0, 4000))
    torch.testing.assert_close(torch.nn.functional.normalize(fused, dim=-1), video)
    assert torch.equal(fused[1], video[1])


@torch.no_grad()
def test_fusions_by_hand() -> None:
    for kind in ("concatenation", "adaptive"):
        module = fusion(kind)
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter))
        video = torch.nn.functional.normalize(torch.randn(2, 8), dim=-1)
        samples = torch.randn(2, 8000)
        sound = module.encoder(samples, (8000, 8000))
        norm = torch.nn.functional.layer_norm
        heard = norm(sound, (16,), module.norm.weight, module.norm.bias)
        first, _, last = module.mlp
        if module.weights is None:
            seen = norm(video, (8,), module.video_norm.weight, module.video_norm.bias)
            heard = torch.cat([seen, heard], 1)
        hidden = torch.nn.functional.gelu(heard @ first.weight.T + first.bias)
        audio = hidden @ last.weight.T + last.bias
        expected = video + audio
        if module.weights is not None:
            scores = [
                value @ module.weights.scores[name].weight[0] + module.weights.scores[name].bias
                for name, value in (("video", video), ("audio", audio))
            ]
            share = torch.stack(scores, 1).softmax(1)
            expected = share[:, :1] * video + share[:, 1:] * audio
        torch.testing.assert_close(module(video, samples, (8000, 8000)), expected)
