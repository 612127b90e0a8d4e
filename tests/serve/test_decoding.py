"""Images are decoded by processes of their own, which are stopped, replaced, not left behind."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from dpl_jax.errors import UnreadableImageError
from dpl_jax.serve.decoding import Decoders
from tests.support.repository import ROOT


def encoded(image: PIL.Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def small() -> PIL.Image.Image:
    return PIL.Image.effect_noise((37, 23), 90).convert("RGB")


def process(decoders: Decoders) -> subprocess.Popen:
    (decoder,) = decoders._all
    assert decoder._process is not None
    return decoder._process


def test_what_takes_too_long_is_refused_and_the_next_image_is_read(small):
    decoders = Decoders(1000, seconds=300, count=1)
    data = encoded(small)
    np.testing.assert_array_equal(np.asarray(decoders.decode(data)), np.asarray(small))
    stuck = process(decoders)
    os.kill(stuck.pid, signal.SIGSTOP)
    decoders._all[0]._seconds = 0.5
    with pytest.raises(UnreadableImageError, match=r"more than 0\.5 seconds"):
        decoders.decode(data)
    assert stuck.returncode == -signal.SIGKILL
    decoders._all[0]._seconds = 300
    np.testing.assert_array_equal(np.asarray(decoders.decode(data)), np.asarray(small))
    again = process(decoders)
    again.kill()  # as the system does where memory runs out
    again.wait()
    np.testing.assert_array_equal(np.asarray(decoders.decode(data)), np.asarray(small))
    last = process(decoders)
    decoders.close()
    assert last.returncode is not None


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not limit address space")
def test_an_image_gets_no_more_memory_than_the_limit(small):
    decoders = Decoders(50_000_000, seconds=300, memory_mb=400, count=1)
    large = encoded(PIL.Image.new("1", (7000, 7000)))
    with pytest.raises(UnreadableImageError, match="memory"):
        decoders.decode(large)
    np.testing.assert_array_equal(np.asarray(decoders.decode(encoded(small))), np.asarray(small))
    decoders.close()


def test_errors_are_those_of_the_reader(small):
    decoders = Decoders(37 * 23 - 1, seconds=300, count=1)
    with pytest.raises(UnreadableImageError, match="37 x 23 pixels are more than the limit"):
        decoders.decode(encoded(small))
    with pytest.raises(UnreadableImageError, match="not an image that can be read"):
        decoders.decode(b"no image")
    decoders.close()


def test_the_process_imports_no_jax_and_ends_with_its_parent(small):
    code = (
        "import sys, dpl_jax.serve.decode_worker\n"
        "assert not {'jax', 'flax', 'transformers'} & set(sys.modules)\n"
        "from dpl_jax.serve.decoding import Decoders\n"
        "decoders = Decoders(1000, seconds=300, count=1)\n"
        "decoders.decode(bytes.fromhex(sys.argv[1]))\n"
        "print(decoders._all[0]._process.pid, flush=True)\n"
        "import os; os._exit(0)\n"
    )
    command = [sys.executable, "-c", code, encoded(small).hex()]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    assert parent.wait() == 0
    while Path(f"/proc/{worker}").exists():  # until it has ended, or its parent may ask how
        if ") Z " in Path(f"/proc/{worker}/stat").read_text():
            break
        time.sleep(0.05)
