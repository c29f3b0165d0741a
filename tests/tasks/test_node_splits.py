import torch
from structformer.tasks.node_problem import Problem
from structformer.tasks.node_splits import class_balanced, labels_a_class, stratified

LABELS = torch.tensor([0] * 53 + [1] * 31 + [2] * 19)


def sizes(split):
    assert not bool((split.train & split.val | split.train & split.test | split.val & split.test).any())
    return [int(part.sum()) for part in (split.train, split.val, split.test)]


def same(one, other):
    return one.train.equal(other.train) and one.val.equal(other.val) and one.test.equal(other.test)


def test_stratified_splits_have_classes_in_the_same_shares():
    split = stratified(LABELS, 10, 20, seed=3)
    assert sizes(split) == [10, 20, 73]
    assert LABELS[split.train].bincount().tolist() == [5, 3, 2]
    assert LABELS[split.val].bincount().tolist() == [10, 6, 4]
    assert same(split, stratified(LABELS, 10, 20, seed=3))
    assert not same(split, stratified(LABELS, 10, 20, seed=4))


def test_class_balanced_splits_learn_from_as_many_of_each_class():
    split = class_balanced(LABELS, each=7, val=11, test=41, seed=123)
    assert sizes(split) == [21, 11, 41]
    assert LABELS[split.train].bincount().tolist() == [7, 7, 7]
    assert same(split, class_balanced(LABELS, each=7, val=11, test=41, seed=123))
    assert not same(split, class_balanced(LABELS, each=7, val=11, test=41, seed=124))


def test_class_balanced_splits_are_drawn_class_by_class_and_then_among_the_others():
    torch.manual_seed(5)
    first = torch.randperm(53)
    others = [first[2:], 53 + torch.randperm(31)[2:], 84 + torch.randperm(19)[2:]]
    rest = torch.cat(others)[torch.randperm(97)]
    split = class_balanced(LABELS, each=2, val=11, test=41, seed=5)
    assert split.train[first[:2]].all()
    assert split.val.nonzero().flatten().tolist() == sorted(rest[:11].tolist())
    assert split.test.nonzero().flatten().tolist() == sorted(rest[11:52].tolist())


def test_labels_a_class_leave_all_others_to_be_asked_for():
    split = labels_a_class(LABELS, 4, 6, seed=0)
    assert sizes(split) == [12, 18, 73]
    assert LABELS[split.train].bincount().tolist() == [4, 4, 4]
    assert LABELS[split.val].bincount().tolist() == [6, 6, 6]


def test_labels_that_are_asked_for_are_hidden_from_the_arms():
    split = stratified(LABELS, 10, 20, seed=0)
    x = torch.randn(103, 5)
    nodes = Problem.of(x, LABELS, split).nodes
    changed = LABELS.where(~split.test, (LABELS + 1) % 3)
    assert nodes.labels.equal(Problem.of(x, changed, split).nodes.labels)
    assert set(nodes.labels[split.test].tolist()) == {-1}
    assert nodes.learned[split.train].equal(LABELS[split.train])
    assert set(nodes.learned[~split.train].tolist()) == {-1}
