"""The documentation builds without a warning, and the pages need no other server."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from tests.docs.markdown import PAGES, ROOT

pytest.importorskip("mkdocs", reason="needs the extra docs, as `make docs` installs it")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", folder]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


class Loaded(HTMLParser):
    """Collects what a browser fetches by itself: everything but the links that a reader follows."""

    def __init__(self, page):
        super().__init__()
        self.urls = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag != "a":
            self.urls += [value for name, value in attrs if name in ("src", "srcset", "href")]


def test_no_page_loads_anything_from_another_server(site):
    pages = sorted(site.rglob("*.html"))
    for page in pages:
        loaded = Loaded(page.read_text()).urls
        assert loaded and not [url for url in loaded if re.match(r"(https?:)?//", url)], page
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", style.read_text()), style


def test_the_parser_finds_what_a_page_would_load():
    page = '<a href="https://a.b"></a><script src="https://c.d"></script><link href="//e.f">'
    assert Loaded(page).urls == ["https://c.d", "//e.f"]


def test_every_page_is_there_with_the_api_from_the_docstrings(site):
    for page in PAGES:
        if page.parts[0] == "docs":
            assert (site / page.relative_to("docs")).with_suffix(".html").is_file()
    api = (site / "api.html").read_text()
    assert 'id="dpl_jax.search.search"' in api and "Runs a search, or resumes the one" in api
    assert "Seed of everything random in a run" in api  # the comment of a setting


def test_links_out_of_the_folder_keep_their_text(site):
    page = (site / "baselines.html").read_text()
    assert "dpl_jax/baselines/" in page and 'href="../dpl_jax' not in page
