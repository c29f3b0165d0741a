"""Deep–shallow memory: a recurrence that writes down what it could not predict."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from structformer.nn.convolution import ShortConvolution
from structformer.nn.linear import Linear
from structformer.nn.memory_naive import advance
from structformer.nn.memory_paths import remember
from structformer.nn.memory_signals import MemoryState, Signals
from structformer.nn.packed import set_bounds
from structformer.ops import Normalizer, normalize_rows
from structformer.ops.entmax import alpha_of


@dataclass(frozen=True)
class DeepShallowMemoryConfig:
    """What a deep–shallow memory is made of.

    Attributes:
        width: Features of a token, D.
        heads: Memories side by side, H.
        channels: Features of a key and of a value; None is ``width / heads``.
        slots: Deep states a head, M.
        writes: Slots that take a residual.
        reads: Slots that a query listens to. The slots' centres learn from the weights on those chosen, so that with
            one write and one read they stay as they are.
        convolution: Tokens that the short convolution of queries, keys and values sees; 0 is none.
        reflect: Whether writing may turn what stands under a key into its opposite, β up to 1 + g instead of 1, without
            which no state can count modulo two (Grazzi et al. 2024, arXiv 2411.12537).
        chunk: Tokens worked on at once where there is no compiled recurrence (a GPU, an installation without a C++
            compiler); the result does not depend on it.
        normalizer: How affinities to slots become weights of the read-out: "softmax", "sparsemax", "entmax15" or the α
            of α-entmax.
        deep: False leaves the deep states out: a gated delta rule.
    """

    width: int = 64
    heads: int = 4
    channels: int | None = None
    slots: int = 4
    writes: int = 1
    reads: int = 2
    convolution: int = 4
    reflect: bool = True
    chunk: int = 32
    normalizer: Normalizer = "entmax15"
    deep: bool = True

    def __post_init__(self) -> None:
        for name in ("width", "heads", "slots", "chunk"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 (got {getattr(self, name)})")
        if self.convolution < 0:
            raise ValueError(f"convolution must be at least 0 (got {self.convolution})")
        if self.channels is None and self.width % self.heads:
            raise ValueError(
                f"heads must divide width where channels are not given (got heads={self.heads}, width={self.width})"
            )
        if self.channels is not None and self.channels < 1:
            raise ValueError(f"channels must be at least 1 or None (got {self.channels})")
        for name in ("writes", "reads"):
            if not 1 <= getattr(self, name) <= self.slots:
                raise ValueError(f"{name} must be from 1 to slots, {self.slots} (got {getattr(self, name)})")
        alpha_of(self.normalizer)

    @property
    def size(self) -> int:
        """Features of a key and of a value, C."""
        return self.width // self.heads if self.channels is None else self.channels


class DeepShallowMemory(nn.Module):
    """Mix the tokens of each set in their order, in linear time and with a state of constant size (mathematics.md, 6).

    Our reading of the abstract of Recursive Sparse Attention (RSA; OpenReview, submitted to ICML 2026, no. 16685); we
    have not seen its text. Per head, with keys and queries of length 1,

        r_t = v_t − S_{t−1}ᵀ k_t,    S_t = g_t S_{t−1} + β_t k_t r_tᵀ,
        e_t = r_t − Σ_m ω_{m,t} D_{t−1}^(m)ᵀ k_t,    D_t^(m) = g'_t D_{t−1}^(m) + ω_{m,t} β'_t k_t e_tᵀ,
        o_t = S_tᵀ q_t + Σ_m p_{m,t} D_t^(m)ᵀ q_t.

    The shallow state S holds what can be predicted; the residual r_t, what it could not say, goes to those slots of
    the deep memory whose centres c_m are nearest to the key: ω = softmax over the ``writes`` largest e^τ ⟨k_t, c_m⟩.
    There too only e_t is written, what these slots could not say of it, so that M slots hold M times as much as one
    matrix of their size. A query reads the ``reads`` nearest, p = entmax of e^τ ⟨q_t, c_m⟩ over them. q, k and v are
    silu of short convolutions of linear maps, β and β' sigmoids of the token, times 1 + g where writing may reflect;
    log g = −e^A softplus(W h + b), as in Mamba-2 (arXiv 2405.21060) and Gated DeltaNet (2412.06464). The outputs of a
    head are brought to one size, gated by silu(W h) and mixed.

    Half of the heads begin as recalling ones: they remember long, and their keys are the queries of the token before,
    so that a token that is met again recalls what followed it last time (induction heads, arXiv 2209.11895). The others
    begin with convolutions and decays drawn as the authors of Gated DeltaNet draw theirs, most of them short.

    `forward` reads many tokens (`memory_paths` has its ways), `step` one token a set, with the same results.

    Examples:
        >>> memory = DeepShallowMemory(DeepShallowMemoryConfig(width=32, heads=4, slots=5))
        >>> out, state = memory(torch.randn(10, 32))
        >>> out.shape, state.shallow.shape, state.deep.shape
        (torch.Size([10, 32]), torch.Size([1, 4, 8, 8]), torch.Size([1, 4, 5, 8, 8]))
    """

    MEMORY = 1000.0, 100.0  # tokens that recalling heads remember at first, from the first head to the last
    FASTEST = 16.0  # largest e^A of the other heads at first; drawn evenly from 0 on
    STEPS = 1e-3, 1e-1  # range of their softplus(b), drawn evenly in its logarithm
    WRITTEN = 0.73  # share of a residual that is written at first

    def __init__(self, config: DeepShallowMemoryConfig) -> None:
        super().__init__()
        self.config = config
        width, heads, inner = config.width, config.heads, config.heads * config.size
        states = 2 if config.deep else 1
        self.told = Linear(width, 3 * inner, bias=False)
        self.convolution = ShortConvolution(3 * inner, config.convolution) if config.convolution else None
        self.write, self.keep = Linear(width, states * heads), Linear(width, states * heads)
        self.log_rate = nn.Parameter(torch.zeros(states * heads))
        if config.deep:
            center = torch.empty(heads, config.slots, config.size)
            self.center = nn.Parameter(F.normalize(nn.init.normal_(center), dim=-1))
            self.log_sharpness = nn.Parameter(torch.full((heads,), math.log(4.0)))
        self.norm = nn.RMSNorm(config.size, eps=1e-5)
        self.gate, self.output = Linear(width, inner), Linear(inner, width)
        self._begin()

    @property
    def state_size(self) -> int:
        """Numbers that are kept of a set, however long it is."""
        line = 0 if self.convolution is None else (self.convolution.size - 1) * self.convolution.width
        return self.config.heads * self.config.size**2 * (1 + self._slots) + line

    def start(self, sets: int) -> MemoryState:
        """Return the state of sets that have read nothing yet."""
        shape = sets, self.config.heads, self._slots, self.config.size, self.config.size
        deep = _full(self.output.weight).new_zeros(shape)
        line = None if self.convolution is None else self.convolution.start(sets)
        return MemoryState(deep.new_zeros(shape[:2] + shape[3:]), deep, line)

    def forward(
        self,
        h: Float[Tensor, "tokens width"],
        ptr: Int[Tensor, "pointers"] | None = None,
        state: MemoryState | None = None,
    ) -> tuple[Float[Tensor, "tokens width"], MemoryState]:
        """Return what each token hears from those before it and itself, and the states with which sets continue.

        Args:
            h: Tokens.
            ptr: Boundaries of the sets; None is one set.
            state: What an earlier call returned for the same sets; None begins anew.

        Raises:
            ValueError: If ``ptr`` does not fit the tokens, or ``state`` the sets.
        """
        ptr = set_bounds(ptr, h)
        state = self.start(len(ptr) - 1) if state is None else self._checked(state, len(ptr) - 1)
        signals, line = self.signals(h, ptr, state.line)
        with torch.autocast(h.device.type, enabled=False):
            out, state = remember(signals, ptr, state, self.config.chunk)
        return self._leave(out, h), replace(state, line=line)

    def step(
        self, h: Float[Tensor, "sets width"], state: MemoryState
    ) -> tuple[Float[Tensor, "sets width"], MemoryState]:
        """Read one more token of every set; the same as `forward` for sets of one token.

        Raises:
            ValueError: If ``state`` does not fit the sets.
        """
        state = self._checked(state, len(h))
        signals, line = self.signals(h, torch.arange(len(h) + 1, device=h.device), state.line)
        with torch.autocast(h.device.type, enabled=False):
            out, state = advance(signals, state)
        return self._leave(out, h), replace(state, line=line)

    def signals(
        self,
        h: Float[Tensor, "tokens width"],
        ptr: Int[Tensor, "pointers"] | None = None,
        line: Float[Tensor, "sets history features"] | None = None,
    ) -> tuple[Signals, Float[Tensor, "sets history features"] | None]:
        """Return what each token tells the memory, and the last inputs of the short convolution; see `forward`."""
        told = self.told(h)
        if self.convolution is not None:
            told, line = self.convolution(told, ptr, line)
            told = F.silu(told)
        query, key, value = _full(told).unflatten(-1, (3, self.config.heads, -1)).unbind(-3)
        query, key = _unit(query), _unit(key)
        log_keep = -(self.log_rate.exp() * F.softplus(_full(self.keep(h))))
        write = _full(self.write(h)).sigmoid()
        if self.config.reflect:
            write = write * (1 + log_keep.exp())
        # Of the shallow memory, then of the deep one.
        keeps, writes = ([*x.split(self.config.heads, -1)] for x in (log_keep, write))
        if not self.config.deep:
            none = query[..., :0]
            return Signals(query, key, value, keeps[0], writes[0], keeps[0], writes[0], none, none), line
        take = self._shares(key, self.config.writes, "softmax")
        read = self._shares(query, self.config.reads, self.config.normalizer)
        return Signals(query, key, value, keeps[0], writes[0], keeps[1], writes[1], take, read), line

    def _shares(
        self, x: Float[Tensor, "tokens heads channels"], count: int, normalizer: Normalizer
    ) -> Float[Tensor, "tokens heads slots"]:
        """Return the nearest slots' affinities e^τ ⟨x, c_m⟩ as weights, and zero for the others."""
        center = _full(self.log_sharpness).exp()[:, None, None] * self.center
        with torch.autocast(x.device.type, enabled=False):
            affinity = torch.einsum("thc,hmc->thm", x, center)
        best, slot = affinity.topk(count)
        rowptr = torch.arange(0, best.numel() + 1, count, device=x.device)
        shares = normalize_rows(best.flatten(), rowptr, normalizer).view_as(best)
        return torch.zeros_like(affinity).scatter(-1, slot, shares)

    def _leave(
        self, out: Float[Tensor, "tokens heads channels"], h: Float[Tensor, "tokens width"]
    ) -> Float[Tensor, "tokens width"]:
        heads = self.norm(out.to(self.norm.weight.dtype)).flatten(1)
        return self.output(F.silu(self.gate(h)) * heads)

    @torch.no_grad()
    def _begin(self) -> None:
        config = self.config
        heads, recalling = config.heads, self.recalling
        if self.convolution is not None:
            # Views: what is written into them is written into the weights. [size or width, q k v, heads, channels]
            weight = self.convolution.weight.unflatten(1, (3, heads, -1))
            told = self.told.weight.T.unflatten(1, (3, heads, -1))
            weight[:, :, recalling:].uniform_(-1, 1).div_(math.sqrt(config.convolution))
            if config.convolution > 1:
                told[:, 1, :recalling] = told[:, 0, :recalling]
                weight[:2, 1, :recalling] = weight[:2, 1, :recalling].flip(0)
        share = self.WRITTEN / (2 if config.reflect else 1)
        nn.init.constant_(self.write.bias, math.log(share / (1 - share)))
        longest, shortest = (math.log10(tokens) for tokens in self.MEMORY)
        lowest, highest = map(math.log, self.STEPS)
        for rate, step in zip(self.log_rate.split(heads), self.keep.bias.split(heads), strict=True):
            # 1 − rand is never 0, which has no logarithm.
            rate[recalling:] = (self.FASTEST * (1 - torch.rand(heads - recalling))).log()
            slow = 1 / torch.logspace(longest, shortest, recalling)
            fast = torch.empty(heads - recalling).uniform_(lowest, highest).exp()
            step.copy_(torch.cat([slow, fast]).expm1().log())  # of which softplus is the same again

    @property
    def recalling(self) -> int:
        """How many heads, the first ones, begin as recalling heads: half, or one more."""
        return (self.config.heads + 1) // 2

    @property
    def _slots(self) -> int:
        return self.config.slots if self.config.deep else 0

    def _checked(self, state: MemoryState, sets: int) -> MemoryState:
        wanted, found = ([list(x.shape) for x in one.parts()] for one in (self.start(sets), state))
        if wanted != found:
            raise ValueError(f"state must be of {sets} sets, with parts {wanted} (got {found})")
        return state


def _unit(x: Float[Tensor, "tokens heads channels"]) -> Float[Tensor, "tokens heads channels"]:
    # As F.normalize, whose way back takes twice as long.
    return x * x.square().sum(-1, keepdim=True).clamp(min=1e-24).rsqrt()


def _full(x: Tensor) -> Tensor:
    # Half precision is for storage: what a memory adds up over thousands of tokens drifts in it.
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
