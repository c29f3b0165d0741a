import pytest
import torch

from structformer.nn.halting import Halting

TOKENS, WIDTH = 3, 5


def states(steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(TOKENS, WIDTH, generator=generator, dtype=torch.float64) for _ in range(steps + 1)]


def run(module, chances, h):
    """Halt with the given probabilities, [steps, tokens]."""
    module._chance = lambda before, after: chances[next(counter)]
    counter = iter(range(len(chances)))
    state = module.start(h[0])
    for step in range(len(chances)):
        state = module.step(state, h[step], h[step + 1], last=step == len(chances) - 1)
    return state


def test_the_published_equations_on_numbers_by_hand():
    # Token 0: 0.3 + 0.5, then the rest 0.2 at the third step (0.8 + 0.4 passes 0.99); token 1 halts at once;
    # token 2 never reaches the end, so that the last step takes what is left.
    chances = torch.tensor([[0.3, 0.995, 0.1], [0.5, 0.4, 0.2], [0.4, 0.4, 0.1], [0.9, 0.9, 0.1]]).double()
    h = states(4)
    state = run(Halting(WIDTH).double(), chances, h)
    expected = torch.stack(
        [
            0.3 * h[1][0] + 0.5 * h[2][0] + 0.2 * h[3][0],
            h[1][1],
            0.1 * h[1][2] + 0.2 * h[2][2] + 0.1 * h[3][2] + 0.6 * h[4][2],
        ]
    )
    torch.testing.assert_close(state.output, expected)
    assert state.steps.tolist() == [3, 1, 4]
    # Steps plus remainder (Graves 2016, eq. 8).
    torch.testing.assert_close(state.ponder, torch.tensor([3 + 0.2, 1 + 1.0, 4 + 0.6]).double())
    assert state.all


def test_ponder_teaches_the_probability():
    module, h = Halting(WIDTH).double(), states(3)
    state = module.start(h[0])
    for step in range(3):
        state = module.step(state, h[step], h[step + 1], last=step == 2)
    assert module.probability is not None
    (grad,) = torch.autograd.grad(state.ponder.sum(), module.probability.bias)
    assert grad < 0  # halting sooner costs less


def test_the_mean_is_a_mean():
    module, h = Halting(WIDTH).double(), states(4)
    one = torch.ones(TOKENS, WIDTH, dtype=torch.float64)
    state = module.start(h[0])
    for step in range(4):
        state = module.step(state, h[step], one, last=step == 3)
    torch.testing.assert_close(state.output, one)


def test_convergence_stops_who_stands_still():
    module = Halting(WIDTH, "convergence", threshold=0.1)
    start = torch.eye(TOKENS, WIDTH)
    moved = start * torch.tensor([1.05, 1.5, 1.0])[:, None]
    state = module.step(module.start(start), start, moved, last=False)
    assert state.steps.tolist() == [1, 1, 1]
    assert (state.total == 1).tolist() == [True, False, True]
    again = module.step(state, moved, 2 * moved, last=False)
    torch.testing.assert_close(again.output[[0, 2]], moved[[0, 2]])
    assert not again.all
    final = module.step(again, 2 * moved, 9 * moved, last=True)
    torch.testing.assert_close(final.output[1], 9 * moved[1])
    assert final.steps.tolist() == [1, 3, 1]
    assert final.all


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"rule must be .* \(got 'never'\)"):
        Halting(WIDTH, "never")
    with pytest.raises(ValueError, match=r"threshold must be between 0 and 1 \(got 2.0\)"):
        Halting(WIDTH, threshold=2.0)
