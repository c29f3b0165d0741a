import gzip
import pickle

import numpy as np
import pandas as pd
import pytest
from structformer.datasets import molecules


@pytest.mark.parametrize(
    ("name", "parts", "positive"),
    [("HIV", (32_901, 4_113, 4_113), 1_443), ("BBBP", (1_631, 204, 204), 1_560)],
)
def test_the_real_classes(real, name, parts, positive):
    real(f"molecules/{name}")
    frame = molecules(name)
    assert tuple(int((frame["split"] == part).sum()) for part in ("train", "val", "test")) == parts
    assert len(frame) == sum(parts)
    assert int(frame["target"].sum()) == positive
    assert frame["target"].isin([0, 1]).all()
    assert frame["smiles"].is_unique
    assert (frame["smiles"].str.len() > 0).all()


def test_the_real_solubilities(real):
    real("molecules/ESOL")
    frame = molecules("ESOL")
    assert len(frame) == 1_128
    assert frame["split"].isna().all()
    assert (frame["target"].min(), frame["target"].max()) == (-11.6, 1.58)
    assert not frame["smiles"].str.contains(r"\s").any()


def test_rows_get_the_part_that_names_them(given):
    table = "index,smiles,p_np\n0,CC,1\n1, CO ,0\n2,CN,1\n3,C,0\n"
    indices = pd.Series([[3, 0], [2], [1]])
    files = {
        "molecules/BBBP.csv.gz": gzip.compress(table.encode()),
        "molecules/BBBP.scaffold122.ind.pkl": pickle.dumps(indices),
    }
    given("molecules/BBBP", files)
    frame = molecules("BBBP")
    assert frame.to_dict("list") == {
        "smiles": ["CC", "CO", "CN", "C"],
        "target": [1, 0, 1, 0],
        "split": ["train", "test", "val", "train"],
    }


def test_without_a_split_it_is_missing(given):
    table = "smiles,measured log solubility in mols per litre\nCC,-0.5\nCO,2\n"
    given("molecules/ESOL", {"molecules/ESOL.csv.gz": gzip.compress(table.encode())})
    frame = molecules("ESOL")
    assert np.array_equal(frame["target"], [-0.5, 2])
    assert frame["split"].isna().all()


def test_nothing_is_unpickled_before_its_checksum_is_right(given):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    path = "molecules/HIV.scaffold122.ind.pkl"
    folder = given("molecules/HIV", {"molecules/HIV.csv.gz": gzip.compress(b"x"), path: b"right"})
    (folder / path).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match=r"ind\.pkl is damaged, cut short, or another version"):
        molecules("HIV")


def test_an_unknown_set_is_named():
    with pytest.raises(ValueError, match=r"name must be one of HIV, BBBP, ESOL \(got 'hiv'\)"):
        molecules("hiv")
