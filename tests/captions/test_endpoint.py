"""Captions from an endpoint, against a server on this machine that plays one."""

from __future__ import annotations

import base64
import socket
from typing import Any

import cv2
import numpy as np
import pytest
from fake_endpoint import ANSWER, Endpoint, Reply, completion

from peclip.captions.endpoint import ATTEMPTS, MAX_RESPONSE_BYTES, EndpointCaptioner
from peclip.captions.prompt import PROMPT
from peclip.errors import ConfigError, EndpointError, NoCaptionError
from peclip.settings import load_settings
from peclip.video.frames import Frames


def frames(count: int = 2, height: int = 8, width: int = 8) -> Frames:
    data = np.zeros((count, height, width, 3), np.uint8)
    data[..., 0] = 255  # red
    return Frames(data, np.arange(count, dtype=np.float64))


def captioner(url: str, waited: list[float] | None = None, **more: Any) -> EndpointCaptioner:
    wait = (waited if waited is not None else []).append
    return EndpointCaptioner(url, "vlm-1", settings=load_settings(), wait=wait, **more)


def test_the_question_and_the_frames_are_sent(endpoint: Endpoint) -> None:
    assert captioner(endpoint.url).describe(frames(2, 300, 1024)) == ANSWER
    (sent,) = endpoint.seen
    path, headers, request = sent.path, sent.headers, sent.json
    assert path == "/v1/chat/completions"
    assert "Authorization" not in headers
    assert (request["model"], request["temperature"]) == ("vlm-1", 0)
    (message,) = request["messages"]
    text, *images = message["content"]
    assert text == {"type": "text", "text": PROMPT}
    assert PROMPT.startswith("You are a facial expression analyst.")
    assert len(images) == 2
    kind, _, content = images[0]["image_url"]["url"].partition(",")
    assert kind == "data:image/jpeg;base64"
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (150, 512, 3)
    blue, green, red = picture.mean((0, 1))
    assert red > 250
    assert max(blue, green) < 5


def test_the_key_and_the_options(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PECLIP_CAPTIONS_API_KEY", "sk-secret")
    options = {"max_completion_tokens": 50}
    captioner(f"{endpoint.url}/chat/completions/", options=options).describe(frames())
    (sent,) = endpoint.seen
    path, headers, request = sent.path, sent.headers, sent.json
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer sk-secret"
    assert set(request) == {"model", "messages", "max_completion_tokens"}


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_retried(status: int, endpoint: Endpoint) -> None:
    busy = Reply(b"later", status)
    endpoint.script = [busy, Reply(b"", status, {"Retry-After": "7"}), busy]
    waited: list[float] = []
    assert captioner(endpoint.url, waited).describe(frames()) == ANSWER
    assert waited == [1, 7, 4]


def test_a_server_that_stays_busy(endpoint: Endpoint) -> None:
    endpoint.script = [Reply(b"", 503, {"Retry-After": "86400"})] * ATTEMPTS
    waited: list[float] = []
    with pytest.raises(EndpointError, match=rf"responded with 503 .*after {ATTEMPTS} attempts"):
        captioner(endpoint.url, waited).describe(frames())
    assert waited == [60] * (ATTEMPTS - 1)


def test_an_unreachable_server_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    waited: list[float] = []
    with pytest.raises(
        EndpointError, match=rf":{port}/v1/chat.*Connection refused \(after 4 attempts\)\. Check"
    ):
        captioner(f"http://127.0.0.1:{port}/v1", waited).describe(frames())
    assert len(waited) == ATTEMPTS - 1


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(b"<html>Welcome to nginx</html>"), "not JSON: '<html>Welcome"),
        (Reply({"error": "no such model"}), 'no choices[0].message.content: \'{"error": "no such'),
        (Reply({"choices": []}), "no choices"),
        (Reply([1]), "no choices"),
        (Reply({"choices": [{"message": None}]}), "no choices"),
        (Reply(completion([{"type": "text", "text": ANSWER}])), "content is not text: "),
        (Reply(completion(7)), "content is not text: "),
        (Reply({}, 401), "PECLIP_CAPTIONS_API_KEY is not set"),
        (Reply({"error": "unknown model vlm-1"}, 404), "404 Not Found: "),
        (Reply(b"", 302, {"Location": "https://elsewhere.test/"}), "https://elsewhere"),
        (Reply(b"x" * (MAX_RESPONSE_BYTES + 1)), "larger than 1,048,576 bytes"),
        (Reply(b"\xff\xfe\n\n<"), "not JSON"),
    ],
)
def test_an_invalid_response_is_a_one_line_error_without_a_retry(
    reply: Reply, words: str, endpoint: Endpoint
) -> None:
    endpoint.script = [reply]
    with pytest.raises(EndpointError) as caught:
        captioner(endpoint.url).describe(frames())
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert "Finished captions are saved" in message
    assert caught.value.exit_code == 4
    assert len(endpoint.seen) == 1


def test_the_key_is_not_shown(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PECLIP_CAPTIONS_API_KEY", "sk-secret")
    endpoint.script = [Reply({"error": "no credit for sk-secret"}, 402), Reply({}, 401)]
    for words in ("no credit for …", "PECLIP_CAPTIONS_API_KEY is invalid"):
        with pytest.raises(EndpointError, match=words) as caught:
            captioner(endpoint.url).describe(frames())
        assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", " \n", None])
def test_an_empty_response_fails_one_video_only(text: str | None, endpoint: Endpoint) -> None:
    endpoint.script = [Reply(completion(text))]
    with pytest.raises(NoCaptionError, match="'vlm-1' at 127.0.0.1 returned an empty caption"):
        captioner(endpoint.url).describe(frames())


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_local_server_bypasses_the_proxy(
    variable: str, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(
        variable, "http://127.0.0.1:1"
    )  # nothing listens there: a request would fail
    assert captioner(endpoint.url).describe(frames()) == ANSWER
    assert captioner(endpoint.url).describe(frames()) == ANSWER
    assert [sent.path for sent in endpoint.seen] == ["/v1/chat/completions"] * 2


def test_a_remote_server_is_reached_through_the_proxy(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PECLIP_OFFLINE", "0")
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, endpoint.url.removesuffix("/v1"))
    assert captioner("http://vlm.example.test/v1").describe(frames()) == ANSWER
    assert endpoint.seen[0].path == "http://vlm.example.test/v1/chat/completions"


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://", "http://[::1", ""])
def test_an_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="use a URL such as"):
        captioner(url)


def test_offline_mode_allows_only_a_local_server() -> None:
    assert captioner("http://localhost:8000/v1").is_local
    with pytest.raises(EndpointError, match="offline mode"):
        captioner("https://api.example.test/v1")
