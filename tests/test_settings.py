"""The environment decides the settings, and a bad value is one clear line."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from peclip.errors import ConfigError
from peclip.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "CACHE_DIR",
        "OFFLINE",
        "TOKEN",
        "MAX_DOWNLOAD_BYTES",
        "HTTP_TIMEOUT",
        "DOWNLOAD_TIMEOUT",
        "CAPTIONS_API_KEY",
        "CAPTIONS_TIMEOUT",
    ):
        monkeypatch.delenv(f"PECLIP_{name}", raising=False)
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_defaults() -> None:
    settings = load_settings()
    assert settings.cache_dir == Path(platformdirs.user_cache_dir("peclip"))
    assert not settings.offline
    assert settings.token is None
    assert settings.max_download_bytes == 8 * 1024**3
    assert settings.http_timeout == 10
    assert settings.download_timeout == 3600
    assert settings.captions_api_key is None
    assert settings.captions_timeout == 120


def test_every_variable_is_read_on_every_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load_settings()
    monkeypatch.setenv("PECLIP_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("PECLIP_OFFLINE", "yes")
    monkeypatch.setenv("PECLIP_TOKEN", "ours")
    monkeypatch.setenv("PECLIP_MAX_DOWNLOAD_BYTES", "1000")
    monkeypatch.setenv("PECLIP_HTTP_TIMEOUT", "0.5")
    monkeypatch.setenv("PECLIP_DOWNLOAD_TIMEOUT", "60")
    monkeypatch.setenv("PECLIP_CAPTIONS_API_KEY", "sk-1")
    monkeypatch.setenv("PECLIP_CAPTIONS_TIMEOUT", "30")
    monkeypatch.setenv("PECLIP_SOMETHING_ELSE", "is none of our business")
    settings = load_settings()
    assert settings.cache_dir == tmp_path
    assert settings.offline
    assert settings.token is not None
    assert settings.token.get_secret_value() == "ours"
    assert settings.max_download_bytes == 1000
    assert settings.http_timeout == 0.5
    assert settings.download_timeout == 60
    assert settings.captions_api_key is not None
    assert settings.captions_api_key.get_secret_value() == "sk-1"
    assert settings.captions_timeout == 30


def test_fields_are_given_by_their_names(tmp_path: Path) -> None:
    settings = Settings(cache_dir=tmp_path, token="given")  # type: ignore[arg-type]
    assert settings.cache_dir == tmp_path
    assert settings.token is not None
    assert settings.token.get_secret_value() == "given"


def test_the_token_comes_from_hugging_face_unless_peclip_has_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "theirs")
    monkeypatch.setenv("PECLIP_TOKEN", "")
    token = load_settings().token
    assert token is not None
    assert token.get_secret_value() == "theirs"
    monkeypatch.setenv("PECLIP_TOKEN", "ours")
    token = load_settings().token
    assert token is not None
    assert token.get_secret_value() == "ours"


def test_a_token_is_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert "hf_secret" not in repr(load_settings())
    monkeypatch.setenv("PECLIP_OFFLINE", "maybe")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert "hf_secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "offline"), [("1", True), ("true", True), ("ON", True), ("0", False), ("", False)]
)
def test_hugging_face_offline_is_offline(
    monkeypatch: pytest.MonkeyPatch, word: str, offline: bool
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", word)
    assert load_settings().offline is offline


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PECLIP_OFFLINE", "")
    monkeypatch.setenv("PECLIP_CACHE_DIR", "")
    assert not load_settings().offline
    assert load_settings().cache_dir == Path(platformdirs.user_cache_dir("peclip"))


def test_the_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("PECLIP_CACHE_DIR", "~/weights")
    assert load_settings().cache_dir == tmp_path / "weights"


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("PECLIP_OFFLINE", "maybe", "true or false"),
        ("PECLIP_OFFLINE", "may\nbe", "true or false"),
        ("PECLIP_MAX_DOWNLOAD_BYTES", "0", "above 0"),
        ("PECLIP_MAX_DOWNLOAD_BYTES", "8 GB", "whole number of bytes"),
        ("PECLIP_HTTP_TIMEOUT", "-1", "seconds above 0"),
        ("PECLIP_HTTP_TIMEOUT", "inf", "seconds above 0"),
        ("PECLIP_HTTP_TIMEOUT", "nan", "seconds above 0"),
    ],
)
def test_an_invalid_value_is_a_one_line_error_with_the_accepted_values(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, accepted: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    message = str(caught.value)
    assert message.startswith(f"{name} is {value!r}; it must be ")
    assert accepted in message
    assert "unset the environment variable" in message
    assert "\n" not in message
    assert caught.value.__context__ is None  # no pydantic traceback above ours


def test_two_bad_values_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PECLIP_OFFLINE", "maybe")
    monkeypatch.setenv("PECLIP_HTTP_TIMEOUT", "soon")
    with pytest.raises(ConfigError, match=r"PECLIP_OFFLINE.*PECLIP_HTTP_TIMEOUT"):
        load_settings()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().offline = True
