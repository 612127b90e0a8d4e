"""The page in a real browser: it fits the screen, shows its images, and runs no hostile name."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from dpl_jax.report.page import write_report

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium was found")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
PHONE, DESKTOP = 390, 1280
LISTEN = """<script>window.alert = () => { document.title = "owned"; };</script>"""
MEASURE = """<script>
addEventListener("load", () => {
  const root = document.documentElement;
  document.body.dataset.found = JSON.stringify({
    width: root.clientWidth,
    overflow: root.scrollWidth - root.clientWidth,
    figures: [...document.querySelectorAll("figure svg")].map(s => s.clientHeight),
    images: [...document.images].map(i => i.complete && i.naturalWidth),
    ink: getComputedStyle(document.body).color,
    paper: getComputedStyle(document.body).backgroundColor,
    title: document.title,
  });
});
</script>"""


def browse(page: Path, width: int, *extra: str) -> str:
    profile = page.parent / f"profile-{len(list(page.parent.glob('profile-*')))}"
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", f"--window-size={width},900"]
    done = subprocess.run(
        [*command, *extra, page.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


def measure(report: Path, width: int, *extra: str) -> dict:
    """What the browser makes of the page, its policy against scripts taken out so ours can run."""
    source = report.read_text(encoding="utf-8")
    source, policies = re.subn("<meta http-equiv=.Content-Security-Policy.*?>", LISTEN, source)
    assert policies == 1
    page = report.with_name("measured.html")
    page.write_text(source.replace("</body>", MEASURE + "</body>"), encoding="utf-8")
    found = re.search('data-found="(.*?)"', browse(page, width, "--dump-dom", *extra))
    assert found is not None
    return json.loads(html.unescape(found[1]))


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_a_training_fits_the_screen_and_runs_no_hostile_name(trained: Path, width: int) -> None:
    found = measure(write_report(trained), width)
    assert found["overflow"] <= 0
    assert found["title"].startswith("photos, 2 shots")
    assert found["images"] == [192, 192]
    assert len(found["figures"]) == 6 and min(found["figures"]) > 80


def test_a_search_fits_the_screen(searched: Path) -> None:
    found = measure(write_report(searched), PHONE)
    assert found["overflow"] <= 0
    assert len(found["figures"]) == 10 and min(found["figures"]) > 80


def test_a_dark_screen_gets_a_dark_page(searched: Path) -> None:
    report = write_report(searched)
    light = measure(report, DESKTOP, "--blink-settings=preferredColorScheme=1")
    dark = measure(report, DESKTOP, "--blink-settings=preferredColorScheme=0")
    assert brightness(light["paper"]) > brightness(light["ink"]) + 150
    assert brightness(dark["ink"]) > brightness(dark["paper"]) + 150


def brightness(colour: str) -> float:
    return float(np.mean([int(part) for part in re.findall(r"\d+", colour)[:3]]))


def test_the_page_as_it_is_shows_something(trained: Path) -> None:
    """With its policy in force: styles, figures and images are still allowed."""
    report = write_report(trained)
    shot = trained / "shot.png"
    browse(report, DESKTOP, f"--screenshot={shot}", "--window-size=1280,6000")
    with PIL.Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB"), int)  # (H, W, 3)
    paper = (pixels == pixels[0, 0]).all(axis=-1)
    assert 0.5 < paper.mean() < 0.98
    for colour in ((0, 114, 178), (213, 94, 0), (20, 200, 20), (90, 0, 90)):
        near = np.abs(pixels - colour).max(axis=-1) <= 6
        assert near.sum() > 150, colour  # blue, orange and both thumbnails
