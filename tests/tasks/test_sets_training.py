import pytest
import torch
from structformer.tasks.sets_arms import ARMS, RIVALS, build
from structformer.tasks.sets_digits import DistinctDigits, digit_pools
from structformer.tasks.sets_numbers import MaxRegression, Mixture
from structformer.tasks.sets_training import answers, drawn_sets, judged, permuted, set_losses
from structformer.tasks.sweeps import TEST, TRAINING, VALIDATION, generator
from structformer.tasks.training import TrainingSettings, train

PROBLEMS = {
    "max": MaxRegression,
    "mixture": Mixture,
    "bags": lambda: DistinctDigits(digit_pools("digits", 0)),
}


def test_batches_are_the_same_for_all_arms_and_others_for_every_update_seed_and_part(monkeypatch):
    problem, drawn = MaxRegression(), []
    own = problem.draw
    monkeypatch.setattr(problem, "draw", lambda *a: drawn.append(own(*a)) or drawn[-1])
    example = own(TRAINING, 16, generator(0))
    for arm in ("soes", "deep sets"):
        losses = set_losses(build(arm, problem, example), problem, 8, seed=0)
        losses(0)
        losses(1)
    set_losses(build("deep sets", problem, example), problem, 8, seed=1)(0)
    first, second, again, _, other = drawn
    assert first.x.equal(again.x)
    assert not first.target.equal(second.target)
    assert not first.target.equal(other.target)
    held, tested = (drawn_sets(problem, part, 8, 0)[0] for part in (VALIDATION, TEST))
    assert not held.target.equal(tested.target)
    assert held.x.dtype == torch.float64


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("arm", ARMS)
def test_permutations_change_nothing_but_for_arms_with_positions(name, arm):
    problem = PROBLEMS[name]()
    network = build(arm, problem, problem.draw(TRAINING, 16, generator(0))).double().eval()
    share, difference = permuted(network, problem, drawn_sets(problem, TEST, 30, 0), seed=0)
    if arm == "transformer with positions":
        assert difference > 1e-4
    else:
        assert share == 0
        assert difference < 1e-9


def test_a_change_is_seen():
    problem = MaxRegression()

    def first_token(x, ptr):
        return x[ptr[:-1]], None

    share, difference = permuted(first_token, problem, drawn_sets(problem, TEST, 200, 0), seed=0)
    assert 50 < share < 90  # sets of one number cannot change
    assert difference > 1


@pytest.mark.parametrize("arm", ["soes", "ressformer", *RIVALS])
def test_every_arm_learns_the_largest_number(arm):
    problem = MaxRegression()
    torch.manual_seed(0)
    network = build(arm, problem, problem.draw(TRAINING, 200, generator(0)))
    held = problem.draw_many(VALIDATION, 200, generator(0))
    before = judged(network, problem, held)
    train(network, set_losses(network, problem, 64, 0), TrainingSettings(120, learning_rate=3e-3))
    assert judged(network, problem, held) > max(before / 2, -12)  # always saying the mean costs 17


def test_answers_are_in_the_order_of_the_sets():
    problem = MaxRegression()
    batches = problem.draw_many(TEST, 120, generator(0))
    found = answers(lambda x, ptr: (x[ptr[:-1]], None), batches)
    assert found.equal(torch.cat([batch.x[batch.ptr[:-1]] for batch in batches]))
