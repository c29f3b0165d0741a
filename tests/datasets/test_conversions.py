import csv

import pytest
from structformer.datasets.conversions import csv_text


def test_pieces_of_a_text_are_put_together():
    assert (
        csv_text('" \n = A =\n",\n"he said ""no"" , €\n"\n'.encode())
        == ' \n = A =\nhe said "no" , €\n'.encode()
    )
    assert csv_text(b"") == b""


def test_a_piece_may_be_long_and_the_limit_of_others_stays():
    before = csv.field_size_limit()
    text = b"word " * 100_003
    assert csv_text(b'"' + text + b'"\n') == text
    assert csv.field_size_limit() == before


def test_what_is_no_text_is_refused():
    with pytest.raises(ValueError, match=r"not a csv file in UTF-8: .*0xff"):
        csv_text(b"\xff\xfe")
