import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer

from recipes.tiny.captions import all_captions
from recipes.tokenizer_training import _merged, train_tokenizer, write_tokenizer

VOCAB_SIZE = 1500
# Latin letters with all accents, signs, and some of what lies far outside of them.
LATIN = st.characters(max_codepoint=0x24F, exclude_categories=["Cc"], exclude_characters="İ")
CHARACTERS = LATIN | st.sampled_from("漢字😀¿яあ")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder, all_captions(), VOCAB_SIZE, 77)
    return CLIPTokenizer.from_pretrained(folder)


def test_training_again_gives_the_same_files() -> None:
    captions = all_captions()
    assert train_tokenizer(captions, 600, 77) == train_tokenizer(captions, 600, 77)


def test_texts_start_and_end_as_in_clip_and_the_end_has_the_largest_id(
    tokenizer: CLIPTokenizer,
) -> None:
    ids = tokenizer("a photo of the digit seven.")["input_ids"]
    assert (ids[0], ids[-1]) == (VOCAB_SIZE - 2, VOCAB_SIZE - 1)
    assert max(ids[1:-1]) < VOCAB_SIZE - 2
    assert len(tokenizer) == VOCAB_SIZE


def test_common_words_of_captions_are_one_token(tokenizer: CLIPTokenizer) -> None:
    caption = all_captions()[0]
    assert len(tokenizer(caption)["input_ids"]) == len(caption.replace(".", " .").split()) + 2


@given(st.text(CHARACTERS, max_size=30).filter(lambda text: "<|" not in text))
def test_any_text_is_kept_byte_by_byte(tokenizer: CLIPTokenizer, text: str) -> None:
    pieces = tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"][1:-1])
    expected = re.sub(r"\s", "", unicodedata.normalize("NFC", text).lower())
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    written = "".join(piece for piece, _ in to_bytes.pre_tokenize_str(expected))
    assert "".join(pieces).replace("</w>", "") == written


def test_merging_joins_every_occurrence_from_left_to_right() -> None:
    assert _merged(("a", "a", "a", "b"), ("a", "a")) == ("aa", "a", "b")
    assert _merged(("b", "a", "b", "a"), ("b", "a")) == ("ba", "ba")
