"""The page in a real browser, served by the real command: drop images, see what they are."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from dpl_jax.inference.classifier import Classifier
from tests.serve.conftest import HOSTILE
from tests.support.repository import ROOT

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium was found")
WITH_SIGINT = (
    "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
)
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")
DROP = """([name, data]) => {
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/png" }));
  const dropped = { dataTransfer: transfer, bubbles: true, cancelable: true };
  document.dispatchEvent(new DragEvent("drop", dropped));
}"""


@pytest.fixture(scope="module")
def address(runs: dict[str, Path]) -> Iterator[str]:
    """Of the real command, which Ctrl-C ends in good order."""
    command = ["launch/serve.py", str(runs["image"]), "--port=0", "--max_upload_mb=1"]
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_SIGINT, *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    try:
        assert found is not None, process.stderr.read() if process.stderr else ""
        yield found[0]
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode in (0, 130) and "Traceback" not in said, said


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_images_are_dropped_and_chosen_and_seen(
    address: str,
    browser,
    runs: dict[str, Path],
    png: bytes,
    digit: np.ndarray,
    tmp_path: Path,
    width: int,
) -> None:
    page, problems = browser.new_page(viewport={"width": width, "height": 900}), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.goto(address)
    page.evaluate(DROP, [f"{HOSTILE}.png", base64.b64encode(png).decode()])
    card = page.locator(".card").first
    card.wait_for()
    (guesses,) = Classifier.load(runs["image"]).predict(digit, top_k=10)
    assert card.locator("h2").inner_text() == guesses[0].classname
    assert card.locator(".file").inner_text() == f"{HOSTILE}.png"
    assert page.title() == "image · dpl_jax"
    rows = card.locator("li")
    assert rows.count() == 5
    shares = [f"{100 * guess.probability:.1f} %" for guess in guesses]
    assert rows.nth(0).inner_text().split("\n") == [guesses[0].classname, shares[0]]
    card.locator(".more").click()
    assert rows.count() == 10
    assert card.locator(".map").evaluate("image => getComputedStyle(image).opacity") == "0"
    card.locator("input[type=range]").fill("60")
    assert card.locator(".map").evaluate("image => getComputedStyle(image).opacity") == "0.6"
    assert "of the attention goes to the prompts" in card.locator(".share").inner_text()

    big, text = tmp_path / "big.png", tmp_path / "notes.txt"
    PIL.Image.effect_noise((1200, 1200), 90).convert("RGB").save(big)
    text.write_text("no image")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0junk")
    assert big.stat().st_size > 2**20 and not problems
    page.locator("#files").set_input_files([big, text, broken])
    page.locator(".card").nth(3).wait_for()
    said = page.locator(".card.failed").all_inner_texts()
    assert ["broken.jpg" in said[0], "notes.txt" in said[1], "big.png" in said[2]] == [True] * 3
    assert "not an image of a kind" in said[1] and "larger than 1 MB" in said[2]
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) <= 0
    if folder := os.environ.get("DPL_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"serve-{width}.png", full_page=True)
    page.close()
    # The browser's own note of the answer 422 to the broken file.
    assert all("422" in problem for problem in problems), problems
