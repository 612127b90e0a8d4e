"""Serves a local web page on which images are dropped and classified.

python launch/serve.py RUN
"""

from absl import flags

from dpl_jax import cli
from dpl_jax.serve import serve

RUN = flags.DEFINE_string(
    "run", None, "Folder of a finished run, or of an exported one.", required=True
)
CLIP = flags.DEFINE_string("clip", None, "Its CLIP, where it is not found: a folder or a hub id.")
HOST = flags.DEFINE_string(
    "host", "127.0.0.1", "Address to listen on; others than loopback need --allowed_hosts."
)
ALLOWED_HOSTS = flags.DEFINE_list(
    "allowed_hosts", [], "Names by which browsers may call the page: photos.lan,192.0.2.7"
)
PORT = flags.DEFINE_integer("port", 8000, "Port to listen on; 0 for any that is free.")
MAX_UPLOAD_MB = flags.DEFINE_float("max_upload_mb", 20.0, "Larger files are refused.")


def main() -> None:
    """Serves until it is interrupted."""
    serve(
        RUN.value,
        host=HOST.value,
        port=PORT.value,
        max_upload_mb=MAX_UPLOAD_MB.value,
        clip=CLIP.value,
        allowed_hosts=ALLOWED_HOSTS.value,
    )


if __name__ == "__main__":
    cli.run(main, positional="run")
