from structformer.datasets.card import Contents, DataCard, DataFile, folder_checksum


def test_a_card_reads_well():
    file = DataFile("a/one", 1_500_000, "0" * 64, "https://example.org/one")
    card = DataCard(
        "one", "1 thing", "one()", "example.org", "CC0", "Somebody 2020", ("first", "second"), (file,) * 2
    )
    assert card.size == 3_000_000
    assert str(card).splitlines() == [
        "one, 3,000 kB",
        "  what      1 thing",
        "  load      one()",
        "  home      example.org",
        "  licence   CC0",
        "  citation  Somebody 2020",
        "  beware    first",
        "  beware    second",
    ]


def test_what_is_downloaded_may_be_larger_than_what_is_kept():
    one = DataFile("a/one", 7, "0" * 64, "https://example.org/one")
    assert one.download_size == 7
    packed = DataFile("a/", 7, "0" * 64, "https://example.org/one.zip", member="one")
    assert packed.download_size is None
    assert (
        DataFile("a/b", 7, "0" * 64, "https://example.org/one.zip", member="b", archive_size=3).download_size
        == 3
    )
    assert (one.is_folder, packed.is_folder) == (False, True)
    assert Contents("a/", 0, "").is_folder


def test_a_folder_has_a_checksum_whatever_the_order_of_its_files():
    files = {"b": b"1", "a": b"2"}
    assert folder_checksum(files) == folder_checksum(dict(sorted(files.items())))
    assert folder_checksum(files) != folder_checksum({"b": b"2", "a": b"1"})
