"""The texts of labels: three styles, the user's own, and label files."""

from __future__ import annotations

from pathlib import Path

import pytest

from peclip.errors import ConfigError
from peclip.labels import EMOTIONS, LabelSet
from peclip.models.descriptions import STYLES, describe, load_descriptions, read_label_file

TABLE_1 = {
    "happiness": "Cheek Raiser, Lip Corner Puller.",
    "sadness": "Inner Brow Raiser, Brow Lowerer, Lip Corner Depressor.",
    "neutral": "Relaxed Muscles, Even Eyebrows, Closed Lips, Calm Eyes, Smooth Forehead.",
    "anger": "Brow Lowerer, Upper Lid Raiser, Lid Tightener, Lip Tightener.",
    "surprise": "Inner Brow Raiser, Outer Brow Raiser, Upper Lid Raiser, Jaw Drop.",
    "disgust": "Nose Wrinkler, Lip Corner Depressor, Lower Lip Depressor.",
    "fear": "Inner Brow Raiser, Outer Brow Raiser, Brow Lowerer, Upper Lid Raiser, Lid Tightener, "
    "Lip Stretcher, Jaw Drop.",
}
"""Table 1 of the paper."""


@pytest.mark.parametrize("style", STYLES)
def test_every_style_has_a_distinct_text_for_every_emotion(style: str) -> None:
    texts = load_descriptions(style)
    assert tuple(texts) == EMOTIONS
    assert all(text and text == text.strip() for text in texts.values())
    assert len(set(texts.values())) == len(EMOTIONS)


def test_the_action_units_are_those_of_the_paper() -> None:
    texts = load_descriptions("action_units")
    assert {name: texts[name] for name in TABLE_1} == TABLE_1


def test_an_unknown_style_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'poems'.*action_units, names, sentences"):
        load_descriptions("poems")
    with pytest.raises(ConfigError, match=r"'\.\./texts/names'"):
        load_descriptions("../texts/names")
    with pytest.raises(ConfigError, match="poems"):
        describe(LabelSet(("anger", "fear")), "poems")


def test_texts_follow_the_order_of_the_labels() -> None:
    labels = LabelSet(("fear", "anger", "happiness"))
    assert describe(labels, "action_units") == tuple(TABLE_1[name] for name in labels)
    assert describe(labels, "names") == ("fear", "anger", "happiness")


def test_an_unknown_label_becomes_a_sentence() -> None:
    for style in STYLES:
        texts = describe(LabelSet.of(["Bored", "fear"]), style)
        assert texts[0] == "a person with an expression of bored."
        assert texts[1] == load_descriptions(style)["fear"]


def test_custom_texts_take_precedence_in_any_spelling() -> None:
    labels = LabelSet.of(["happy", "bored", "fear"])
    own = {"Joy": "a wide smile.", "Bored": "Eyes Half Closed."}
    assert describe(labels, "action_units", own) == (
        "a wide smile.",
        "Eyes Half Closed.",
        TABLE_1["fear"],
    )
    assert load_descriptions("action_units")["happiness"] == TABLE_1["happiness"]


def test_custom_texts_match_labels_in_other_spellings() -> None:
    labels = LabelSet(("Awake", "Happy"))
    assert describe(labels, "action_units", {"Awake": "Upper Lid Raiser."}) == (
        "Upper Lid Raiser.",
        TABLE_1["happiness"],
    )


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.yaml", "- Happy\n- bored\n"),
        ("flow.yml", "[Happy, bored]"),
        ("list.json", '["Happy", "bored"]'),
        ("empty_texts.yaml", "Happy:\nbored: ''\n"),
    ],
)
def test_a_file_of_names(tmp_path: Path, name: str, content: str) -> None:
    labels, own = read_label_file(write(tmp_path / name, content))
    assert labels == LabelSet(("happiness", "bored"))
    assert own == {}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("map.yaml", "Bored: Eyes Half Closed.\nHappy: a smile.\nfear:\n"),
        ("map.json", '{"Bored": "Eyes Half Closed.", "Happy": "a smile.", "fear": null}'),
    ],
)
def test_a_file_of_names_with_texts(tmp_path: Path, name: str, content: str) -> None:
    labels, own = read_label_file(write(tmp_path / name, content))
    assert labels == LabelSet(("bored", "happiness", "fear"))
    assert own == {"bored": "Eyes Half Closed.", "happiness": "a smile."}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "must contain a list of names, or a mapping"),
        ("happy", "must contain a list of names, or a mapping"),
        ("- 1\n- 2\n", "must contain a list of names, or a mapping"),
        ("- yes\n- no\n", "must contain a list of names, or a mapping"),
        ("happy: [1]\nsad: x\n", "must contain a list of names, or a mapping"),
        ("- {happy: x}\n- sad\n", "must contain a list of names, or a mapping"),
        ("[happy, sad", "is not valid YAML"),
        ('{"happy": ', "is not valid YAML"),
        ("!!python/object/apply:os.system [true]", "is not valid YAML"),
        ("- happy\n- joy\n", "'happiness'"),
        ("happy: a\njoy: b\n", "'happiness'"),
        ("[]", "at least two"),
    ],
)
def test_invalid_content_is_a_one_line_error(tmp_path: Path, content: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        read_label_file(write(tmp_path / "bad.yaml", content))
    assert "\n" not in str(caught.value)


def test_an_invalid_json_file_is_not_called_yaml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"labels\.json' is not valid JSON: ") as caught:
        read_label_file(write(tmp_path / "labels.json", '["happy", '))
    assert "YAML" not in str(caught.value)


def test_a_date_is_a_name(tmp_path: Path) -> None:
    labels, _ = read_label_file(write(tmp_path / "days.yaml", "- 2001-99-99\n- 2024-01-31\n"))
    assert labels.names == ("2001-99-99", "2024-01-31")


def test_undecodable_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin1.yaml"
    path.write_bytes("- müde\n- wach\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin1\.yaml.*is not UTF-8 text"):
        read_label_file(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml.*No such file"):
        read_label_file(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="directory"):
        read_label_file(tmp_path)


def test_a_model_of_whole_frames_describes_videos() -> None:
    """Without a text, only the sentence differs; emotions keep their texts."""
    from peclip.models.pe_clip_config import PEClipConfig
    from peclip.weights.parameter_counts import outline

    values = {
        "backbone": "debug",
        "pretrained": None,
        "labels": ("fear", "wave"),
        "prompt_depth": 2,
    }
    whole = {"image_size": 32, "face_crop": False}
    model = outline(PEClipConfig.model_validate(values | {"preprocess": whole}))
    assert model.texts == (load_descriptions("action_units")["fear"], "a video of wave.")
    assert model.with_labels(LabelSet(("still", "wave")), {}).texts[0] == "a video of still."
