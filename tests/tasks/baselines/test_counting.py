import pytest
import torch
from structformer.tasks.baselines.counting import forward_flops
from torch import nn
from torch.nn import functional as F

BATCH, HEADS, LENGTH, CHANNELS = 2, 3, 13, 5


class Attend(nn.Module):
    def __init__(self, causal):
        super().__init__()
        self.causal = causal

    def forward(self, x):
        return F.scaled_dot_product_attention(x, x, x, is_causal=self.causal)


class Solve(nn.Module):
    def forward(self, matrix, right):
        return torch.linalg.solve_triangular(matrix.tril(-1), right, upper=False, unitriangular=True)


def test_a_linear_map_is_two_operations_a_weight_and_row():
    assert forward_flops(nn.Linear(7, 11), torch.ones(BATCH, LENGTH, 7)) == 2 * BATCH * LENGTH * 7 * 11


@pytest.mark.parametrize("causal", [True, False])
def test_attention_counts_all_pairs_of_tokens_twice(causal):
    x = torch.ones(BATCH, HEADS, LENGTH, CHANNELS)
    assert forward_flops(Attend(causal), x) == 2 * 2 * BATCH * HEADS * LENGTH**2 * CHANNELS


def test_a_triangular_system_counts_what_lies_below_the_diagonal():
    # Row t takes t products a column.
    pairs = sum(range(LENGTH))
    inputs = torch.ones(BATCH, HEADS, LENGTH, LENGTH), torch.ones(BATCH, HEADS, LENGTH, CHANNELS)
    assert forward_flops(Solve(), *inputs) == 2 * BATCH * HEADS * pairs * CHANNELS


def test_what_goes_number_by_number_does_not_count():
    assert forward_flops(nn.GELU(), torch.ones(LENGTH)) == 0


@pytest.mark.parametrize("training", [True, False])
def test_the_module_is_left_as_it_was(training):
    module = nn.Sequential(nn.Linear(7, 11), nn.BatchNorm1d(11)).train(training)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    forward_flops(module, torch.randn(LENGTH, 7))
    assert module.training == training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(weight.grad is None for weight in module.parameters())
