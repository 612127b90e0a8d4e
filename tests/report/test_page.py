"""The page shows the numbers of the run, what it has and no more, and nothing of it runs."""

from __future__ import annotations

import html
import html.parser
import re
from pathlib import Path

import numpy as np
import pytest

from configs import digits
from dpl_jax.errors import RunFolderError
from dpl_jax.files.json import read_json, write_json
from dpl_jax.report import report_at_end
from dpl_jax.report.page import write_report
from dpl_jax.runs.folder import open_run
from dpl_jax.runs.predictions import load_predictions, save_predictions
from tests.report.conftest import CLASSNAMES, IMG, SCRIPT


class Page(html.parser.HTMLParser):
    """What a browser makes of a page: its elements, attributes, and the text of each section."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.sections: dict[str, str] = {}
        self.section = ""
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "section":
            self.section = dict(attrs)["id"] or ""
            self.sections[self.section] = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.section:
            self.sections[self.section] += f" {data.strip()}" if data.strip() else ""

    @property
    def anchors(self) -> list[str]:
        return list(self.sections)


def test_a_training_shows_its_results(trained: Path) -> None:
    page = Page(write_report(trained))
    assert page.anchors == [
        "results",
        "lengths",
        "curves",
        "classes-test",
        "confusion-test",
        "wrong-test",
        "configuration",
        "again",
    ]
    head = page.source[: page.source.index("<section")]
    assert [re.sub("<[^>]*>", "", value) for value in re.findall(r'"value">(.*?)</dd>', head)] == [
        "66.67 %",
        "16.67 %",
        "+50.00 points",
        "3",
    ]
    results = page.sections["results"]
    assert "test zero-shot CLIP 6 16.67 15.21 12.34 56.78" in results  # 15.21: sqrt(5 / 36 / 6)
    assert "test DPL 6 66.67 19.25 43.21 8.76" in results
    assert f"{SCRIPT} 2 0.00 50.00" in page.sections["classes-test"]
    assert f"{IMG} {CLASSNAMES[1]} 1 50.00" in page.sections["confusion-test"]
    assert f"{SCRIPT} {IMG} 1 50.00" in page.sections["confusion-test"]
    wrong = page.sections["wrong-test"]
    assert wrong.index(f"predicted 95.0 % {IMG} true 1.0 % {SCRIPT} test/zebra/1.png") < (
        wrong.index(f"predicted 70.0 % {CLASSNAMES[1]} true 20.0 % {IMG} test/{IMG}/1.png")
    )
    assert "photos, 2 shots, seed 7" in page.text and "Trained 3 prompt tokens" in page.text


def test_a_search_shows_what_it_decided(searched: Path) -> None:
    page = Page(write_report(searched))
    assert page.anchors == ["alphas", "evolution", "lengths", "curves", "configuration", "again"]
    tiles = re.findall(r'"value">([\d.]+)', page.source)
    assert tiles == ["81.25", "3", "71.7"]  # (0.7 + 0.55 + 0.9) / 3
    shares = re.findall(r"\b\d+\b", page.sections["alphas"])
    for share in ("70", "20", "10", "55", "25", "90", "4", "6"):
        assert share in shares
    assert "0 to 2" in page.text and "digits with 4 labelled images per class" in page.text


def test_figures_are_files_too(searched: Path) -> None:
    write_report(searched)
    figures = {"alphas", "evolution", "lengths"}
    names = {f"{figure}-{tower}" for figure in figures for tower in ("image", "text")}
    names |= {"confidence", "entropy", "losses", "accuracies"}
    files = {path.name for path in (searched / "plots").iterdir()}
    assert files == {f"{name}.{suffix}" for name in names for suffix in ("png", "svg")}
    first = {path.name: path.read_bytes() for path in (searched / "plots").iterdir()}
    page = write_report(searched).read_bytes()
    assert write_report(searched).read_bytes() == page
    assert {path.name: path.read_bytes() for path in (searched / "plots").iterdir()} == first


@pytest.mark.parametrize("run", ["trained", "searched"])
def test_the_page_needs_nothing_else_and_runs_nothing(
    run: str, request: pytest.FixtureRequest
) -> None:
    page = Page(write_report(request.getfixturevalue(run)))
    assert not {"script", "iframe", "object", "embed", "link", "base", "form"} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href"):
            assert value is not None and value.startswith(("data:image/", "#"))
    assert not re.search(r"url\((?!#)|@import", page.source)
    identifiers = [value for name, value in page.attributes if name == "id"]
    sections = [name for name in identifiers if name in page.sections]
    assert len(sections) == len(set(sections))
    assert len(page.source) < 2_000_000


def test_hostile_names_show_as_text(trained: Path) -> None:
    page = Page(write_report(trained))
    for name in CLASSNAMES:
        assert name in page.text
        assert html.escape(name) in page.source.replace("&#34;", "&quot;").replace(
            "&#39;", "&#x27;"
        )
    assert SCRIPT not in page.source and IMG not in page.source
    assert page.tags.count("img") == 2


def test_names_that_are_no_text_can_be_shown(trained: Path) -> None:
    """File names may hold control characters and bytes that are no UTF-8."""
    path = trained / "predictions" / "test.npz"
    predictions = load_predictions(path)
    names = ("\x1b[31m\n\udcff\u202egnp.png", *predictions.names[1:5], "a\tb\udc80.png")
    classnames = ("cat\x07\udcff", "猫", predictions.classnames[2])
    save_predictions(path, predictions._replace(names=names, classnames=classnames))
    page = Page(write_report(trained))
    assert "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}.png" in page.text
    assert "猫" in page.sections["classes-test"]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", page.text)


def test_without_the_images_the_rest_is_there(trained: Path, photos: Path) -> None:
    before = Page(write_report(trained))
    photos.rename(photos.with_name("elsewhere"))
    page = Page(write_report(trained))
    assert page.anchors == before.anchors and "img" not in page.tags
    assert page.sections["wrong-test"].count("image not found") == 2


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    open_run(tmp_path / "run", "search", digits.get_config()).close()
    page = Page(write_report(tmp_path / "run"))
    assert page.anchors == ["configuration", "again"]
    assert "has not finished" in page.text and not (tmp_path / "run" / "plots").exists()


def test_many_classes_show_pairs_instead_of_a_matrix(trained: Path) -> None:
    """120 classes; class 17 is taken for class 5 three times, all others are right."""
    labels = np.array([*range(120), 17, 17, 17], np.int32)
    predicted = np.array([*range(120), 5, 5, 5])
    names = tuple(f"class number {label}" for label in range(120))
    predictions = load_predictions(trained / "predictions" / "test.npz")._replace(
        classnames=names,
        names=tuple(f"{i}.png" for i in range(123)),
        labels=labels,
        logits={"dpl": 9 * np.eye(120, dtype=np.float32)[predicted]},
    )
    save_predictions(trained / "predictions" / "test.npz", predictions)
    page = Page(write_report(trained))
    assert "class number 17 class number 5 3 75.00" in page.sections["confusion-test"]
    assert not list((trained / "plots").glob("confusion-*"))
    assert "The 40 hardest classes" in page.sections["classes-test"]
    assert "class number 119 1 100.00" in page.sections["classes-test"]


def test_settings_that_differ_are_listed_first(searched: Path) -> None:
    text = Page(write_report(searched)).sections["configuration"]
    changed = text[: text.index("general")]
    assert "search.max_context_length 2 6" in changed and "data.shots 4 16" in changed
    assert "clip.path tiny openai/clip-vit-base-patch16" in changed
    assert "learning_rate" not in changed and "search.alphas.learning_rate 0.0035" in text


def test_settings_of_a_stage_without_part_in_the_run_are_not_shown(
    searched: Path, trained: Path
) -> None:
    text = Page(write_report(searched)).sections["configuration"]
    assert "search.epochs" in text and "train.epochs" not in text and "ablate.seeds" not in text
    text = Page(write_report(trained)).sections["configuration"]
    assert "search.epochs" in text and "train.epochs" in text
    results = read_json(trained / "results.json")
    write_json(trained / "results.json", results | {"search": None})  # lengths set by hand
    text = Page(write_report(trained)).sections["configuration"]
    assert "search.epochs" not in text and "train.epochs" in text


def test_what_is_no_run_or_damaged_is_named(searched: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no run folder"):
        write_report(tmp_path)
    open_run(tmp_path / "ablation", "ablate", digits.get_config()).close()
    with pytest.raises(RunFolderError, match=r"ablation .* kind 'ablate'"):
        write_report(tmp_path / "ablation")
    (searched / "configuration.json").write_text("[1, 2]")
    with pytest.raises(RunFolderError, match=r"configuration\.json"):
        write_report(searched)
    (searched / "configuration.json").unlink()
    with (searched / "metrics.jsonl").open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl, line 3"):
        write_report(searched)
    assert not (searched / "report.html").exists()


def test_a_report_that_fails_is_a_warning(searched: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = digits.get_config()
    (searched / "configuration.json").write_text("nonsense")
    report_at_end(searched, config)
    assert "has no report" in caplog.text and "configuration.json" in caplog.text
    assert not (searched / "report.html").exists()


def test_a_report_can_be_left_out(searched: Path) -> None:
    config = digits.get_config()
    config.report = False
    report_at_end(searched, config)
    assert not (searched / "report.html").exists()
    config.report = True
    report_at_end(searched, config)
    assert (searched / "report.html").exists()


def test_results_of_older_versions_are_shown(trained: Path) -> None:
    """Without a calibration error, and with a method that this version does not know."""
    results = read_json(trained / "results.json")
    test = results["evaluations"]["test"]
    del test["dpl"]["calibration_error"]
    test["linear_probe"] = {"accuracy": 0.5, "macro_f1": 0.25}
    write_json(trained / "results.json", results)
    text = Page(write_report(trained)).sections["results"]
    assert "test DPL 6 66.67 19.25 43.21 –" in text
    assert "test linear probe 6 50.00 20.41 25.00 –" in text


def test_of_many_evaluations_the_test_images_come_first(trained: Path) -> None:
    folder = trained / "predictions"
    predictions = load_predictions(folder / "test.npz")
    for name in ("a-all-test", "b-all-test", "c-all-test"):
        save_predictions(folder / f"{name}.npz", predictions)
    page = Page(write_report(trained))
    shown = [anchor for anchor in page.anchors if anchor.startswith("classes-")]
    assert shown == ["classes-test", "classes-a-all-test", "classes-b-all-test"]


def test_a_mixture_is_no_training_of_single_lengths(trained: Path) -> None:
    saved = read_json(trained / "config.json")
    saved["config"]["train"]["final"] = "mixture"
    write_json(trained / "config.json", saved)
    page = Page(write_report(trained))
    assert "Trained the searched supernet" in page.text and "Trained 3" not in page.text
