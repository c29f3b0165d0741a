"""The compiled recurrence of the deep–shallow memory against its twin, in every build that this processor can run."""

import pytest
import torch
from torch.nn.functional import normalize
from torch.utils.flop_counter import FlopCounterMode

from structformer.nn.memory_naive import recurrence
from structformer.nn.memory_signals import MemoryState, Signals
from structformer.ops import compiled, delta_memory
from structformer.ops.delta_memory import SEGMENT, _delta_memory

pytestmark = pytest.mark.skipif(not compiled.available(), reason="built without a compiler")
PTR = torch.tensor([0, 17, 17, 18, 18 + SEGMENT, 71])  # sets of 17, 0, 1, 16 and 37 tokens
TAKE, READ = 7, 8
run = delta_memory.delta_memory


@pytest.fixture(params=compiled.runnable())
def build(request, monkeypatch):
    """Each build of the kernels in turn, and nothing in the memory that they shall write to."""
    monkeypatch.setattr(compiled, "_library", lambda: compiled.loaded(request.param))
    monkeypatch.setattr(
        delta_memory, "empty", lambda like, *shape: like.new_full(shape, torch.nan).requires_grad_(False)
    )


def told(rng, ptr=PTR, heads=2, channels=5, slots=3, decay=0.3, shares=0.5, dtype=torch.float64):
    """Signals, with about so many shares that are not zero, and first states; all of them leaves."""
    tokens, sets = int(ptr[-1]), len(ptr) - 1

    def random(*shape):
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    def some():
        x = torch.rand(tokens, heads, slots, generator=rng, dtype=torch.float64)
        return torch.where(x > 1 - shares, x, 0) / max(slots, 1)

    query, key = (normalize(random(tokens, heads, channels) + tilt, dim=-1) for tilt in (0.0, 0.7))
    gates = [random(tokens, heads) for _ in range(4)]
    gates = [2 * gate.sigmoid() if odd % 2 else -decay * gate.square() for odd, gate in enumerate(gates)]
    signals = [query, key, random(tokens, heads, channels), *gates, some(), some()]
    states = [random(sets, heads, *deep, channels, channels) for deep in ((), (slots,))]
    return [x.to(dtype).requires_grad_() for x in (*signals, *states)]


def twin(tensors, ptr):
    out, state = recurrence(Signals(*tensors[:9]), ptr, MemoryState(*tensors[9:]))
    return out, state.shallow, state.deep


def found(tensors, ptr):
    return run(*tensors[:9], ptr, *tensors[9:])


def gradients(results, tensors, upstream):
    total = sum((x * u).sum() for x, u in zip(results, upstream, strict=True))
    grads = torch.autograd.grad(total, tensors, allow_unused=True, materialize_grads=True)
    return [
        grad * (x != 0) if number in (TAKE, READ) else grad
        for number, (grad, x) in enumerate(zip(grads, tensors, strict=True))
    ]


def check_twin(rng, tensors, ptr, tolerance=1e-9):
    pair = found(tensors, ptr), twin(tensors, ptr)
    torch.testing.assert_close(*pair, rtol=tolerance, atol=tolerance)
    upstream = [torch.randn(x.shape, generator=rng, dtype=x.dtype) for x in pair[0]]
    grads = [gradients(results, tensors, upstream) for results in pair]
    torch.testing.assert_close(*grads, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("build")
@pytest.mark.parametrize("slots", [0, 1, 7])
@pytest.mark.parametrize("channels", [1, 2, 3, 8, 11, 16, 20, 33])
def test_every_width_equals_its_twin(rng, channels, slots):
    check_twin(rng, told(rng, channels=channels, slots=slots), PTR)


@pytest.mark.usefixtures("build")
@pytest.mark.parametrize("shares", [0.0, 0.3, 1.0])
def test_few_slots_or_all_of_them(rng, shares):
    check_twin(rng, told(rng, slots=4, shares=shares), PTR)


@pytest.mark.usefixtures("build")
@pytest.mark.parametrize(
    "ptr", [[0], [0, 0, 0], [0, 1], [0, SEGMENT], [0, 0, SEGMENT + 1, SEGMENT + 1], [0, 300]]
)
def test_sets_of_all_lengths(rng, ptr):
    ptr = torch.tensor(ptr)
    check_twin(rng, told(rng, ptr, decay=0.01), ptr)


@pytest.mark.usefixtures("build")
@pytest.mark.parametrize("strength", [0.0, 30.0, 1000.0, torch.inf])
def test_decays_of_any_strength(rng, strength):
    # Tokens that forget nothing beside some that forget much or everything.
    ptr = torch.tensor([0, 300])
    tensors = told(rng, ptr, slots=2)
    for number in (3, 5):
        lost = torch.rand(300, 2, generator=rng) < 0.1
        tensors[number] = torch.where(lost, -strength, 0.0).double().requires_grad_()
    check_twin(rng, tensors, ptr)


@pytest.mark.usefixtures("build")
def test_what_is_written_beyond_itself_turns_round(rng):
    tensors = told(rng, decay=0.0)
    for number in (4, 6):
        tensors[number] = torch.full_like(tensors[number], 2.0).requires_grad_()
    check_twin(rng, tensors, PTR)


@pytest.mark.usefixtures("build")
def test_single_precision_is_as_exact_as_it_can_be(rng):
    tensors = told(rng, channels=20, slots=4)
    single = [x.detach().float().requires_grad_() for x in tensors]
    double = [x.detach().double().requires_grad_() for x in single]
    results = found(single, PTR), found(double, PTR)
    torch.testing.assert_close(results[0], [x.float() for x in results[1]], rtol=1e-4, atol=1e-4)
    upstream = [torch.randn(x.shape, generator=rng) for x in results[0]]
    low, high = gradients(results[0], single, upstream), gradients(results[1], double, upstream)
    torch.testing.assert_close(low, [x.float() for x in high], rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("build")
@pytest.mark.parametrize("channels", [3, 33])
def test_threads_and_other_sets_change_nothing(rng, channels):
    tensors, results = told(rng, channels=channels, dtype=torch.float32), []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        out = found(tensors, PTR)
        results.append((*out, *gradients(out, tensors, out)))
    torch.set_num_threads(1)
    for other in results[1:]:
        torch.testing.assert_close(results[0], other, rtol=0, atol=0)
    for number in range(len(PTR) - 1):
        place, one = slice(*PTR[number : number + 2].tolist()), slice(number, number + 1)
        own = [x.detach()[place if i < 9 else one].requires_grad_() for i, x in enumerate(tensors)]
        alone = found(own, torch.tensor([0, place.stop - place.start]))
        cuts = place, one, one, *[place] * 9, one, one
        company = [x[cut] for x, cut in zip(results[0], cuts, strict=True)]
        torch.testing.assert_close([*alone, *gradients(alone, own, alone)], company, rtol=0, atol=0)


def test_nothing_is_heard_of_what_comes_later(rng):
    tensors = told(rng)
    out, _, _ = found(tensors, PTR)
    owner = torch.arange(5).repeat_interleave(PTR.diff())
    for i in range(0, 71, 7):
        grads = torch.autograd.grad(out[i].square().sum(), tensors, retain_graph=True)
        heard = (torch.arange(71) <= i) & (owner == owner[i])
        for grad in grads[:9]:
            assert (grad[~heard] == 0).all()
        assert grads[1][heard].flatten(1).any(1).all()
        for grad in grads[9:]:
            assert grad.flatten(1).any(1).nonzero().flatten().tolist() == [owner[i]]


def test_a_share_of_zero_has_no_gradient(rng):
    tensors = told(rng)
    grads = torch.autograd.grad(found(tensors, PTR)[0].sum(), tensors)
    for number in (TAKE, READ):
        assert (grads[number][tensors[number] == 0] == 0).all()
        assert grads[number][tensors[number] != 0].any()


def test_only_some_gradients_are_asked_for(rng):
    # Of a state alone, and of one input alone; autograd then gives no gradients for the other results.
    tensors = told(rng)
    for number in range(3):
        pair = found(tensors, PTR)[number], twin(tensors, PTR)[number]
        grads = [torch.autograd.grad(x.square().sum(), tensors[1]) for x in pair]
        torch.testing.assert_close(*grads, rtol=0, atol=1e-9)
    only = [x.detach() for x in tensors]
    only[2].requires_grad_()
    found(only, PTR)[0].sum().backward()
    assert only[2].grad.any()


def test_no_number_stays_no_number_in_its_set_and_head(rng):
    tensors = [x.detach() for x in told(rng)]
    tensors[2][3, 1, 2] = torch.nan
    out, shallow, deep = found(tensors, PTR)
    assert out[3:17, 1, 2].isnan().all()
    hurt = torch.zeros_like(out, dtype=torch.bool)
    hurt[3:17, 1] = True
    assert out[~hurt].isfinite().all()
    assert shallow[0, 1].isnan().any()
    assert shallow[1:].isfinite().all()
    assert deep[:, 0].isfinite().all()


def test_tensors_in_any_memory_order(rng):
    tensors = [x.detach() for x in told(rng)]
    strange = [x.transpose(0, -1).contiguous().transpose(0, -1) for x in tensors]
    joint = torch.stack(tensors[:3], 1)
    expected = found(tensors, PTR)
    for others in (strange, [*joint.unbind(1), *tensors[3:]]):
        torch.testing.assert_close(found(others, PTR), expected, rtol=0, atol=0)
    torch.testing.assert_close(found(tensors, PTR.int()), expected, rtol=0, atol=0)


def test_gradcheck(rng):
    ptr = torch.tensor([0, 2, 2, 5])
    assert torch.autograd.gradcheck(
        lambda *x: found(x, ptr), told(rng, ptr, 1, channels=2, slots=2, shares=1.0)
    )


def test_the_operator_keeps_torchs_contract(rng):
    ptr = torch.tensor([0, SEGMENT + 1, SEGMENT + 3])
    tensors = told(rng, ptr, 1, channels=2, slots=2)
    torch.library.opcheck(_delta_memory, (*tensors[:9], ptr, *tensors[9:], SEGMENT))


def test_compiled_it_does_the_same(rng):
    tensors, results = told(rng), []
    for function in (_delta_memory, torch.compile(_delta_memory, backend="aot_eager", fullgraph=True)):
        out = function(*tensors[:9], PTR, *tensors[9:], SEGMENT)[:3]
        results.append((*out, *gradients(out, tensors, out)))
    torch.testing.assert_close(*results)


def test_states_are_kept_once_a_segment_and_only_for_gradients(rng, monkeypatch):
    made = []
    monkeypatch.setattr(
        delta_memory, "empty", lambda like, *shape: made.append(shape) or like.new_empty(shape)
    )
    tensors, each = told(rng), 4 * 5 * 5 + 3
    found(tensors, PTR)
    assert made[3] == (71 // SEGMENT, 2, each)
    with torch.no_grad():
        found(tensors, PTR)
    assert made[7] == (0, 2, each)
    found([x.detach() for x in tensors], PTR)
    assert made[11] == (0, 2, each)


def test_flops_of_the_slots_that_are_touched(rng):
    # Each entry of a state: three for the shallow one, two where a slot takes, one where it is read.
    tensors = told(rng, slots=4)
    shares = [int((tensors[number] != 0).sum()) for number in (TAKE, READ)]
    with FlopCounterMode(display=False) as counter:
        out = found(tensors, PTR)[0]
    forward = 2 * 25 * (3 * 71 * 2 + 2 * shares[0] + shares[1])
    assert counter.get_total_flops() == forward
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    again = 2 * 25 * (2 * 71 * 2 + 2 * shares[0])
    assert counter.get_total_flops() == again + 2 * forward


@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_is_named(rng):
    tensors = [x.detach() for x in told(rng)]
    names = *delta_memory._TENSORS, *delta_memory._STATES
    for number, name in enumerate(names[1:], 1):
        wrong = [*tensors]
        wrong[number] = tensors[number][:-1]
        wanted = ", ".join(map(str, tensors[number].shape))
        with pytest.raises(ValueError, match=rf"^{name} must be \[{wanted}\] \(got \["):
            found(wrong, PTR)
    with pytest.raises(ValueError, match=r"query must be \[tokens, heads, channels\] \(got \[71, 2\]\)"):
        found([tensors[0][..., 0], *tensors[1:]], PTR)
    for ptr in (PTR[:0], PTR[:-1], PTR.flip(0), PTR[None], PTR[[0, 2, 3, 2, 4, 5]]):
        with pytest.raises(ValueError, match="ptr must rise from 0 to the number of tokens, 71"):
            found(tensors, ptr)
    with pytest.raises(ValueError, match=r"float32 or all float64.*float32 on cpu, torch.float64 on cpu"):
        found([tensors[0].float(), *tensors[1:]], PTR)
    with pytest.raises(ValueError, match="all must be float32 or all float64, on the CPU"):
        found([x.bfloat16() for x in tensors], PTR)


def test_without_kernels_it_says_so(rng, monkeypatch):
    tensors = told(rng)
    assert delta_memory.delta_memory_serves(*tensors)
    assert not delta_memory.delta_memory_serves(*tensors, torch.zeros(1))
    monkeypatch.setattr(compiled, "_library", lambda: None)
    assert not delta_memory.delta_memory_serves(*tensors)
    with pytest.raises(RuntimeError, match="installed without its compiled kernels"):
        found(tensors, PTR)
