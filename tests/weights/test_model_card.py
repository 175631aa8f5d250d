"""The card that goes with weights says what they are and what they are not for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from peclip.config import PreprocessConfig
from peclip.models.descriptions import describe
from peclip.models.pe_clip_config import PEClipConfig
from peclip.recognizers.pe_clip import PEClip
from peclip.weights.model_card import ETHICS, NOT_RECORDED, model_card


def card(config: PEClipConfig, *, full: bool = False, name: str = "my-model") -> str:
    texts = describe(config.label_set, config.descriptions, config.label_texts)
    return model_card(name, config, texts, full=full)


def test_every_card_has_the_ethics_statement() -> None:
    for config in (PEClipConfig(), PEClipConfig(labels=("awake", "asleep"))):
        for full in (True, False):
            text = " ".join(card(config, full=full).split())
            assert " ".join(ETHICS.split()) in text
    assert "Art. 5(1)(f)" in ETHICS
    assert "cannot know what a person feels" in ETHICS
    assert "at work and in education is prohibited in the European Union" in ETHICS
    assert "errors differ between groups of people" in ETHICS


def test_a_card_says_whether_weights_are_stored_besides_the_backbone() -> None:
    config = PEClipConfig(backbone="ViT-B-32", pretrained="laion2b_s34b_b79k", quick_gelu=False)
    texts = describe(config.label_set, config.descriptions, config.label_texts)
    for trained, own in ((True, "the trained weights"), (False, "no trained weights")):
        told = model_card("mine", config, texts, full=False, trained=trained)
        assert f"contains\n{own};" in told
        assert "ViT-B-32 with the weights laion2b_s34b_b79k." in told


def test_the_metadata_is_valid_for_the_hub() -> None:
    _, front, body = card(PEClipConfig()).split("---\n", maxsplit=2)
    metadata = yaml.safe_load(front)
    assert metadata["library_name"] == "peclip"
    assert metadata["license"] == "other"
    assert "pe-clip" in metadata["tags"]
    assert body.startswith("\n# my-model\n")


def test_the_labels_are_listed_in_order_with_their_texts() -> None:
    config = PEClipConfig(labels=("fear", "awake"), label_texts={"awake": "Upper Lid Raiser."})
    rows = re.findall(r"^\| (\w+) \| (.*) \|$", card(config), flags=re.MULTILINE)
    assert rows == [
        ("label", "text"),
        ("fear", describe(config.label_set, "action_units")[0]),
        ("awake", "Upper Lid Raiser."),
    ]


def test_a_text_does_not_break_the_table() -> None:
    """A block of YAML ends in a line break, and a text may hold the mark of a column."""
    config = PEClipConfig(labels=("a", "b"), label_texts={"a": "one|two\n", "b": "three\nfour"})
    lines = card(config).splitlines()
    start = lines.index("|---|---|") + 1
    assert [line.split(" | ")[0] for line in lines[start : start + 2]] == ["| a", "| b"]
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in lines[start : start + 2])
    assert lines[start + 2] == ""


def test_the_stored_and_the_downloaded_weights_are_listed() -> None:
    part = card(PEClipConfig())
    assert "the backbone is ViT-B-16-quickgelu with the weights openai" in part
    whole = card(PEClipConfig(pretrained=None), full=True)
    assert "contains\nall weights." in whole
    assert "None" not in whole


def test_the_input_is_described() -> None:
    preprocess = PreprocessConfig(image_size=48, grayscale=True, mean=(0, 0, 0), face_margin=0.5)
    text = card(PEClipConfig(num_frames=8, preprocess=preprocess))
    assert "8 frames of a face, 48x48 pixels" in text
    assert "grey, mean (0.0, 0.0, 0.0)" in text
    assert "face margin 0.5" in text
    assert "colour, mean (0.48" in card(PEClipConfig())


def test_a_model_description_replaces_the_placeholder() -> None:
    config = PEClipConfig()
    text = model_card("m", config, config.labels, full=False, story="Trained on two videos.")
    assert "\n\nTrained on two videos.\n\n## Use" in text
    assert NOT_RECORDED not in text
    assert NOT_RECORDED in card(config)


@pytest.fixture
def debug() -> PEClip:
    return PEClip.from_pretrained("debug", device="cpu")


def test_a_saved_model_has_a_card(debug: PEClip, tmp_path: Path) -> None:
    debug.save_pretrained(tmp_path / "smiles")
    text = (tmp_path / "smiles" / "README.md").read_text(encoding="utf-8")
    assert text == model_card("smiles", debug.config, debug.model.texts, full=True)
    assert "Art. 5(1)(f)" in text


def test_an_existing_card_is_kept(debug: PEClip, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("my own words", encoding="utf-8")
    debug.save_pretrained(tmp_path)
    debug.save_pretrained(tmp_path, full=True)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "my own words"
    assert (tmp_path / "model.safetensors").is_file()


def test_the_card_of_the_working_folder_has_a_name(
    debug: PEClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    debug.save_pretrained(".")
    assert 'from_pretrained("")' not in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_the_card_of_whole_frames_is_not_about_faces() -> None:
    preprocess = PreprocessConfig(face_crop=False)
    text = card(PEClipConfig(labels=("wave", "still"), preprocess=preprocess))
    assert "face" not in text.lower()
    assert "video-classification" in text
    assert "whole frames" in text
