import pytest
from structformer.datasets.names import one_of


def test_a_known_name_is_returned_and_others_are_refused():
    assert one_of("name", "b", ("a", "b")) == "b"
    with pytest.raises(ValueError, match=r"kind must be one of a, b \(got 'c'\)"):
        one_of("kind", "c", ("a", "b"))
