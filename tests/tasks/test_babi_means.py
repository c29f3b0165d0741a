from structformer.tasks.babi_means import JOINT, with_means


def trained(data, seed, validation, error):
    return {
        "data": data, "arm": "ours, rate 0.1", "rate": 0.1, "seed": seed, "validation": validation,
        "scores": {"": error}, "seconds": 2,
    }  # fmt: skip


FOUND = [
    trained(data, seed, validation, error)
    for data, values in {"task 1": ((-1.0, 4.0), (-2.0, 0.0)), "task 2": ((-9.0, 12.0), (-8.0, 10.0))}.items()
    for seed, (validation, error) in enumerate(values)
]


def of(rows, data):
    return [(row["seed"], row["score"], row["tasks failed"]) for row in rows if row["data"] == data]


def test_means_are_over_tasks_and_the_best_seed_is_that_of_validation():
    rows = with_means(FOUND)
    assert of(rows, "2 tasks apart") == [(0, 8.0, 1), (1, 5.0, 1)]
    assert of(rows, "2 tasks apart, each one's best seed") == [(0, 7.0, 1)]
    assert sum(row["data"].startswith("task") for row in rows) == 4


def test_a_seed_that_a_task_lacks_has_no_mean():
    assert of(with_means(FOUND[:3]), "2 tasks apart") == [(0, 8.0, 1)]


def test_the_joint_model_is_no_part_of_the_means():
    rows = with_means([trained(JOINT, 0, -3.0, 50.0), *FOUND])
    assert rows[0]["data"] == JOINT
    assert of(rows, "2 tasks apart") == [(0, 8.0, 1), (1, 5.0, 1)]
    assert [row["data"] for row in with_means([trained(JOINT, 0, -3.0, 50.0)])] == [JOINT]
