from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from decoders import needs_torchcodec

import peclip
from peclip import PEClip, PredictOptions
from peclip.engines.base import Job, fingerprint
from peclip.errors import ConfigError, DeviceError
from peclip.nn.preprocess import as_tensor
from peclip.recognizers.fine_cliper import FineCLIPER
from peclip.recognizers.recognizer import Recognizer
from peclip.runs.fold_models import load_fold_models
from peclip.video.windows import FaceWindow
from peclip.weights.checkpoint import save_model


@pytest.fixture(scope="module")
def debug() -> PEClip:
    return PEClip.from_pretrained("debug", device="cpu")


def window(seed: int, frames: int = 4) -> FaceWindow:
    crops = np.random.default_rng(seed).integers(0, 256, (frames, 32, 32, 3), np.uint8)
    return FaceWindow(0, 0, 0.0, 1.0, 0, 3, frames, crops, None, 1.0, 1)


def test_a_high_level_call_is_made_of_public_steps(debug: PEClip) -> None:
    crops = window(1).crops
    x = debug.preprocess(as_tensor(crops))[None]
    with torch.inference_mode():
        logits = debug.model(peclip.types.Batch(x), debug.label_features()).logits
    assert debug.score([window(1)])[0] == pytest.approx(logits.softmax(-1)[0].tolist(), abs=1e-6)


def test_label_features_are_computed_once(debug: PEClip, monkeypatch: pytest.MonkeyPatch) -> None:
    debug.label_features()
    monkeypatch.setattr(debug.model, "encode_labels", lambda: pytest.fail("computed again"))
    debug.score([window(1)])


def test_a_detector_is_loaded_once(
    debug: PEClip, astronaut: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Many sources without YuNet give one warning, and one attempt to download it."""
    debug._detectors.clear()
    for _ in range(3):
        debug.predict(astronaut, PredictOptions(end=0.2))
    assert len([r for r in caplog.records if "YuNet" in r.getMessage()]) == 1
    assert debug.detector(PredictOptions(face_crop=False)) is None


def test_custom_labels_use_the_same_weights(debug: PEClip) -> None:
    own = debug.with_labels({"awake": "Upper Lid Raiser.", "asleep": "Eyes Closed."})
    assert own.labels.names == ("awake", "asleep")
    assert own.texts == {"awake": "Upper Lid Raiser.", "asleep": "Eyes Closed."}
    assert own.config.labels == ("awake", "asleep")
    assert len(own.score([window(1)])[0]) == 2
    assert own.model.vision is debug.model.vision
    assert debug.labels.names[0] == "happiness"
    named = debug.with_labels(["Happy", "bored"])
    assert named.texts == {
        "happiness": "Cheek Raiser, Lip Corner Puller.",
        "bored": "a person with an expression of bored.",
    }
    with pytest.raises(ConfigError, match="'happiness'"):
        debug.with_labels(["happy", "joy"])


def test_labels_that_nano_has_not_learned_give_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nano = PEClip.from_pretrained("nano", device="cpu")
    nano.with_labels(["sad", "happy"])
    assert caplog.messages == [], "its own"
    nano.with_labels({"happy": "Cheek Raiser.", "sad": "", "bored": ""})
    (message,) = caplog.messages
    assert "surprise, disgust, fear)" in message
    assert "scores for happiness, bored are" in message, "the text of sadness is known"
    assert "clip:ViT-B-16-quickgelu/openai" in message


def test_clip_knows_any_text(debug: PEClip, caplog: pytest.LogCaptureFixture) -> None:
    debug.with_labels(["awake", "bored"])
    assert caplog.messages == []


def test_kept_labels_keep_their_texts(debug: PEClip) -> None:
    """Those that the model was trained with; a text that is given goes before them."""
    own = debug.with_labels({"awake": "Upper Lid Raiser.", "asleep": "Eyes Closed."})
    assert own.with_labels(["asleep", "fear"]).texts["asleep"] == "Eyes Closed."
    assert "asleep" not in own.with_labels(["awake", "fear"]).config.label_texts
    assert own.with_labels({"asleep": "Snores.", "awake": ""}).texts == {
        "asleep": "Snores.",
        "awake": "Upper Lid Raiser.",
    }


def test_label_order_does_not_matter(debug: PEClip) -> None:
    names = list(debug.labels)
    reversed_ = debug.with_labels(names[::-1])
    expected = dict(zip(names, debug.score([window(2)])[0], strict=True))
    found = dict(zip(reversed_.labels, reversed_.score([window(2)])[0], strict=True))
    assert found == pytest.approx(expected, abs=1e-5)


def test_save_and_load_keep_the_labels_and_the_predictions(debug: PEClip, tmp_path: Path) -> None:
    own = debug.with_labels({"awake": "Upper Lid Raiser.", "asleep": "Eyes Closed."})
    own.save_pretrained(tmp_path / "m")
    again = peclip.load(tmp_path / "m", device="cpu")
    assert type(again) is PEClip
    assert again.texts == own.texts
    assert again.score([window(3)]) == own.score([window(3)])


def test_nano_is_the_default_and_needs_no_network() -> None:
    nano = PEClip.from_pretrained(device="cpu")
    assert nano.name == "nano"
    assert nano.config.architecture == "pe-clip"
    assert nano.config.num_frames == 8
    scores = nano.score([_nano_window(), _nano_window(200)])
    assert scores[0] == pytest.approx(nano.score([_nano_window()])[0], abs=1e-5)
    assert scores[0] != pytest.approx(scores[1], abs=1e-3), "it looks at the pixels"


def test_running_out_of_memory_is_a_one_line_error(debug: PEClip) -> None:
    own = debug.with_labels(["awake", "asleep"])

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    hook = own.model.vision.ln_pre.register_forward_pre_hook(full)
    try:
        with pytest.raises(DeviceError, match=r"^Out of memory on cpu\. .*-b 1"):
            own.score([window(1)])
    finally:
        hook.remove()


def test_nan_probabilities_are_an_error(debug: PEClip) -> None:
    """As fp16 may give them, or a damaged weight: the first label would pass for the prediction."""
    own = debug.with_labels(["awake", "asleep"])
    norm = own.model.vision.ln_post
    hook = norm.register_forward_hook(lambda module, args, output: output * math.inf)
    try:
        with pytest.raises(DeviceError, match=r"NaN or infinite in fp32\. Compute in fp32"):
            own.score([window(1)])
    finally:
        hook.remove()


def _nano_window(grey: int = 0) -> FaceWindow:
    crops = np.full((8, 96, 96, 3), grey, np.uint8)
    crops[:, 48:] = 255 - grey
    return FaceWindow(0, 0, 0.0, 1.0, 0, 7, 8, crops, None, 1.0, 1)


def test_bf16_gives_nearly_the_same_probabilities() -> None:
    exact = PEClip.from_pretrained(device="cpu", precision="fp32").score([_nano_window()])[0]
    rough = PEClip.from_pretrained(device="cpu", precision="bf16").score([_nano_window()])[0]
    assert rough == pytest.approx(exact, abs=0.02)  # as the documentation states


@pytest.mark.parametrize("faster", ["bf16", "fp32"])
def test_only_predictions_use_the_faster_precision_of_a_cpu(
    monkeypatch: pytest.MonkeyPatch, faster: str
) -> None:
    monkeypatch.setattr("peclip.runtime.cpu_prefers_bf16", lambda: faster == "bf16")
    predicting = (
        PEClip.from_pretrained("debug", device="cpu"),
        Recognizer.from_pretrained("debug", device="cpu"),
        peclip.load("debug", device="cpu"),
        Job("debug", "cpu").load(),  # every engine, and `peclip serve`
    )
    assert {(type(one), one.computation()["precision"]) for one in predicting} == {(PEClip, faster)}
    (evaluated,) = load_fold_models(
        "debug", [None], labels=None, prior_weight=None, device="cpu", precision="auto"
    ).recognizers
    exact = PEClip.from_pretrained("debug", device="cpu", predicting=False)
    assert evaluated.precision == exact.precision == "fp32"


def test_a_recognizer_has_the_class_of_its_architecture() -> None:
    found = Recognizer.from_pretrained("finecliper:debug", device="cpu")
    assert type(found) is FineCLIPER
    with pytest.raises(ConfigError, match=r"finecliper model, but PEClip .*peclip\.load"):
        PEClip.from_pretrained("finecliper:debug", device="cpu")


def test_unavailable_hardware_is_an_error() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="'cuda'.*cpu"):
            PEClip.from_pretrained("debug", device="cuda")
    with pytest.raises(ConfigError, match="'tpu9'"):
        PEClip.from_pretrained("debug", device="tpu9")


@pytest.mark.gpu
def test_cuda_is_chosen_and_agrees_with_the_cpu() -> None:
    on_cpu = PEClip.from_pretrained(device="cpu").score([_nano_window()])[0]
    fast = PEClip.from_pretrained()
    assert fast.device.type == "cuda"
    assert fast.score([_nano_window()])[0] == pytest.approx(on_cpu, abs=0.03)
    exact = PEClip.from_pretrained(precision="fp32")
    assert exact.score([_nano_window()])[0] == pytest.approx(on_cpu, abs=1e-3)


@pytest.mark.slow
def test_nano_reads_the_clear_clips(yunet: Path, clips: Path) -> None:
    nano = PEClip.from_pretrained(device="cpu")
    names = ("angry", "happy", "neutral", "surprise", "no_face")
    found = {name: nano.predict(clips / f"{name}.mp4") for name in names}
    assert {
        name: (prediction.label, list(prediction.tracks)) for name, prediction in found.items()
    } == {
        "angry": ("anger", [0]),
        "happy": ("happiness", [0]),
        "neutral": ("neutral", [0]),
        "surprise": ("surprise", [0]),
        "no_face": (None, []),
    }


def test_a_smile_grows_over_time(yunet: Path, clips: Path) -> None:
    rows = PEClip.from_pretrained(device="cpu").predict(clips / "single_face.mp4").rows
    assert len(rows) >= 2
    assert rows[-1].scores["happiness"] > rows[0].scores["happiness"] + 0.1


@needs_torchcodec
def test_both_decoders_give_the_same_prediction(astronaut: Path) -> None:
    nano = PEClip.from_pretrained(device="cpu")
    a, b = (
        nano.predict(astronaut, PredictOptions(decoder=decoder, detector="haar"))
        for decoder in ("torchcodec", "pyav")
    )
    assert a.rows == b.rows
    assert (a.metadata["decoder"], b.metadata["decoder"]) == ("torchcodec", "pyav")


PRIOR = {"happiness": 0.7, "sadness": 0.2, "anger": 0.1}


def test_a_prior_weight_for_one_prediction(debug: PEClip, tmp_path: Path) -> None:
    """The odds of happiness against anger are 7 in training and ((1 - w) 0.7 + w / 3) / ((1 - w) 0.1 + w / 3) now."""
    three = debug.with_labels(list(PRIOR))
    config = three.config.derive(prior=PRIOR, label_frequencies=PRIOR, prior_weight=0.5)
    save_model(three.model, config, tmp_path)
    model = PEClip.from_pretrained(tmp_path, device="cpu")
    plain = three.score([window(1)])[0]
    for given, assumed in ((None, 3.1 / 1.3), (0.0, 7.0), (1.0, 1.0)):
        options = PredictOptions(prior_weight=given)
        found = model.scorer("", options)([window(1)])[0]
        odds = math.log(found[0] / found[2]) - math.log(plain[0] / plain[2])
        assert odds == pytest.approx(math.log(assumed / 7), abs=1e-3)
    about = model.describe()
    assert (about["prior"], about["prior_weight"]) == (PRIOR, 0.5)
    assert model.with_labels(["anger", "fear"]).describe()["prior"] is None


def test_the_metadata_has_the_weight_that_was_used(
    debug: PEClip, tmp_path: Path, astronaut: Path
) -> None:
    three = debug.with_labels(list(PRIOR))
    stored = {"prior": PRIOR, "label_frequencies": PRIOR, "prior_weight": 0.5}
    save_model(three.model, three.config.derive(**stored), tmp_path)
    model = PEClip.from_pretrained(tmp_path, device="cpu")
    for given, weight in ((None, 0.5), (0.9, 0.9)):
        options = PredictOptions(end=0.2, face_crop=False, prior_weight=given)
        assert model.predict(astronaut, options).metadata["prior_weight"] == weight
        assert fingerprint(model, options)["prior_weight"] == weight


def test_a_prior_weight_requires_a_prior(debug: PEClip) -> None:
    with pytest.raises(ConfigError, match=r"0\.3, but the model has no prior"):
        debug.prepare(PredictOptions(face_crop=False, prior_weight=0.3))
