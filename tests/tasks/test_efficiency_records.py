import json

import pandas as pd
import pytest
from structformer.tasks.efficiency_records import record


def test_records_make_a_table_whatever_was_measured():
    rows = [
        record("attention", "ours", 7, milliseconds=1.5),
        record("search", "lsh", 9, recall=0.5, note="slow"),
    ]
    assert list(rows[0]) == list(rows[1])
    frame = pd.DataFrame(json.loads(json.dumps(rows)))
    assert frame["recall"].isna().tolist() == [True, False]
    assert frame["note"].tolist() == ["", "slow"]
    with pytest.raises(TypeError):
        record("attention", "ours", 7, 1.5)
