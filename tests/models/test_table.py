import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.models import RowMemory, TableModel, TableModelConfig
from structformer.tokenize import TableTokenizer

ROWS, CLASSES = 13, 3
ENCODERS = {
    "soes": {},
    "ressformer": {"model": "ressformer", "options": {"slots": 3, "experts": 3}},
}
encoders = pytest.mark.parametrize("encoder", ENCODERS)


def frame(rng):
    numbers = torch.randn(2, ROWS, generator=rng)
    numbers[0, 4] = float("nan")
    jobs = ["cook", "smith", "baker"]
    return pd.DataFrame(
        {
            "age": numbers[0].numpy(),
            "size": numbers[1].numpy(),
            "job": [jobs[i] for i in torch.randint(3, (ROWS,), generator=rng).tolist()],
        }
    )


def table(rng, row_steps=1, label_features=CLASSES, encoder="soes"):
    """A model with its cells and one-hot labels, all in double precision."""
    tokenizer = TableTokenizer()
    cells = tokenizer.fit_transform(frame(rng))
    cells.x = cells.x.double()
    sizes = {"width": 10, "heads": 2, "cell_neighbors": 2, "row_neighbors": 3, "cell_steps": 2}
    config = TableModelConfig(**sizes, row_steps=row_steps, **ENCODERS[encoder])
    model = TableModel(tokenizer.columns_, CLASSES, label_features, config).double().eval()
    known = torch.randint(CLASSES, (ROWS,), generator=rng)
    labels = torch.nn.functional.one_hot(known, CLASSES).double()[:, :label_features]
    return model, cells, labels


def rows(cells, numbers):
    return cells.select(torch.as_tensor(numbers))


def close(found, expected, atol=1e-9):
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


@encoders
@given(seed=st.integers(0, 2**31), row_steps=st.integers(1, 2))
@settings(deadline=None, max_examples=9)
def test_permuting_rows_permutes_the_outputs(encoder, seed, row_steps):
    rng = torch.Generator().manual_seed(seed)
    model, cells, labels = table(rng, row_steps, encoder=encoder)
    perm = torch.randperm(ROWS, generator=rng)
    memory = RowMemory(model.read(cells)[1], labels)
    moved = RowMemory(memory.states[perm], labels[perm])
    close(model(rows(cells, perm), labels[perm]).outputs, model(cells, labels).outputs[perm])
    close(model(cells, memory=moved).outputs, model(cells, memory=memory).outputs)


@encoders
@pytest.mark.parametrize("row_steps", [1, 3])
def test_a_training_row_never_sees_its_own_label(rng, row_steps, encoder):
    model, cells, labels = table(rng, row_steps, encoder=encoder)
    labels.requires_grad_()
    outputs = model(cells, labels).outputs
    heard = torch.zeros(ROWS, ROWS)
    for i in range(ROWS):
        (grad,) = torch.autograd.grad(outputs[i].sum(), labels, retain_graph=True)
        heard[i] = grad.abs().sum(1)
    assert (heard.diagonal() == 0).all()
    assert ((heard > 0).sum(1) >= 3).all(), "a row hears the labels of its neighbours"


@encoders
@pytest.mark.parametrize("row_steps", [1, 2])
def test_a_new_row_is_judged_alike_alone_and_in_company(rng, row_steps, encoder):
    model, cells, labels = table(rng, row_steps, encoder=encoder)
    memory = RowMemory(model.read(cells)[1].detach(), labels)
    together = model(cells, memory=memory)
    for row in (0, 4, 12):
        alone = model(rows(cells, [row]), memory=memory)
        close(alone.outputs, together.outputs[row : row + 1], atol=1e-12)
    assert [graph.num_sources for graph in together.row_graphs] == [ROWS] * row_steps
    assert all((graph.degree() == 3).all() for graph in together.row_graphs)


@encoders
def test_no_gradient_comes_from_other_new_rows(rng, encoder):
    model, cells, labels = table(rng, encoder=encoder)
    memory = RowMemory(model.read(cells)[1].detach(), labels)
    cells.x.requires_grad_()
    (grad,) = torch.autograd.grad(model(cells, memory=memory).outputs[5].sum(), cells.x)
    by_row = grad.view(ROWS, -1).abs().sum(1)
    assert by_row[5] > 0
    assert (by_row[torch.arange(ROWS) != 5] == 0).all()


@encoders
def test_gradients_reach_every_parameter_but_the_bonus_of_own_edges(rng, encoder):
    model, cells, labels = table(rng, encoder=encoder)
    model(cells, labels).outputs.square().sum().backward()
    idle = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    assert all(name.endswith("given_bonus") for name in idle), idle


def test_labels_may_carry_no_features(rng):
    model, cells, labels = table(rng, label_features=0)
    assert model(cells, labels).outputs.shape == (ROWS, CLASSES)


def test_one_training_row_has_nobody_to_listen_to(rng):
    model, cells, labels = table(rng)
    out = model(rows(cells, [7]), labels[7:8])
    assert out.row_graphs[0].num_edges == 0
    assert out.outputs.isfinite().all()


@encoders
def test_no_rows_give_no_outputs(rng, encoder):
    model, cells, labels = table(rng, encoder=encoder)
    memory = RowMemory(model.read(cells)[1], labels)
    none = rows(cells, torch.zeros(0, dtype=torch.long))
    assert model(none, memory=memory).outputs.shape == (0, CLASSES)


def test_cells_are_hidden_in_training_only(rng):
    model, cells, labels = table(rng)
    assert torch.equal(model(cells, labels).outputs, model(cells, labels).outputs)
    model.train()
    assert not torch.equal(model(cells, labels).outputs, model(cells, labels).outputs)


def test_labels_or_memory_must_be_given(rng):
    model, cells, _ = table(rng)
    with pytest.raises(ValueError, match="labels or memory must be given"):
        model(cells)
