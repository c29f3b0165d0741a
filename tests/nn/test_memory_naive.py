import torch
from torch.nn.functional import normalize

from structformer.nn.memory_naive import advance, recurrence
from structformer.nn.memory_signals import MemoryState, Signals

HEADS, CHANNELS, SLOTS = 2, 3, 2
PTR = torch.tensor([0, 4, 4, 7])


def signals(tokens: int, write: float = 1.0, keep: float = 1.0, take: float = 0.0) -> Signals:
    def random() -> torch.Tensor:
        return torch.randn(tokens, HEADS, CHANNELS, dtype=torch.float64)

    def constant(value: float, *more: int) -> torch.Tensor:
        return torch.full((tokens, HEADS, *more), value, dtype=torch.float64)

    log_keep = constant(keep).log()
    return Signals(
        normalize(random(), dim=-1), normalize(random(), dim=-1), random(), log_keep, constant(write), log_keep,
        constant(write), constant(take, SLOTS), constant(0.5, SLOTS),
    )  # fmt: skip


def empty(sets: int) -> MemoryState:
    size = (CHANNELS, CHANNELS)
    zeros = torch.zeros(sets, HEADS, *size, dtype=torch.float64)
    return MemoryState(zeros, zeros.new_zeros(sets, HEADS, SLOTS, *size))


def said(state: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    return torch.einsum("shkc,shk->shc", state, key)


def test_what_was_written_whole_is_read_back_by_its_key():
    token = signals(1)
    _, after = advance(token, empty(1))
    torch.testing.assert_close(said(after.shallow, token.key), token.value)
    again, last = advance(token, after)
    torch.testing.assert_close(last.shallow, after.shallow, msg="nothing is left to say")
    torch.testing.assert_close(again, said(after.shallow, token.query))


def test_a_memory_that_neither_writes_nor_keeps_is_empty():
    quiet = signals(1, write=0.0)
    out, after = advance(quiet, empty(1))
    assert not out.any()
    assert not after.shallow.any()
    _, full = advance(signals(1), empty(1))
    _, blank = advance(signals(1, write=0.0, keep=0.0), full)
    assert not blank.shallow.any()


def test_slots_take_what_the_shallow_state_did_not_know():
    # Each of the two slots takes half of the residual, weighed again when it is asked.
    token = signals(1, take=0.5)
    _, after = advance(token, empty(1))
    for slot in range(SLOTS):
        torch.testing.assert_close(said(after.deep[:, :, slot], token.key), 0.5 * token.value)


def test_sets_are_read_on_their_own_and_an_empty_one_stays_as_it_was():
    tokens = signals(7, write=0.7, keep=0.9, take=0.4)
    start = empty(3)
    start.shallow.normal_()
    out, after = recurrence(tokens, PTR, start)
    assert torch.equal(after.shallow[1], start.shallow[1])
    alone = Signals(*(x[4:] for x in vars(tokens).values()))
    own = MemoryState(start.shallow[2:], start.deep[2:])
    single, last = recurrence(alone, torch.tensor([0, 3]), own)
    torch.testing.assert_close(out[4:], single)
    torch.testing.assert_close(after.deep[2:], last.deep)


def test_reading_goes_on_where_it_stopped():
    tokens = signals(4, write=0.7, keep=0.9, take=0.4)
    whole, after = recurrence(tokens, torch.tensor([0, 4]), empty(1))
    state, outs = empty(1), []
    for token in tokens.each():
        out, state = recurrence(token, torch.tensor([0, 1]), state)
        outs.append(out)
    torch.testing.assert_close(torch.cat(outs), whole)
    torch.testing.assert_close(state.deep, after.deep)


def test_no_tokens_leave_everything_as_it_is():
    out, after = recurrence(signals(0), torch.tensor([0, 0]), empty(1))
    assert out.shape == (0, HEADS, CHANNELS)
    assert torch.equal(after.shallow, empty(1).shallow)
