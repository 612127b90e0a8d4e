"""What the page's server answers: predictions, maps, and refusals of what it should not take."""

import base64
import io
import random
import re
import sys

import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
from starlette.testclient import TestClient

from dpl_jax.data.transforms import normalise
from dpl_jax.errors import ConfigError
from dpl_jax.inference.classifier import Classifier
from dpl_jax.inspect.attention_mass import image_attention_mass, over_image, patch_map
from dpl_jax.serve.access import names
from dpl_jax.serve.answer import coloured
from dpl_jax.serve.app import make_app
from dpl_jax.serve.server import listen, serve
from tests.data import metadata
from tests.serve.conftest import HOSTILE

PNG = {"content-type": "image/png"}


def client(classifier: Classifier, max_upload_mb: float = 1.0) -> TestClient:
    app = make_app(classifier, "my run", hosts=names("127.0.0.1"), max_upload_mb=max_upload_mb)
    return TestClient(app, base_url="http://127.0.0.1")


def pixels(uri: str) -> np.ndarray:
    head, _, data = uri.partition(",")
    assert head == "data:image/png;base64"
    with PIL.Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return np.asarray(image)


def test_an_image_gets_the_classifiers_probabilities(classifier, png, digit):
    answer = client(classifier).post("/predict", content=png, headers=PNG).json()
    assert len(answer["classes"]) == 10
    for shown, guess in zip(answer["classes"], classifier.predict(digit, top_k=10)[0], strict=True):
        assert shown["name"] == guess.classname
        assert shown["probability"] == pytest.approx(guess.probability, abs=1e-5)
    np.testing.assert_array_equal(pixels(answer["image"]), classifier.pixels(digit))


def test_the_map_is_where_attention_goes_to_the_prompts(classifier, png, digit):
    answer = client(classifier).post("/predict", content=png, headers=PNG).json()
    mean, std = classifier.preprocessing.mean, classifier.preprocessing.std
    images = normalise(jnp.asarray(classifier.pixels(digit))[None], mean, std)
    mass = image_attention_mass(classifier.clip, images, classifier.prompts["image"])
    assert answer["share"] == pytest.approx(float(mass.mean()), rel=1e-4)
    spread = over_image(patch_map(mass), classifier.clip.sizes.vision)[0]
    shown = pixels(answer["map"]).astype(int)
    assert np.abs(shown - coloured(spread)).max() <= 2
    brightest = np.unravel_index(spread.argmax(), spread.shape)
    assert np.abs(shown[brightest][:3] - (240, 249, 33)).max() <= 1


def test_without_prompts_of_the_image_tower_there_is_no_map(runs, png):
    found = Classifier.load(runs["text"])
    answer = client(found).post("/predict", content=png, headers=PNG).json()
    assert answer["map"] is None and answer["share"] is None
    assert len(answer["classes"]) == 10


def test_names_are_text_on_the_page(classifier):
    response = client(classifier).get("/")
    assert response.status_code == 200
    assert HOSTILE not in response.text and "&lt;img src=x" in response.text
    assert not re.search(r"(src|href)=.(https?:)?//", response.text)


def test_every_answer_keeps_the_browser_to_this_server(classifier, png):
    app = client(classifier)
    answers = [app.get(path) for path in ("/", "/page.js", "/page.css", "/nothing")]
    answers.append(app.post("/predict", content=png, headers=PNG))
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 200]
    for answer in answers:
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("content", "kind", "status", "message"),
    [
        (b"", "image/png", 400, "is empty"),
        (b"no image", "image/png", 422, "not an image that can be read"),
        (b"\xff\xd8\xff\xe0junk", "image/jpeg", 422, "image"),
        (b"x" * (2**20 + 1), "image/png", 413, "larger than 1 MB"),
        (b"x", "text/plain", 415, "Send one of image/"),
        (b"x", "multipart/form-data", 415, "Send one of image/"),
        (b"x", "", 415, "Send one of image/"),
    ],
)
def test_what_is_no_image_is_refused_with_one_message(classifier, content, kind, status, message):
    answer = client(classifier).post("/predict", content=content, headers={"content-type": kind})
    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_an_image_of_too_many_pixels_is_refused_from_its_header(classifier):
    buffer = io.BytesIO()
    PIL.Image.new("1", (10_000, 6_000)).save(buffer, "PNG")
    answer = client(classifier).post("/predict", content=buffer.getvalue(), headers=PNG)
    assert answer.status_code == 422 and "pixels" in answer.json()["error"]


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:8000", 200), ("localhost", 200), ("[::1]:1", 200), ("evil.org", 400)],
)
def test_other_names_for_this_machine_are_refused(classifier, host, status):
    assert client(classifier).get("/", headers={"host": host}).status_code == status


def test_what_may_be_called_how():
    assert names("localhost") == names("127.0.0.1") == ["localhost", "127.0.0.1", "[::1]"]
    assert names("0.0.0.0", ["photos.lan", "[2001:db8::7]"]) == ["photos.lan", "[2001:db8::7]"]
    for host in ("0.0.0.0", "::", "192.0.2.7", "photos.lan"):
        with pytest.raises(ConfigError, match="--allowed_hosts"):
            names(host)
    for name in ("*", "photos.lan:8000", "http://photos.lan", "", "a b", "*.*.lan"):
        with pytest.raises(ConfigError, match="not the name or address"):
            names("0.0.0.0", [name])


def test_an_address_that_cannot_be_listened_on_is_told(runs):
    with (
        listen("127.0.0.1", 0) as taken,
        pytest.raises(ConfigError, match="another one with --port"),
    ):
        serve(runs["image"], port=taken.getsockname()[1])
    with pytest.raises(ConfigError, match="must be 0 to 65535"):
        listen("127.0.0.1", 65536)
    with pytest.raises(ConfigError, match="cannot be served at"):
        listen("no such host", 0)


def test_without_its_packages_the_page_says_what_to_install(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigError, match=r"uvicorn.*dpl_jax\[serve\]"):
        serve(runs["image"])


def test_a_photo_with_odd_tags_is_classified(classifier):
    """A turn, beside a resolution that is a text and a maker that is a number."""
    stream = random.Random(0)
    for kind in ("JPEG", "WEBP", "TIFF", "PNG"):
        for _ in range(2):
            content, _ = metadata.encoded(kind, stream)
            answer = client(classifier).post("/predict", content=content, headers=PNG)
            assert answer.status_code == 200, (kind, answer.text)
            assert answer.json()["classes"]
