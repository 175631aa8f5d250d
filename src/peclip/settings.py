"""Settings from the environment: where files are stored, network use, and its limits.

Models and data are not settings, but configurations. They are read again on every call, because a notebook
or a test changes `os.environ` after the import.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from peclip.errors import ConfigError

PREFIX = "PECLIP_"


class Settings(BaseSettings):
    """Settings of one process, from `PECLIP_*` and the few Hugging Face variables users already set.

    The description of a field states what it accepts: `load_settings` quotes it in its error.
    """

    # An empty variable counts as unset: that is how shells and compose files leave one out.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    cache_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_cache_dir("peclip")),
        description="a writable folder",
    )
    offline: bool = Field(
        default=False,
        description="true or false (also 1/0, yes/no, on/off)",
    )
    token: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices(f"{PREFIX}TOKEN", "HF_TOKEN"),
        description="a Hugging Face access token",
    )
    max_download_bytes: int = Field(
        default=8 * 1024**3, gt=0, le=2**50, description="a whole number of bytes above 0"
    )
    http_timeout: float = Field(
        default=10.0, gt=0, le=86_400, description="a number of seconds above 0, at most a day"
    )
    download_timeout: float = Field(
        default=3600.0, gt=0, allow_inf_nan=False, description="a number of seconds above 0"
    )
    captions_api_key: SecretStr | None = Field(
        default=None, description="the key of a caption endpoint"
    )
    captions_timeout: float = Field(
        default=120.0, gt=0, le=86_400, description="a number of seconds above 0, at most a day"
    )

    @field_validator("cache_dir")
    @classmethod
    def _expand_home(cls, value: Path) -> Path:
        # A shell does not expand ~ in `env PECLIP_CACHE_DIR=~/x` everywhere, a container never does.
        return Path(os.path.expanduser(value))

    @field_validator("offline")
    @classmethod
    def _follow_hugging_face(cls, value: bool) -> bool:
        # The same words as huggingface_hub takes, so that one switch means one thing to both.
        word = os.environ.get("HF_HUB_OFFLINE", "").strip().upper()
        return value or word in {"1", "ON", "YES", "TRUE"}


def load_settings() -> Settings:
    """Reads the settings from the environment as it is now.

    Raises:
        ConfigError: A variable has an invalid value. The message is one line.
    """
    try:
        return Settings()
    except ValidationError as error:
        complaints = [
            # repr keeps a value with a line break on one line.
            f"{PREFIX}{name.upper()} is {details['input']!r}; it must be "
            f"{Settings.model_fields[name].description}."
            for details in error.errors()
            for name in [str(details["loc"][0])]
        ]
    raise ConfigError(f"{' '.join(complaints)} Correct or unset the environment variable.")
