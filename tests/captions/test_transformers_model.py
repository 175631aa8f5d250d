"""Captions from a model of `transformers`: a Video-LLaVA of two layers with random weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from peclip.captions.transformers_model import MAX_NEW_TOKENS, TransformersCaptioner
from peclip.errors import ConfigError, DeviceError, NoCaptionError, WeightsError
from peclip.settings import load_settings
from peclip.video.frames import Frames

transformers = pytest.importorskip("transformers", reason="the extra captions is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")

TEMPLATE = (
    "{% for message in messages %}USER: {% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}<video> {% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
WORDS = ["<unk>", "<s>", "</s>", "<pad>", "<image>", "<video>", "the", "lips", "part", "eyes"]


def processor() -> transformers.VideoLlavaProcessor:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<image>", "<video>"],
    )
    size = {"height": 28, "width": 28}
    sizes = {"size": {"shortest_edge": 28}, "crop_size": size}
    return transformers.VideoLlavaProcessor(
        image_processor=transformers.VideoLlavaImageProcessor(**sizes),
        video_processor=transformers.VideoLlavaVideoProcessor(**sizes),
        tokenizer=tokenizer,
        patch_size=14,
        chat_template=TEMPLATE,
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("video-llava")
    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    config = transformers.VideoLlavaConfig(
        vision_config=transformers.CLIPVisionConfig(
            **layers, num_attention_heads=2, image_size=28, patch_size=14
        ),
        text_config=transformers.LlamaConfig(
            **layers, num_attention_heads=2, vocab_size=len(WORDS), eos_token_id=2, pad_token_id=3
        ),
        image_token_index=4,
        video_token_index=5,
        image_seq_length=4,
        video_seq_length=32,
    )
    torch.manual_seed(0)
    model = transformers.VideoLlavaForConditionalGeneration(config)
    model.generation_config.suppress_tokens = [0, 1, 2, 3, 4, 5]
    model.save_pretrained(folder)
    processor().save_pretrained(folder)
    return folder


def frames(value: int, count: int = 8) -> Frames:
    data = np.random.default_rng(value).integers(0, 256, (count, 40, 48, 3), np.uint8)
    return Frames(data, np.arange(count) / 5)


def test_the_caption_is_generated_by_the_model(directory: Path) -> None:
    captioner = TransformersCaptioner(str(directory), "cpu", settings=load_settings())
    assert captioner.name == str(directory)
    text = captioner.describe(frames(0))
    words = text.split()
    assert set(words) <= set(WORDS[6:])  # the caption alone, without the prompt
    assert len(words) == MAX_NEW_TOKENS
    assert captioner.describe(frames(0)) == text
    assert captioner.describe(frames(1, count=1))


def test_the_model_sees_the_video(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captioner = TransformersCaptioner(str(directory), "cpu", settings=load_settings())
    seen = []

    def generate(**inputs: torch.Tensor) -> torch.Tensor:
        seen.append(inputs["pixel_values_videos"])
        return inputs["input_ids"]  # nothing is added: an empty caption

    monkeypatch.setattr(captioner._model, "generate", generate)
    for value in (0, 1):
        with pytest.raises(NoCaptionError, match="returned an empty caption"):
            captioner.describe(frames(value))
    assert [tuple(pixels.shape) for pixels in seen] == [(1, 8, 3, 28, 28)] * 2
    assert not torch.equal(*seen)


def test_a_missing_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="Use a video-text") as caught:
        TransformersCaptioner(str(tmp_path), "cpu", settings=load_settings())
    assert "\n" not in str(caught.value)
    with pytest.raises(
        WeightsError, match=r"'nobody/none' cannot be loaded \(peclip is in offline mode\)"
    ):
        TransformersCaptioner("nobody/none", "cpu", settings=load_settings())


def test_a_corrupt_model_is_an_error(directory: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(directory, tmp_path / "damaged")
    (weights,) = folder.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    with pytest.raises(WeightsError, match="Use a video-text"):
        TransformersCaptioner(str(folder), "cpu", settings=load_settings())


def test_a_model_that_is_too_large(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def to(*_: object) -> None:
        raise torch.OutOfMemoryError("Tried to allocate 13 GiB.")

    monkeypatch.setattr(transformers.VideoLlavaForConditionalGeneration, "to", to)
    with pytest.raises(DeviceError, match="Out of memory on cpu while loading .*; use a smaller"):
        TransformersCaptioner(str(directory), "cpu", settings=load_settings())


def test_a_model_without_video_input_or_a_chat_template_is_refused(
    directory: Path, tmp_path: Path
) -> None:
    without = processor()
    without.chat_template = None
    without.save_pretrained(tmp_path / "template")
    with pytest.raises(ConfigError, match="has no chat template"):
        TransformersCaptioner(str(tmp_path / "template"), "cpu", settings=load_settings())
    processor().tokenizer.save_pretrained(tmp_path / "text")
    with pytest.raises((ConfigError, WeightsError), match="video"):
        TransformersCaptioner(str(tmp_path / "text"), "cpu", settings=load_settings())
