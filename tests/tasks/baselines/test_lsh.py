import math

import pytest
import torch
from structformer.tasks.baselines.lsh import LSHAttention, LSHConfig, hash_codes, lsh_attention
from structformer.tasks.baselines.rotary import rotate
from structformer.tasks.baselines.text import TextConfig
from torch.nn import functional as F

BATCH, LENGTH, HEADS, CHANNELS, ROUNDS = 2, 23, 3, 10, 5
WIDTH = HEADS * CHANNELS
CONFIG = TextConfig(vocabulary=7, width=WIDTH, heads=HEADS)


def drawn(rng, *shape):
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def buckets(x, rotations):
    """Each token's bucket in each round, [batch, heads, rounds, length], one token after the other."""
    found = torch.zeros(*x.shape[:2], rotations.shape[1], x.shape[2], dtype=torch.long)
    for b, h, r, i in torch.cartesian_prod(*(torch.arange(size) for size in found.shape)).tolist():
        turned = x[b, h, i] @ rotations[h, r]
        found[b, h, r, i] = torch.cat([turned, -turned]).argmax() if rotations.shape[-1] else 0
    return found


def heard(bucket, chunk):
    """The tokens that each may hear in one round: itself, and in its bucket as many before it as fit a chunk."""
    sets = []
    for i, own in enumerate(bucket.tolist()):
        before = [j for j in range(i) if int(bucket[j]) == own]
        sets.append([*before[-chunk:], i])
    return sets


def attend(query, key, value, bucket, chunk):
    """Section 2 and appendix A of the paper, one token after the other."""
    out = torch.zeros_like(value)
    for b, h in torch.cartesian_prod(torch.arange(len(query)), torch.arange(query.shape[1])).tolist():
        rounds = [heard(bucket[b, h, r], chunk) for r in range(bucket.shape[2])]
        for i in range(query.shape[2]):
            times = torch.zeros(query.shape[2], dtype=query.dtype)
            for sets in rounds:
                times[sets[i]] += 1
            parts, totals = [], []
            for sets in rounds:
                scores = key[b, h, sets[i]] @ query[b, h, i] / math.sqrt(query.shape[3])
                scores = scores - times[sets[i]].log()
                others = len(sets[i]) > 1
                # Alone, a token hears itself; its score is so low that any round with others outweighs it.
                scores = torch.cat([scores[:-1], scores[-1:] - 1e5 + times[i].log()])
                totals.append(scores.logsumexp(0))
                weights = scores.softmax(0)
                assert not others or weights[-1] == 0
                parts.append(weights @ value[b, h, sets[i]])
            out[b, h, i] = torch.stack(totals).softmax(0) @ torch.stack(parts)
    return out


@pytest.mark.parametrize(("number", "chunk"), [(2, 5), (4, 3), (6, 7), (4, 1), (8, 64)])
def test_values_and_gradients_equal_the_naive_twin(number, chunk, rng):
    query, key, value = (drawn(rng, BATCH, HEADS, LENGTH, CHANNELS).requires_grad_() for _ in range(3))
    rotations = drawn(rng, HEADS, ROUNDS, CHANNELS, number // 2)
    codes, order = hash_codes(query, rotations, chunk)
    out = lsh_attention(query, key, value, codes, order, chunk)
    expected = attend(query, key, value, buckets(query, rotations), chunk)
    torch.testing.assert_close(out, expected, rtol=1e-8, atol=1e-9)
    upstream, wanted = drawn(rng, *out.shape), (query, key, value)
    grads = torch.autograd.grad(out, wanted, upstream)
    torch.testing.assert_close(grads, torch.autograd.grad(expected, wanted, upstream), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("rotary", [True, False])
@pytest.mark.parametrize("rounds", [1, 3])
def test_with_one_bucket_it_is_full_causal_attention_with_shared_queries_and_keys(rounds, rotary, rng):
    own = LSHConfig(buckets=1, rounds=rounds, chunk=LENGTH, rotary=rotary)
    mixer, x = LSHAttention(CONFIG, own).double(), drawn(rng, BATCH, LENGTH, WIDTH).requires_grad_()
    both = mixer.project(x).view(BATCH, LENGTH, 2, HEADS, CHANNELS).permute(2, 0, 3, 1, 4)
    query, value = both.unbind(0)
    query = rotate(query) if rotary else query
    scores = query @ F.normalize(query, dim=-1).mT / math.sqrt(CHANNELS)
    hidden = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu()
    hidden[0, 0] = False  # the first token has nobody else
    weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
    expected = mixer.output((weights @ value).transpose(1, 2).flatten(2))
    out = mixer(x)[0]
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-10)
    upstream, wanted = drawn(rng, BATCH, LENGTH, WIDTH), [x, *mixer.parameters()]
    grads = torch.autograd.grad(out, wanted, upstream)
    torch.testing.assert_close(grads, torch.autograd.grad(expected, wanted, upstream), rtol=1e-8, atol=1e-9)


def test_codes_say_who_may_hear_whom(rng):
    window, x = 3, drawn(rng, BATCH, HEADS, LENGTH, CHANNELS)
    rotations = drawn(rng, HEADS, ROUNDS, CHANNELS, 2)
    codes, order = hash_codes(x, rotations, window)
    found = buckets(x, rotations)
    assert len(found.unique()) == 4
    for b, h, r in ((0, 0, 0), (1, 2, 4), (0, 1, 3)):
        gap = codes[b, h, r][:, None] - codes[b, h, r]
        for i, sets in enumerate(heard(found[b, h, r], window)):
            assert ((gap[i] >= 0) & (gap[i] <= window)).nonzero().flatten().tolist() == sets
        in_order = found[b, h, r][order[b, h, r]] * LENGTH + order[b, h, r]
        assert (in_order.diff() > 0).all()


def test_alike_tokens_fall_into_one_bucket_and_opposite_ones_never_do(rng):
    x, rotations = drawn(rng, 1, HEADS, LENGTH, CHANNELS), drawn(rng, HEADS, ROUNDS, CHANNELS, 4)
    bucket = []
    for part in (x, 3 * x, -x):
        codes, order = hash_codes(part, rotations, window=0)
        bucket.append(codes - order.argsort(-1))
    assert torch.equal(bucket[0], bucket[1])
    assert torch.equal(bucket[0], (bucket[2] + 4) % 8)


def test_a_token_that_is_alone_in_all_rounds_hears_itself():
    query = torch.eye(4, dtype=torch.float64)[None, None]
    value = torch.arange(4.0, dtype=torch.float64)[None, None, :, None].expand(1, 1, 4, 4)
    # Tokens 0 and 2 share a bucket, 1 and 3 are alone.
    codes, order = torch.tensor([[[[0, 8, 1, 16]] * 3]]), torch.tensor([[[[0, 2, 1, 3]] * 3]])
    out = lsh_attention(query, query, value, codes, order, 2)
    torch.testing.assert_close(out[0, 0, :, 0], torch.tensor([0.0, 1, 0, 3], dtype=torch.float64))


def test_more_rounds_come_closer_to_full_attention(rng):
    x = drawn(rng, BATCH, 53, WIDTH)
    full = LSHAttention(CONFIG, LSHConfig(buckets=1, rounds=1, chunk=53)).double()
    errors = []
    for rounds in (1, 4, 16):
        mixer = LSHAttention(CONFIG, LSHConfig(buckets=4, rounds=rounds, chunk=53)).double()
        mixer.load_state_dict({**full.state_dict(), "rotations": mixer.rotations})
        errors.append((mixer(x)[0] - full(x)[0]).square().mean().item())
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_a_text_gets_the_same_answer_each_time(rng):
    mixer, x = LSHAttention(CONFIG, LSHConfig()), torch.randn(BATCH, LENGTH, WIDTH, generator=rng)
    again = LSHAttention(CONFIG, LSHConfig())
    again.load_state_dict(mixer.state_dict())
    assert torch.equal(mixer(x)[0], mixer(x)[0])
    assert torch.equal(mixer(x)[0], again(x)[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"buckets": 3}, r"buckets must be even, or 1 \(got 3\)"),
        ({"buckets": 0}, r"buckets must be even, or 1 \(got 0\)"),
        ({"rounds": 0}, r"rounds must be at least 1 \(got 0\)"),
        ({"chunk": 0}, r"chunk must be at least 1 \(got 0\)"),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LSHConfig(**arguments)


def test_odd_channels_cannot_be_rotated():
    odd = TextConfig(vocabulary=7, width=15, heads=3)
    with pytest.raises(ValueError, match=r"width / heads must be even .* \(got 5\)"):
        LSHAttention(odd, LSHConfig())
    assert LSHAttention(odd, LSHConfig(rotary=False))(torch.ones(1, 2, 15))[0].shape == (1, 2, 15)
