"""Links between the sentences of a story that share words."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass
class Links:
    """Edges between sentences, as an encoder takes them.

    Attributes:
        edge_index: Source → target.
        weight: What is thought of each edge, positive.
        attributes: In which roles the shared words stand in the one sentence and in the other.
    """

    edge_index: Int[Tensor, "2 edges"]
    weight: Float[Tensor, "edges"]
    attributes: Float[Tensor, "edges features"]


class SharedWords(nn.Module):
    """Link sentences that share words: the rarer the words, the stronger, and aware of the words' roles.

    With r_w how much it says that a word is shared (its inverse document frequency), and n_iw how often sentence i
    has it, sentences i and j of a story that share a word are linked with the weight

        p_ij = strength · cos²(n_i ⊙ r, n_j ⊙ r)

    that a `SOES` multiplies its own weights by, those of edges found by content alone having 1. So the first steps
    already follow the words, from a question to the sentences that name its words, and on to those that share theirs:
    three steps of a random walk with such weights answer 97% of bAbI's task 16, at which attention that has to find
    out first what it means to be the same stays at chance. An edge's attributes are
    Σ r_w (B[b_i, b_j] + E[e_i, e_j] + N[n_ij]) over the shared words, with the words' places from the beginnings and
    from the ends of the two sentences: who did it in the one may be to whom it is done in the other. And n_ij tells as
    the how-manieth mention of the word sentence j comes after that in i, or before it: what was said of somebody last
    stays what was said last, however much is said of others in between.

    Args:
        rarity: r for each word of the vocabulary, at least 0; words with 0 link nothing.
        places: Places that are told apart, from either end; those further on share the last.
        features: Attributes of an edge.
        reach: A word that many sentences have links each of them to so many before it and so many after it.
    """

    STRENGTH = 1e4
    rarity: Tensor

    def __init__(self, rarity: Tensor, places: int, features: int, reach: int) -> None:
        super().__init__()
        self.places, self.reach = places, reach
        self.register_buffer("rarity", rarity, persistent=False)
        self.from_begin = nn.Parameter(0.5 * torch.randn(places, places, features))
        self.from_end = nn.Parameter(0.5 * torch.randn(places, places, features))
        # Mentions before, the nearest last, then those after.
        self.mention = nn.Parameter(0.5 * torch.randn(2 * reach, features))

    def forward(
        self,
        words: Int[Tensor, "words"],
        sentence: Int[Tensor, "words"],
        story: Int[Tensor, "words"],
        begins: Int[Tensor, "pointers"],
    ) -> Links:
        """Return the links of all stories.

        Args:
            words: Words of all sentences.
            sentence: The sentence of each word, counted over all stories.
            story: The story of each word.
            begins: Boundaries of the sentences among the words.
        """
        one, other, mention = self._pairs(words, sentence, story)
        rare = self.rarity[words]
        sentences = len(begins) - 1
        key, edge = torch.unique(sentence[one] * sentences + sentence[other], return_inverse=True)
        target, source = key // sentences, key % sentences
        shared = rare.new_zeros(len(key)).index_add(0, edge, rare[one].square())
        size = self._squares(words, sentence, sentences)
        weight = self.STRENGTH * shared.square() / (size[target] * size[source])
        place = torch.arange(len(words), device=words.device) - begins[sentence]
        left = begins[sentence + 1] - 1 - torch.arange(len(words), device=words.device)
        place, left = place.clamp(max=self.places - 1), left.clamp(max=self.places - 1)
        role = self.from_begin[place[one], place[other]] + self.from_end[left[one], left[other]]
        role = (role + self.mention[mention]) * rare[one][:, None]
        attributes = role.new_zeros(len(key), role.shape[1]).index_add(0, edge, role)
        return Links(torch.stack([source, target]), weight, attributes)

    def _pairs(
        self, words: Int[Tensor, "words"], sentence: Int[Tensor, "words"], story: Int[Tensor, "words"]
    ) -> tuple[Int[Tensor, "pairs"], Int[Tensor, "pairs"], Int[Tensor, "pairs"]]:
        """Return places of the same word in two sentences of a story, each pair in both directions.

        The third are the rows of `mention`: the how-manieth mention after the one the other is, or before it.
        """
        (said,) = (self.rarity[words] > 0).nonzero(as_tuple=True)
        name = story[said] * len(self.rarity) + words[said]
        name, order = torch.sort(name, stable=True)
        said = said[order]
        step = torch.arange(1, self.reach + 1, device=words.device)
        later = torch.arange(len(said), device=words.device)[:, None] + step
        inside = later < len(said)
        later = later.clamp(max=max(0, len(said) - 1))
        inside &= name[later] == name[:, None] if len(said) else inside
        inside &= sentence[said[later]] != sentence[said][:, None] if len(said) else inside
        first, far = inside.nonzero(as_tuple=True)
        one, other = said[first], said[later[first, far]]
        after, before = self.reach + far, self.reach - 1 - far
        return torch.cat([one, other]), torch.cat([other, one]), torch.cat([after, before])

    def _squares(
        self, words: Int[Tensor, "words"], sentence: Int[Tensor, "words"], sentences: int
    ) -> Float[Tensor, "sentences"]:
        """Return Σ_w (n_w r_w)² for each sentence."""
        key, count = torch.unique(sentence * len(self.rarity) + words, return_counts=True)
        each = (count * self.rarity[key % len(self.rarity)]).square()
        return each.new_zeros(sentences).index_add(0, key // len(self.rarity), each)
