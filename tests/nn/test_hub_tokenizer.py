"""Tokenizers of the hub: those of SigLIP have no start token, those of CLIPA an end token that is dropped."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip.tokenizer import HFTokenizer
from small_backbones import CONFIGS, publish

from peclip.errors import ConfigError, WeightsError
from peclip.models.registry import build_model
from peclip.nn.clip import load_backbone
from peclip.nn.hub_tokenizer import HubTokenizer
from peclip.weights.parameter_counts import count_parameters
from peclip.weights.resolve import backbone_model_config

WORDS = ["a", "the", "happy", "sad", "face", "fear", "brow", "raiser", "lip", "of", "inner"]
TEXTS = ["A happy, FACE!", "fear", "inner brow raiser"]
transformers = pytest.importorskip("transformers")


def save_tokenizer(folder: Path, *, bert: bool) -> str:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from tokenizers.processors import TemplateProcessing

    special = ["<pad>", "</s>", "<unk>", "[CLS]", "[SEP]"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    form, used = ("[CLS] $A [SEP]", special[3:]) if bert else ("$A </s>", ["</s>"])
    inner.post_processor = TemplateProcessing(
        single=form, special_tokens=[(word, vocabulary[word]) for word in used]
    )
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    names |= {"cls_token": "[CLS]", "sep_token": "[SEP]"} if bert else {}
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **names).save_pretrained(folder)
    return str(folder)


def config_of(name: str, folder: Path, **options: Any) -> dict[str, Any]:
    text = CONFIGS["tiny-SigLIP"]["text_cfg"] | {"context_length": 12, "vocab_size": 32}
    text |= {"hf_tokenizer_name": name, "tokenizer_kwargs": options}
    return CONFIGS["tiny-SigLIP"] | {"text_cfg": text}


@pytest.mark.parametrize(
    ("bert", "options", "starts", "ends"),
    [
        (False, {"clean": "canonicalize"}, [], [1]),
        (True, {"strip_sep_token": True}, [3], [0]),
        (True, {}, [3], [4]),
    ],
)
def test_tokens_equal_those_of_open_clip(
    bert: bool,
    options: dict[str, Any],
    starts: list[int],
    ends: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = save_tokenizer(tmp_path / "tokenizer", bert=bert)
    publish(monkeypatch, tmp_path, {"tiny": config_of(name, tmp_path, **options)})
    text = load_backbone("tiny", None, offline=True).text
    assert (text.tokenizer.starts, text.tokenizer.ends) == (starts, ends)
    assert text.tokenizer.padding == 0
    rows, _ = text._tokenised(TEXTS, 0, cut=False, device=torch.device("cpu"))
    assert torch.equal(rows, HFTokenizer(name, context_length=12, **options)(TEXTS))


def test_a_prompt_without_a_start_token_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = save_tokenizer(tmp_path / "tokenizer", bert=False)
    publish(monkeypatch, tmp_path, {"tiny": config_of(name, tmp_path)})
    text = load_backbone("tiny", None, offline=True).text
    tokens, _ = text.embed(["fear"], 2)
    seen: list[torch.Tensor] = []
    text.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    text(tokens, torch.tensor([11]), [torch.full((2, 48), 7.0)])
    (first,) = seen
    start = first[0] - text.positional_embedding
    torch.testing.assert_close(start[:2], torch.full((2, 48), 7.0), atol=1e-5, rtol=0)
    words = text.token_embedding(torch.tensor([text.tokenizer.encode("fear")[0], 1, 0]))
    torch.testing.assert_close(start[2:5], words, atol=1e-5, rtol=0)
    with pytest.raises(ConfigError, match="has 13 tokens.*at most 12"):
        text.embed(["fear " * 10], 2)
    text.embed(["fear " * 10], 2, cut=True)


def test_a_model_is_described_without_its_tokenizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, tmp_path, {"tiny": config_of("nobody/nothing", tmp_path)})
    config = backbone_model_config("tiny", None)
    assert count_parameters(config)["trainable"]["prompts"] > 0
    model = build_model(config, cache_dir=tmp_path, offline=True)
    with pytest.raises(
        WeightsError, match="'nobody/nothing'.*offline mode.*peclip models download"
    ):
        model.encode_labels()


def test_a_tokenizer_in_the_cache_needs_no_network(tmp_path: Path) -> None:
    folder = tmp_path / "models--timm--tiny"
    snapshot = folder / "snapshots" / ("0" * 40)
    save_tokenizer(snapshot, bert=False)
    absent = folder / ".no_exist" / ("0" * 40)  # as the client notes what a repository lacks
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    absent.mkdir(parents=True)
    (absent / "config.json").touch()
    tokenizer = HubTokenizer({"hf_tokenizer_name": "timm/tiny"}, cache_dir=tmp_path, offline=True)
    tokenizer.load()
    assert tokenizer.encode("fear") == [5 + WORDS.index("fear")]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"pip install transformers$"):
        HubTokenizer({"hf_tokenizer_name": "timm/ViT-B-16-SigLIP"}).load()
