import pytest
from structformer.datasets import shakespeare, wikitext2
from structformer.datasets.texts import split_by_position

SAMPLE = " \n = Crème brûlée = \n \n The dessert , first <unk> in 1691 , is rich . \n".encode()


def test_parts_by_position_join_to_the_whole():
    text = bytes(range(211))
    parts = split_by_position(text)
    assert parts.train + parts.valid + parts.test == text
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [189, 11, 11]


def test_wikitext2_is_read_in_its_own_parts(given):
    texts = {"test": SAMPLE * 3, "train": SAMPLE * 97, "valid": SAMPLE}
    given("wikitext2", {f"wikitext2/{part}.txt": text for part, text in texts.items()})
    found = wikitext2()
    assert (found.train, found.valid, found.test) == (texts["train"], texts["valid"], texts["test"])


def test_shakespeare_is_cut_by_position(given):
    given("shakespeare", {"tinyshakespeare/input.txt": SAMPLE * 10})
    assert shakespeare() == split_by_position(SAMPLE * 10)


def test_the_real_shakespeare(real):
    real("shakespeare")
    parts = shakespeare()
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [1_003_854, 55_770, 55_770]
    assert parts.train.startswith(b"First Citizen:\nBefore we proceed")


def words(text):
    return len(text.split()) + text.count(b"\n")


def test_the_real_wikitext2(real):
    real("wikitext2")
    parts = wikitext2()
    found = (parts.train, parts.valid, parts.test)
    assert [len(part) for part in found] == [10_797_148, 1_121_681, 1_256_449]
    # As published, ends of lines among them.
    assert [words(part) for part in found] == [2_088_628, 217_646, 245_569]
    assert parts.test.startswith(b" \n = Robert <unk> = \n")


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_a_damaged_part_is_named(given, part):
    folder = given("wikitext2", {f"wikitext2/{one}.txt": SAMPLE for one in ("train", "valid", "test")})
    path = folder / "wikitext2" / f"{part}.txt"
    path.write_bytes(SAMPLE[:-1])
    with pytest.raises(ValueError, match=f"{path} is damaged, cut short"):
        wikitext2()
