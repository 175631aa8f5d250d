"""Captions from a video-text model of `transformers` on this machine; no frame leaves it."""

from __future__ import annotations

from typing import Any

import torch
from safetensors import SafetensorError

from peclip.captions.prompt import PROMPT
from peclip.downloads.hub import checked_responses, hub_cache
from peclip.errors import (
    ConfigError,
    DeviceError,
    MissingExtraError,
    NoCaptionError,
    WeightsError,
    first_line,
)
from peclip.runtime import choose_device
from peclip.settings import Settings
from peclip.video.frames import Frames

MAX_NEW_TOKENS = 300


class TransformersCaptioner:
    """A model with its chat template: Video-LLaVA, LLaVA-NeXT-Video, Qwen-VL and others.

    Args:
        name: a hub repository such as `LanguageBind/Video-LLaVA-7B-hf`, the paper's, or a directory.
            Code of a repository is never run.
        device: as in `choose_device`.
        settings: cache, token and network use.

    Raises:
        MissingExtraError: `transformers` is not installed.
        DeviceError: the device is missing or too small, or the model needs a missing package.
        WeightsError: the model is unavailable.
        ConfigError: it does not read videos, or has no chat template.
    """

    def __init__(self, name: str, device: str = "auto", *, settings: Settings) -> None:
        try:
            from transformers import AutoModelForImageTextToText, AutoProcessor
        except ImportError:
            raise MissingExtraError("Captioning with a local model", "captions") from None
        self.name = name
        self._device = choose_device(device)
        options: dict[str, Any] = {
            "cache_dir": hub_cache(settings),
            "local_files_only": settings.offline,
            "token": None if settings.token is None else settings.token.get_secret_value(),
            "trust_remote_code": False,
        }
        try:
            with checked_responses():
                self._processor = AutoProcessor.from_pretrained(name, **options)
                _check_processor(name, self._processor)
                model = AutoModelForImageTextToText.from_pretrained(name, dtype="auto", **options)
            self._model = model.to(self._device).eval()
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"Out of memory on {self._device} while loading {name!r}; use a smaller model or "
                "another device."
            ) from error
        except ImportError as error:
            raise DeviceError(
                f"The model {name!r} requires a package that is not installed: "
                f"{first_line(error).rstrip('.')}. Install it."
            ) from error
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            if isinstance(error, ConfigError):
                raise
            state = " (peclip is in offline mode)" if settings.offline else ""
            raise WeightsError(
                f"The model {name!r} cannot be loaded{state}: {first_line(error).rstrip('.')}. "
                "Use a video-text model from the hub, such as LanguageBind/Video-LLaVA-7B-hf, or "
                "a local directory that contains one."
            ) from error

    @torch.inference_mode()
    def describe(self, frames: Frames) -> str:
        """Returns the most likely text (greedy decoding), which is reproducible.

        Raises:
            NoCaptionError: the text is empty.
            DeviceError: out of memory.
        """
        pixels = torch.from_numpy(frames.data).permute(0, 3, 1, 2)
        content = [{"type": "video", "video": pixels}, {"type": "text", "text": PROMPT}]
        inputs = self._processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            # The frames are sampled already; models that use timestamps read them from here.
            processor_kwargs={"do_sample_frames": False, "video_metadata": [_metadata(frames)]},
        ).to(self._device, dtype=self._model.dtype)
        try:
            ids = self._model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"Out of memory on {self._device} while captioning {len(frames)} frames with "
                f"{self.name!r}; use fewer frames, a smaller model or another device."
            ) from error
        new = ids[0, inputs["input_ids"].shape[1] :]
        text = str(self._processor.decode(new, skip_special_tokens=True)).strip()
        if not text:
            raise NoCaptionError(
                f"the model {self.name!r} returned an empty caption; try another model."
            )
        return text


def _check_processor(name: str, processor: Any) -> None:
    if getattr(processor, "video_processor", None) is None:
        raise ConfigError(
            f"The model {name!r} does not support video input; use a video-text model such as "
            "LanguageBind/Video-LLaVA-7B-hf."
        )
    if not getattr(processor, "chat_template", None):
        raise ConfigError(f"The model {name!r} has no chat template; use a chat model.")


def _metadata(frames: Frames) -> dict[str, Any]:
    span = float(frames.timestamps[-1] - frames.timestamps[0])
    rate = (len(frames) - 1) / span if span > 0 else 1.0
    height, width = frames.data.shape[1:3]
    return {
        "total_num_frames": len(frames),
        "fps": rate,
        "duration": len(frames) / rate,
        "width": width,
        "height": height,
        "frames_indices": list(range(len(frames))),
    }
