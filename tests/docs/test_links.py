"""Every relative link of the documentation leads somewhere."""

from pathlib import Path

import pytest

from tests.docs.markdown import PAGES, ROOT, anchors, links


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_to_files_and_headings_that_exist(page):
    for link in links(page):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page.parent / path).resolve() if path else ROOT / page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target.relative_to(ROOT)), link


def test_the_pages_are_found():
    assert {Path("README.md"), Path("docs/datasets.md"), Path("configs/README.md")} <= set(PAGES)
    assert "docs/datasets.md" in links(Path("README.md"))
