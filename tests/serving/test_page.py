"""The page in a real browser; skipped where there is none. CHROMIUM may hold the path of one."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from prediction_server import PredictionServer, prediction_server

from peclip.cli.app import run

NAMES = ("chromium", "chromium-browser", "google-chrome")
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
WAIT_MS = 120_000
TOKEN = "0123456789abcdef"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("needs Chromium: install it, or set CHROMIUM to its path")
    with sync_playwright() as started:
        flags = ["--no-sandbox", "--disable-gpu", *CAMERA]
        browser = started.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, server: PredictionServer) -> Iterator[Page]:
    """The page, which must neither raise an error nor break its own security policy."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(WAIT_MS)
    yield opened(context, server.address)
    context.close()


def opened(context: Any, address: str) -> Page:
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: said.type == "error" and errors.append(said.text))
    page.goto(address)
    expect(page.locator("#model")).to_contain_text("nano", timeout=WAIT_MS)
    assert not errors
    return page


def send(page: Page, path: Path, state: str = "Done") -> None:
    page.set_input_files("#file", path)
    expect(page.locator("#state")).to_have_text(re.compile(f"^{state}"), timeout=WAIT_MS)


def painted(page: Page, canvas: str) -> Any:
    """Which pixels of a canvas are not transparent, (H, W)."""
    height, width, pixels = page.eval_on_selector(
        canvas,
        """(canvas) => {
            const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            return [canvas.height, canvas.width, Array.from(data).filter((_, place) => place % 4 === 3)];
        }""",
    )
    return np.array(pixels).reshape(height, width) > 0


def time_of(page: Page) -> float:
    return float(page.eval_on_selector("#video", "(video) => video.currentTime"))


def test_from_an_upload_to_the_csv(
    page: Page,
    server: PredictionServer,
    astronaut: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send(page, astronaut)
    expect(page.locator("#state")).to_have_text("Done, 5 rows")
    # The box is on the face, whose middle is in this part of every frame, and its inside is clear.
    mask = painted(page, "#overlay")
    assert mask.shape == (240, 320)
    lines = np.flatnonzero(mask[120:].any(0))
    rows = np.flatnonzero(mask[:, 150:160].any(1))
    assert 90 < lines.min() < 125
    assert 170 < lines.max() < 205
    assert 125 < rows.max() < 165
    assert not mask[80:120, 130:170].any()
    # A click on the timeline seeks.
    lanes = page.locator("#lanes")
    box = lanes.bounding_box()
    assert box is not None
    lanes.click(position={"x": 46 + (box["width"] - 56) * 0.5, "y": 15})
    expect(lanes).to_have_attribute("aria-valuenow", "1.5")
    assert time_of(page) == pytest.approx(1.5, abs=0.02)
    # So do the keys.
    lanes.focus()
    page.keyboard.press("ArrowRight")
    expect(lanes).to_have_attribute("aria-valuenow", "2.0")
    expect(lanes).to_have_attribute("aria-valuetext", "2.0 seconds, happiness")
    page.keyboard.press("Home")
    expect(lanes).to_have_attribute("aria-valuenow", "0.0")
    expect(page.locator("#now .best")).to_contain_text("happiness")
    expect(page.locator("#people img")).to_have_count(1)
    with page.expect_download() as download:
        page.click("#downloads a:has-text('csv')")
    monkeypatch.chdir(astronaut.parent)
    output = tmp_path / "rows.csv"
    options = ["--device", "cpu", "--precision", "fp32", "--no-progress"]
    assert run(["predict", astronaut.name, "-o", str(output), *options]) == 0
    assert download.value.suggested_filename == "astronaut.csv"
    assert download.value.path().read_text() == output.read_text()
    page.click("#explain")
    expect(page.locator("#why-text")).to_contain_text("Person 0 at 0.0 s", timeout=WAIT_MS)
    assert page.eval_on_selector("#why-picture", "(picture) => picture.naturalWidth") > 300
    with page.expect_download() as download:
        page.click("#overlay-save")
    assert download.value.suggested_filename == "astronaut-overlay.mp4"
    assert b"ftyp" in download.value.path().read_bytes()[:12]
    folders = [job.folder for job in server.service.jobs]
    page.click("#remove")
    expect(page.locator("#job-panel")).to_be_hidden()
    expect(page.locator("#file")).to_be_focused()
    page.wait_for_load_state("networkidle")
    assert not any(folder.exists() for folder in folders)


def test_a_broken_file_shows_one_line(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"no video at all")
    send(page, path, "Failed")
    message = page.locator("#error").inner_text()
    assert message.startswith("broken.mp4 ")
    assert "\n" not in message
    assert "Traceback" not in message
    large = tmp_path / "large.mp4"
    large.write_bytes(b"\0" * 1_000_001)
    send(page, large, "Failed")
    expect(page.locator("#error")).to_contain_text("1 MB")


def test_two_tabs_at_once(page: Page, server: PredictionServer, astronaut: Path) -> None:
    other = opened(page.context, server.address)
    for tab in (page, other):
        tab.set_input_files("#file", astronaut)
    for tab in (page, other):
        expect(tab.locator("#state")).to_have_text("Done, 5 rows", timeout=WAIT_MS)
        assert tab.locator("#now .best").inner_text().split() == ["happiness", "1.00"]


def test_the_same_file_can_be_sent_again(page: Page, astronaut: Path) -> None:
    """A browser reports no change if the file that is chosen is the one that was chosen before."""
    send(page, astronaut)
    assert page.eval_on_selector("#file", "(input) => input.value") == ""


def test_numbers_are_those_of_the_video_that_is_shown(page: Page, astronaut: Path) -> None:
    send(page, astronaut)
    expect(page.locator("#now .best")).to_contain_text("happiness")

    def swap(route: Route) -> None:
        """Makes the second prediction another one, with the same person and window."""
        text = route.fetch().text()
        for old, new in (("happiness", "?"), ("sadness", "happiness"), ("?", "sadness")):
            text = text.replace(old, new)
        route.fulfill(body=text, content_type="text/event-stream")

    page.route("**/events", swap)
    send(page, astronaut)
    expect(page.locator("#now .best")).to_contain_text("sadness")


def test_a_delete_ends_the_upload(page: Page, server: PredictionServer, astronaut: Path) -> None:
    before = {job.id for job in server.service.jobs}
    held: list[Route] = []
    page.route("**/v1/predictions", lambda route: held.append(route))
    page.set_input_files("#file", astronaut)
    expect(page.locator("#state")).to_contain_text("Sending")
    with page.expect_event("requestfailed"):
        page.click("#remove")
    assert len(held) == 1
    assert {job.id for job in server.service.jobs} == before
    expect(page.locator("#job-panel")).to_be_hidden()


def test_pictures_that_are_missing(page: Page, astronaut: Path) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.route("**/people/*.png", lambda route: route.fulfill(status=404))
    send(page, astronaut)
    page.locator("#lanes").press("End")
    expect(page.locator("#lanes")).to_have_attribute("aria-valuenow", "3.0")
    expect(page.locator("#people svg")).to_have_count(1)
    assert not errors


def test_a_video_without_a_face(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "empty.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for _ in range(20):
        writer.write(np.zeros((64, 64, 3), np.uint8))
    writer.release()
    send(page, path)
    expect(page.locator("#state")).to_contain_text("no face")
    expect(page.locator("#people-title")).to_be_hidden()
    expect(page.locator("#explain")).to_be_disabled()
    # The browser cannot play AVI.
    page.click("#play-overlay")
    page.eval_on_selector(
        "#video",
        """(video) => new Promise((played) => {
            if (video.readyState > 1) played(); else video.addEventListener("loadeddata", played);
        })""",
    )


def test_the_webcam(page: Page) -> None:
    page.click("#camera-start")
    expect(page.locator("#camera-state")).to_have_text(
        "No face", timeout=WAIT_MS
    )  # it is a pattern
    page.click("#camera-record")
    expect(page.locator("#camera-record")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#camera-record")).to_contain_text("(2 s)", timeout=WAIT_MS)
    page.click("#camera-record")
    expect(page.locator("#job-title")).to_have_text(re.compile(r"webcam\.(webm|mp4)"))
    expect(page.locator("#state")).to_have_text(re.compile("^Done, "), timeout=WAIT_MS)
    page.click("#camera-stop")
    expect(page.locator("#camera-panel")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone(
    browser: Browser, server: PredictionServer, astronaut: Path, tmp_path: Path, scheme: Any
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    page = opened(context, server.address)
    send(page, shutil.copy(astronaut, tmp_path / f"{'x' * 110}.mp4"))
    page.click("#table-box summary")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    table = page.locator("#table-box .scroll")
    assert table.evaluate("(box) => box.scrollWidth <= box.clientWidth")
    background = page.eval_on_selector("body", "(body) => getComputedStyle(body).backgroundColor")
    levels = [int(number) for number in re.findall(r"\d+", background)[:3]]
    assert (sum(levels) > 3 * 128) is (scheme == "light")
    context.close()


def test_everything_is_labelled_and_reached_by_keyboard(page: Page, astronaut: Path) -> None:
    send(page, astronaut)
    unnamed = page.eval_on_selector_all(
        "input, button, a[href], video, canvas:not([aria-hidden], [role=img] *), progress",
        """(found) => found.filter((one) => !one.closest("[hidden]")
            && !(one.labels?.length || one.getAttribute("aria-label") || one.textContent.trim()))
            .map((one) => one.outerHTML)""",
    )
    assert unnamed == []
    page.locator("body").click(position={"x": 5, "y": 5})
    reached = []
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert {"file", "camera-start", "remove", "video", "lanes", "overlay-save"} <= {*reached}


def test_a_token_from_the_address_or_the_form(browser: Browser, offline: None) -> None:
    with prediction_server(token=TOKEN) as server:
        context = browser.new_context()
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.goto(server.address)
        page.fill("#token", "wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#token-error")).to_contain_text("not the token")
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("#model")).to_contain_text("nano")
        context.close()
        context = browser.new_context()
        page = opened(context, f"{server.address}/#token={TOKEN}")
        assert page.url == f"{server.address}/"
        context.close()
