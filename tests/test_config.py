"""Configurations are frozen and checked, and go through JSON unchanged."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from peclip.config import Config, PreprocessConfig, check
from peclip.errors import ConfigError
from peclip.labels import EMOTIONS, LabelSet, effective_prior_weight
from peclip.models.pe_clip_config import PEClipConfig
from peclip.models.registry import read_config
from peclip.predict_options import PredictOptions
from peclip.text.comparison import differences, flatten


def test_defaults_are_those_of_the_release() -> None:
    config = PEClipConfig()
    assert config.backbone == "ViT-B-16-quickgelu"
    assert config.pretrained == "openai"
    assert config.labels == EMOTIONS[:7]
    assert config.label_set == LabelSet(EMOTIONS[:7])
    assert (config.num_frames, config.adapter_reduction) == (16, 8)
    assert (config.prompt_length, config.prompt_depth) == (2, 9)
    assert config.preprocess.image_size == 224


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (PEClipConfig(), "backbone"),
        (PreprocessConfig(), "image_size"),
        (PredictOptions(), "window"),
    ],
)
def test_a_configuration_does_not_change(config: Config, field: str) -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(config, field, getattr(config, field))


@pytest.mark.parametrize("kind", [PEClipConfig, PreprocessConfig, PredictOptions])
def test_an_unknown_field_is_refused(kind: type[Config]) -> None:
    with pytest.raises(ConfigError, match="Invalid windwo"):
        check(kind, {"windwo": 1})
    with pytest.raises(ValueError, match="windwo"):
        kind(windwo=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("architecture", "s2d"),
        ("backbone", None),
        ("quick_gelu", "perhaps"),
        ("labels", "anger"),
        ("label_texts", {"anger": 3}),
        ("num_frames", 0),
        ("num_frames", 1025),
        ("num_frames", 1.5),
        ("adapter_reduction", 0),
        ("shared_adapter", "some"),
        ("temporal_adapter", "lstm"),
        ("text_adapter", "shared"),
        ("adapter_init", "ones"),
        ("prompt_length", -1),
        ("prompt_length", 65),
        ("prompt_depth", 0),
        ("temperature", 0),
        ("temperature", -0.01),
        ("temperature", 11),
        ("temperature", math.nan),
    ],
)
def test_a_bad_value_of_a_model_is_named(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^Invalid {field}(\.\w+)?[: ]") as caught:
        read_config({field: value})
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(ConfigError, match=rf"^Invalid {field}\b"):
        PEClipConfig().derive(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_size", 7),
        ("image_size", 4097),
        ("mean", [0.5, 0.5]),
        ("mean", [math.nan, 0.5, 0.5]),
        ("std", "grey"),
        ("std", [0.0, 1.0, 1.0]),  # a division by zero
        ("std", [math.inf, 1.0, 1.0]),
        ("face_margin", -0.6),
        ("face_margin", 3.1),
        ("face_shift", 2),
        ("align", "maybe"),
    ],
)
def test_a_bad_value_of_the_preprocessing_is_named(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^Invalid preprocess\.{field}(\.\d)?: "):
        read_config({"preprocess": {field: value}})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("window", 0),
        ("window", -1),
        ("window", math.nan),
        ("hop", 0),
        ("hop", math.nan),
        ("start", -0.1),
        ("start", math.nan),
        ("end", 0),
        ("face_crop", 2),
        ("detector", "mtcnn"),
        ("face_threshold", 1.1),
        ("face_threshold", -0.1),
        ("face_threshold", math.nan),
        ("min_face", -1),
        ("min_coverage", 1.5),
        ("decoder", "opencv"),
        ("frame_rate", 0),
        ("frame_rate", 10_001),
        ("frame_rate", math.inf),
        ("batch_size", 0),
    ],
)
def test_an_invalid_option_is_named_with_its_value(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^Invalid {field}: ") as caught:
        check(PredictOptions, {field: value})
    assert f"(given: {str(value)!r})" in str(caught.value)


def test_a_whole_video_is_an_infinite_window() -> None:
    assert check(PredictOptions, {"window": math.inf}).window == math.inf


def test_the_end_comes_after_the_start() -> None:
    for end in (2.0, 1.0):
        with pytest.raises(ConfigError, match=rf"{end}.*after start .2\.0"):
            check(PredictOptions, {"start": 2.0, "end": end})
    assert check(PredictOptions, {"start": 2.0, "end": 2.1}).end == 2.1


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"labels": ["anger"]}, "at least two"),
        ({"labels": ["anger", "anger"]}, "'anger'"),
        ({"labels": ["anger", ""]}, "Empty label"),
        ({"labels": ["anger", "fear"], "label_texts": {"joy": "x"}}, r"label_texts.*\['joy'\]"),
    ],
)
def test_labels_are_checked(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        read_config(values)
    assert not str(caught.value).endswith("..")


PRIOR = {"anger": 0.7, "fear": 0.3}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (
            {"prior": {"anger": 1.0}},
            r"prior has probabilities for \['anger'\].*\['anger', 'fear'\]",
        ),
        ({"prior": PRIOR | {"joy": 0.1}}, r"'joy'.*each of the labels"),
        ({"prior": {"anger": 0.7, "fear": 0.4}}, r"sum to 1\.1; .*sum must be 1"),
        ({"prior": {"anger": 1.0, "fear": 0.0}}, "must be above 0"),
        ({"prior": {"anger": 1.1, "fear": -0.1}}, "must be above 0"),
        ({"prior": {"anger": math.nan, "fear": 0.3}}, "must be above 0"),
        ({"prior": {"anger": math.inf, "fear": 0.3}}, "sum to inf"),
        ({"prior": PRIOR}, "label_frequencies is missing"),
        ({"label_frequencies": PRIOR}, "prior is missing"),
        (
            {"prior": PRIOR, "label_frequencies": {"anger": 1.0, "fear": 0.0}},
            "must be above 0",
        ),
        (
            {"prior_weight": 0.5},
            "0.5, but the configuration has no prior; set prior, or set prior_weight to null",
        ),
        ({"prior": PRIOR, "prior_weight": -0.1}, "prior_weight"),
        ({"prior": PRIOR, "prior_weight": math.inf}, "prior_weight"),
        ({"prior": PRIOR, "prior_weight": math.nan}, "prior_weight"),
    ],
)
def test_a_prior_is_checked(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_config({"labels": ["anger", "fear"], **values})


def test_the_prior_weight_of_predictions() -> None:
    stored = {"prior": PRIOR, "label_frequencies": PRIOR, "prior_weight": 0.5}
    config = read_config({"labels": ["anger", "fear"], **stored})
    weights = [effective_prior_weight(config, given) for given in (None, 0.0, 1.0)]
    assert weights == [0.5, 0.0, 1.0]
    assert read_config(config.model_dump_json()) == config
    plain = read_config("{}")
    assert effective_prior_weight(plain, None) is None
    with pytest.raises(ConfigError, match=r"prior_weight is 0,.*train\.prior=targets"):
        effective_prior_weight(plain, 0.0)
    for value in (-0.1, math.nan, math.inf):
        with pytest.raises(ConfigError, match="prior_weight"):
            check(PredictOptions, {"prior_weight": value})


def test_a_long_value_is_not_quoted_whole() -> None:
    with pytest.raises(ConfigError) as caught:
        read_config({"num_frames": "9" * 10_000 + "x"})
    assert len(str(caught.value)) < 400


def test_a_configuration_goes_through_json_unchanged() -> None:
    config = PEClipConfig(
        backbone="debug",
        pretrained=None,
        labels=("wach", "müde"),
        label_texts={"müde": "Augen halb geschlossen."},
        shared_adapter="shared",
        temperature=0.07,
        preprocess=PreprocessConfig(
            image_size=32, mean=(0, 0, 0), std=(1, 1, 1), grayscale=True, face_shift=-0.1
        ),
    )
    assert read_config(config.model_dump_json()) == config
    assert read_config(json.loads(json.dumps(config.model_dump(mode="json")))) == config
    assert read_config("{}") == PEClipConfig()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("backbone: debug", "not valid JSON"),
        ("[]", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ('"text"', "must be a JSON object"),
    ],
)
def test_invalid_content_is_refused(content: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_config(content)


def test_derive_changes_a_copy_and_checks_it() -> None:
    config = PEClipConfig()
    changed = config.derive(num_frames=8, preprocess={"image_size": 32})
    assert (changed.num_frames, changed.preprocess.image_size) == (8, 32)
    assert changed.backbone == config.backbone
    assert config.num_frames == 16
    with pytest.raises(ConfigError, match="Invalid frames"):
        config.derive(frames=8)


def test_nested_settings_have_dotted_names() -> None:
    nested = {"lr": {"adapters": 1, "deep": {"x": None}}, "labels": ["a"], "empty": {}}
    assert flatten(nested) == {"lr.adapters": 1, "lr.deep.x": None, "labels": ["a"]}
    assert flatten(nested, "/") == {"lr/adapters": 1, "lr/deep/x": None, "labels": ["a"]}


def test_changed_settings_are_named_with_both_values() -> None:
    before = {"window": 1.0, "lr": {"adapters": 0.1, "prompts": 2}, "gone": 3, "none": None}
    now = {"new": "x", "lr": {"prompts": 2, "adapters": 0.2}, "window": 1.0}
    assert [str(change) for change in differences(before, now)] == [
        "new None instead of 'x'",
        "lr.adapters 0.1 instead of 0.2",
        "gone 3 instead of None",
    ]
    assert not differences(before, now, ignored={"new", "lr.adapters", "gone"})
