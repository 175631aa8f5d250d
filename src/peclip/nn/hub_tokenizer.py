"""The tokenizers of other text encoders (SigLIP, CLIPA, MetaCLIP 2), through open_clip and `transformers`.

Their vocabulary is a file of a hub repository, which is loaded when the first text is encoded, so that the sizes of a
model can be shown without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from peclip.downloads.hub import checked_responses
from peclip.errors import ConfigError, WeightsError, first_line


class HubTokenizer:
    """Encodes texts as open_clip's `HFTokenizer` does, without padding.

    Args:
        text_config: of open_clip, with `hf_tokenizer_name`.
        cache_dir: of the hub; its default if `None`.
        offline: never download.
    """

    def __init__(
        self,
        text_config: Mapping[str, Any],
        *,
        cache_dir: Path | None = None,
        offline: bool = False,
    ) -> None:
        self.name = str(text_config["hf_tokenizer_name"])
        self._options = dict(text_config.get("tokenizer_kwargs") or {})
        self._cache_dir, self._offline = cache_dir, offline

    def load(self) -> None:
        """Loads the vocabulary now, downloading it if it is not cached.

        Raises:
            ConfigError: a package is missing.
            WeightsError: the vocabulary is not cached and cannot be downloaded.
        """
        assert self._tokenizer

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            import transformers  # noqa: F401 (open_clip's error would not name it)
            from open_clip.tokenizer import HFTokenizer
        except ImportError as error:
            raise self._missing(error) from None
        cache = None if self._cache_dir is None else str(self._cache_dir)
        options = self._options | {"cache_dir": cache, "local_files_only": self._offline}
        try:
            with checked_responses():
                return HFTokenizer(self.name, **options)
        except ImportError as error:
            raise self._missing(error) from None
        except (OSError, ValueError, RuntimeError) as error:
            state = "peclip is in offline mode" if self._offline else first_line(error).rstrip(".")
            raise WeightsError(
                f"The tokenizer {self.name!r} of the text encoder is not in the cache "
                f"{str(self._cache_dir or 'of the hub')!r}, and cannot be loaded: {state}. Once online, "
                "download it together with the weights: peclip models download BACKBONE/WEIGHTS"
            ) from error

    def _missing(self, error: ImportError) -> ConfigError:
        package = getattr(error, "name", None) or "transformers"
        return ConfigError(
            f"The text encoder needs the tokenizer {self.name!r}, for which the package {package} is "
            f"missing. Install it with: pip install transformers {package}".removesuffix(
                " transformers" if package == "transformers" else ""
            )
        )

    @cached_property
    def _around(self) -> tuple[list[int], list[int]]:
        """The tokens before and after every text."""
        words, whole = self._tokens("a", special=False), self._tokens("a", special=True)
        for start in range(len(whole) - len(words) + 1):
            if whole[start : start + len(words)] == words:
                return whole[:start], whole[start + len(words) :]
        raise ConfigError(f"The tokenizer {self.name!r} changes words next to its special tokens.")

    @property
    def starts(self) -> list[int]:
        """The tokens before every text."""
        return self._around[0]

    @property
    def ends(self) -> list[int]:
        """The tokens after every text."""
        return self._around[1]

    @property
    def padding(self) -> int:
        """The token that fills the context."""
        return int(self._tokenizer.tokenizer.pad_token_id)

    def encode(self, text: str) -> list[int]:
        """Returns the tokens of a text, without those before and after it."""
        return self._tokens(self._tokenizer.clean_fn(text), special=False)

    def _tokens(self, text: str, *, special: bool) -> list[int]:
        inner = self._tokenizer.tokenizer
        tokens = [int(token) for token in inner(text, add_special_tokens=special).input_ids]
        if not self._tokenizer.strip_sep_token:
            return tokens
        return [0 if token == inner.sep_token_id else token for token in tokens]
