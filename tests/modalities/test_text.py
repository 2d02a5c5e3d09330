import pytest

from unibind.errors import InvalidInputError
from unibind.modalities.text import MAX_CHARACTERS, TEXT, accept, read


@pytest.mark.parametrize("text", ["a cat", "猫", "  spaces stay \n", "x" * MAX_CHARACTERS])
def test_a_text_is_accepted_as_it_is(text):
    assert accept(text) == text
    assert read(text.encode()) == text


def test_a_byte_order_mark_is_not_part_of_the_text():
    assert read(b"\xef\xbb\xbfa cat") == "a cat"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b" \n\t", "only spaces"),
        (b"caf\xe9", r"not UTF-8 text \(byte 3.*save it as UTF-8"),
        (b"a\0b", "NUL"),
        (b"x" * (MAX_CHARACTERS + 1), r"100,001 characters, at most 100,000.*paragraphs"),
    ],
)
def test_other_files_are_refused(content, words):
    with pytest.raises(InvalidInputError, match=words):
        read(content)


@pytest.mark.parametrize(
    ("value", "words"), [(None, "NoneType"), (b"a", "bytes"), ("\ud800", "surrogate")]
)
def test_other_values_are_refused(value, words):
    with pytest.raises(InvalidInputError, match=words):
        accept(value)


def test_a_str_is_an_item_and_no_path():
    assert TEXT.str_is_item
    assert TEXT.name == "text"
