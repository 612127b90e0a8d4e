"""Takes over alphas and prompts of the released PyTorch code, or gives it those of a run.

python launch/exchange.py import --alphas=DIR --output=configuration.json   # lengths to train
python launch/exchange.py import --prompts=FILE [--alphas=DIR] --config=... --workdir=RUN
python launch/exchange.py export --run=RUN --output=DIR

DIR holds alpha_e60_img.npy and alpha_e60_txt.npy; FILE is safetensors. See docs/export.md.
"""

from pathlib import Path

from absl import flags

from dpl_jax import cli
from dpl_jax.exchange.runs import export_run, import_lengths, import_run
from dpl_jax.runtime.launchers import command_line

ACTION = flags.DEFINE_enum("action", None, ["import", "export"], "What to do; first, without --.")
CONFIG = cli.define_config()
WORKDIR = cli.define_workdir()
ALPHAS = flags.DEFINE_string("alphas", None, "Output folder of a search by the released code.")
EPOCH = flags.DEFINE_integer("epoch", None, "Whose alphas. Default: the last.")
SWAPPED = flags.DEFINE_bool(
    "swapped", True, "As in that code, the file named img holds the text tower's alphas."
)
PROMPTS = flags.DEFINE_string("prompts", None, "Prompts of the released code, as safetensors.")
RUN = flags.DEFINE_string("run", None, "Folder of the search or training to export.")
OUTPUT = flags.DEFINE_string("output", None, "Where to: a JSON file of lengths, or a folder.")


def main() -> None:
    """Imports or exports, and tells what can be done with it."""
    if ACTION.value == "export":
        run, output = cli.need("run", RUN.value), cli.need("output", OUTPUT.value)
        for name, path in export_run(Path(run), Path(output), SWAPPED.value).items():
            what = "prompts" if name == "prompts" else f"alphas of the {name} tower"
            print(f"{what}: {path}")
    elif PROMPTS.value:
        config, prompts = cli.need("config", CONFIG.value), Path(PROMPTS.value)
        alphas = Path(ALPHAS.value) if ALPHAS.value else None
        folder = import_run(config, prompts, WORKDIR.value, alphas, EPOCH.value, SWAPPED.value)
        print(f"Imported: {folder}\nNext: {command_line('evaluate', run=folder)}")
    else:
        source = Path(cli.need("alphas", ALPHAS.value))
        lengths = Path(cli.need("output", OUTPUT.value))
        import_lengths(source, lengths, EPOCH.value, SWAPPED.value)
        train = command_line("train", lengths=lengths)
        print(f"Next, with a config of your choice in place of digits: {train} --config=digits")


if __name__ == "__main__":
    cli.run(main, required=["action"], positional="action")
