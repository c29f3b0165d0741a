import pytest
import torch

from structformer.nn.token_cache import TokenCache

TOKENS, WIDTH, HEADS = 11, 14, 2


def cache(size=3):
    return TokenCache(WIDTH, HEADS, size).double()


def states(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(TOKENS, WIDTH, generator=generator, dtype=torch.float64) for _ in range(count)]


def test_it_equals_the_formula_token_by_token():
    module, (h, *recent) = cache(), states(4)
    torch.nn.init.normal_(module.age)
    found = module(h, recent)
    for i in range(TOKENS):
        past = module.norm(torch.stack([state[i] for state in recent]))
        query, key, value = module.query(module.norm(h[i])), module.key(past), module.value(past)
        heads = []
        for head in range(HEADS):
            part = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
            scores = key[:, part] @ query[part] / (WIDTH / HEADS) ** 0.5 + module.age[:, head]
            heads.append(scores.softmax(0) @ value[:, part])
        torch.testing.assert_close(found[i], module.output(torch.cat(heads)))


def test_no_token_sees_another():
    module, (h, *recent) = cache(), states(4)
    recent = [state.requires_grad_() for state in recent]
    grads = torch.autograd.grad(module(h, recent)[5].sum(), recent)
    for grad in grads:
        assert grad[5].abs().sum() > 0
        assert grad[[0, 1, 2, 3, 4, 6, 7, 8, 9, 10]].abs().sum() == 0


def test_the_last_states_count():
    module, (h, *recent) = cache(size=2), states(6)
    torch.testing.assert_close(module(h, recent), module(h, recent[-2:]))
    assert not torch.allclose(module(h, recent), module(h, recent[:2]))


def test_age_belongs_to_how_long_ago_a_state_was():
    module, (h, *recent) = cache(size=3), states(3)
    with torch.no_grad():
        module.age[-1] = 50.0
    torch.testing.assert_close(module(h, recent), module(h, recent[-1:]))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="heads must divide width"):
        TokenCache(14, 3)
    with pytest.raises(ValueError, match=r"size must be at least 1 \(got 0\)"):
        TokenCache(14, 2, 0)
    with pytest.raises(ValueError, match="recent is empty"):
        cache()(states(1)[0], [])
