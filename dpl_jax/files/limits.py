"""How much a file from elsewhere may hold, and why; what holds more is refused, never read."""

from __future__ import annotations

# JSON. The longest file of a run, all images of ImageNet by name, has 60 MB and 5 million values;
# a value takes up to 72 bytes in memory, whatever its length in the file.
JSON_BYTES = 128 << 20
JSON_VALUES = 12_000_000
JSON_DEPTH = 100

# A file that holds one name or number.
NAME_BYTES = 4096

# Annotation lists and MATLAB files of the datasets: the longest has a few MB.
TEXT_BYTES = 64 << 20
MATLAB_BYTES = 256 << 20  # after decompression

# Images. Pillow itself refuses more pixels, as decompression bombs; the file of so many, at 16 bits
# a channel and without compression, has about 1 GiB.
IMAGE_PIXELS = 178_956_970
IMAGE_BYTES = 1 << 30
# Scans of a progressive JPEG, each a pass over all its pixels; encoders write about ten.
JPEG_SCANS = 100
# Threads that decode images, each with one of them in memory.
IMAGE_THREADS = 64

# CLIP. The largest published ones have 64 layers, a width of 5120, 378 pixels, 130,000 words.
CLIP_LAYERS = 1024
CLIP_WIDTH = 1 << 16
CLIP_SIDE = 2048
CLIP_POSITIONS = 1 << 16
CLIP_WORDS = 1 << 20
# A safetensors header takes about 150 bytes a tensor, and a layer has 16.
SAFETENSORS_HEADER_BYTES = 8 << 20
SHARDS = 100  # each is an open file

# Predictions. 50,000 images of 1000 classes take 200 MB a method; with 10,000 classes the confusion
# matrix of the report takes 800 MB.
PREDICTIONS_BYTES = 4 << 30
PREDICTIONS_ARRAYS = 100
IMAGES = 4_000_000
CLASSES = 10_000

# Checkpoints store numbers as they are, so that arrays take no more bytes than are stored; but
# arrays of zeros may be left out.
CHECKPOINT_ZEROS_BYTES = 64 << 20
# The manifest of a checkpoint: 200 bytes an array, and the last epoch's numbers of all members.
CHECKPOINT_JSON_BYTES = 4 << 20
# What Orbax and TensorStore note besides, for one checkpoint or one array: some hundred bytes.
CHECKPOINT_NOTE_BYTES = 16 << 10

# Lengths and alphas: far above any layer's.
PROMPT_ROWS = 1000
