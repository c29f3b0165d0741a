import re

import pytest

from structformer.tokenize.text import TextTokenizer
from structformer.tokenize.text_files import document, read_text


def test_a_text_is_read_as_it_is(tmp_path):
    file = tmp_path / "text"
    file.write_bytes("é\r\n\tend".encode())
    assert read_text(file) == read_text(str(file)) == "é\r\n\tend".encode()


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, FileNotFoundError, "there is no file {}"),
        (b"", ValueError, "{} is empty"),
        (b"abc\0def", ValueError, "{} is not a text: byte 3 is 0"),
        (b"abc\xff", ValueError, "{} is not a text in UTF-8: invalid start byte at byte 3"),
    ],
)
def test_what_is_no_text_is_named(tmp_path, content, error, message):
    file = tmp_path / "text"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(error, match=re.escape(message.format(file))):
        read_text(file)


def test_a_folder_is_no_text(tmp_path):
    with pytest.raises(ValueError, match="is a directory, not a text"):
        read_text(tmp_path)


def test_a_document_begins_with_a_line_feed():
    assert document("né".encode(), TextTokenizer()).tolist() == [10, 110, 195, 169]
    assert document(b"", TextTokenizer()).tolist() == [10]
