import pytest
import torch
from structformer.tasks.baselines.text import TextConfig
from structformer.tasks.baselines.universal import UniversalConfig, UniversalTransformer

from structformer.nn.r2mu import step_embedding

BATCH, LENGTH, VOCABULARY, WIDTH, STEPS = 2, 7, 11, 6, 5


def model(halting, layers=STEPS):
    config = TextConfig(VOCABULARY, WIDTH, layers=layers, heads=3)
    return UniversalTransformer(config, UniversalConfig(halting=halting)).double()


def tokens(rng):
    return torch.randint(VOCABULARY, (BATCH, LENGTH), generator=rng)


def step(model, h, number):
    return model.blocks[0](h + step_embedding(number, h[0]))[0]


def test_one_block_is_applied_again_and_again_with_the_step_embedded(rng):
    universal, ids = model(halting=False), tokens(rng)
    h = universal.embedding(ids) * WIDTH**0.5
    for number in range(STEPS):
        h = step(universal, h, number)
    output = universal.run(ids)
    torch.testing.assert_close(output.logits, universal.head(universal.norm(h)))
    assert output.steps is None
    assert output.ponder is None
    assert len(universal.blocks) == 1
    assert universal.num_parameters == model(halting=False, layers=2).num_parameters


def test_steps_are_told_apart():
    # The published sinusoids (1706.03762, section 3.5), of the step instead of the position.
    like = torch.zeros(1, WIDTH, dtype=torch.float64)
    found = torch.stack([step_embedding(number, like) for number in range(STEPS)])
    number = torch.arange(STEPS, dtype=torch.float64)
    for pair in range(WIDTH // 2):
        angle = number / 10_000 ** (2 * pair / WIDTH)
        torch.testing.assert_close(
            found[:, 2 * pair : 2 * pair + 2], torch.stack([angle.sin(), angle.cos()], 1)
        )


def test_the_published_equations_of_halting_one_token_after_the_other(rng):
    universal, ids = model(halting=True), tokens(rng)
    # Chances of halting that let tokens stop after different numbers of steps.
    with torch.no_grad():
        universal.halting.probability.weight.normal_(generator=torch.Generator().manual_seed(1))
        universal.halting.probability.bias.fill_(-0.5)
    places = [(row, place) for row in range(BATCH) for place in range(LENGTH)]
    h = universal.embedding(ids) * WIDTH**0.5
    given, results = dict.fromkeys(places, h.new_zeros(())), dict.fromkeys(places, h.new_zeros(()))
    halted, ponder = {}, {}
    for number in range(STEPS):
        after = step(universal, h, number)
        # Who has halted keeps its state, which others go on hearing.
        h = torch.stack(
            [
                torch.stack([(h if (b, i) in halted else after)[b, i] for i in range(LENGTH)])
                for b in range(BATCH)
            ]
        )
        for place in places:
            if place in halted:
                continue
            chance = universal.halting.probability(h[place]).sigmoid()[0]
            if given[place] + chance >= 0.99 or number == STEPS - 1:
                remainder = 1 - given[place]
                results[place] = results[place] + remainder * h[place]
                halted[place], ponder[place] = number + 1, number + 1 + remainder
            else:
                results[place] = results[place] + chance * h[place]
                given[place] = given[place] + chance
    expected = torch.stack([results[place] for place in places]).view(BATCH, LENGTH, WIDTH)
    output = universal.run(ids)
    torch.testing.assert_close(output.logits, universal.head(universal.norm(expected)))
    assert output.steps.flatten().tolist() == [halted[place] for place in places]
    assert len(set(halted.values())) > 2
    cost = torch.stack([ponder[place] for place in places]).view(BATCH, LENGTH)
    torch.testing.assert_close(output.ponder, cost)
    wanted = list(universal.parameters())
    fast = output.logits.square().sum() + output.ponder.sum()
    naive = universal.head(universal.norm(expected)).square().sum() + cost.sum()
    grads = torch.autograd.grad(fast, wanted)
    torch.testing.assert_close(grads, torch.autograd.grad(naive, wanted), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(("bias", "steps"), [(40.0, 1), (-40.0, STEPS)])
def test_who_is_sure_halts_at_once_and_who_never_is_takes_all_steps(bias, steps, rng):
    universal, ids = model(halting=True), tokens(rng)
    with torch.no_grad():
        universal.halting.probability.bias.fill_(bias)
    output = universal.run(ids)
    assert output.steps.unique().tolist() == [steps]
    # What is left of the probability is 1 at the first step, and still almost 1 at the last.
    torch.testing.assert_close(output.ponder, torch.full((BATCH, LENGTH), steps + 1.0).double())
    alike = model(halting=False, layers=steps)
    shared = {name: weight for name, weight in universal.state_dict().items() if "halting" not in name}
    alike.load_state_dict(shared, strict=True)
    torch.testing.assert_close(output.logits, alike.run(ids).logits)


def test_the_ponder_cost_teaches_to_halt_sooner(rng):
    universal = model(halting=True)
    ponder = universal.run(tokens(rng)).ponder.sum()
    (grad,) = torch.autograd.grad(ponder, universal.halting.probability.bias)
    assert grad < 0


def test_operations_are_those_of_all_steps_whenever_tokens_halt():
    soon, late = model(halting=True), model(halting=True)
    with torch.no_grad():
        soon.halting.probability.bias.fill_(40.0)
        late.halting.probability.bias.fill_(-40.0)
    assert soon.flops(13) == late.flops(13)
    assert soon.run(torch.zeros(1, 13, dtype=torch.long)).steps.unique().tolist() == [1]


def test_bad_thresholds_are_named():
    with pytest.raises(ValueError, match=r"threshold must be between 0 and 1 \(got 1.5\)"):
        UniversalConfig(threshold=1.5)
