"""Problems on sets of images of digits, and on an image as a set of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float, Int
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from structformer.datasets import mnist
from torch import Tensor
from torch.nn import functional as F

from .sets_problem import EACH, Problem, SetBatch, boundaries
from .sweeps import TEST, TRAINING, VALIDATION, generator

Images = Literal["mnist", "digits"]
SHARES = {TRAINING: 0.7, VALIDATION: 0.1, TEST: 0.2}
FEWEST, MOST, DIGITS = 6, 10, 10


@dataclass(frozen=True)
class Pool:
    """Images of one part of the data, those of a digit side by side.

    Attributes:
        images: Ink from 0 to 1.
        labels: Their digits, ascending.
    """

    images: Float[Tensor, "images side side"]
    labels: Int[Tensor, " images"]

    def some(self, digits: Int[Tensor, " tokens"], drawn: torch.Generator) -> Float[Tensor, "tokens pixels"]:
        """Return for each digit one of its images, chosen at random."""
        counts = torch.bincount(self.labels, minlength=DIGITS)
        place = (torch.rand(len(digits), generator=drawn) * counts[digits]).long()
        return self.images[boundaries(counts)[digits] + place.minimum(counts[digits] - 1)].flatten(1)


class DigitProblem(Problem):
    """A problem on images; those to train on, to choose by and to test on are disjoint.

    Args:
        pools: The images of each part.
    """

    def __init__(self, pools: dict[int, Pool]) -> None:
        self.pools = pools


class BagProblem(DigitProblem):
    """A problem on bags of 6 to 10 images."""

    def __init__(self, pools: dict[int, Pool]) -> None:
        super().__init__(pools)
        self.side = pools[TEST].images.shape[1]
        self.features = self.side**2

    def bags(
        self,
        part: int,
        sizes: Int[Tensor, " sets"],
        rank: Int[Tensor, " tokens"],
        target: Tensor,
        drawn: torch.Generator,
    ) -> SetBatch:
        """Return bags of images, each bag with digits of its own: images of the same rank show the same digit."""
        ptr = boundaries(sizes)
        of_rank = torch.rand(len(sizes), DIGITS, generator=drawn).argsort(1)
        bag = torch.repeat_interleave(sizes)
        images = self.pools[part].some(of_rank[bag, rank], drawn)
        # Whatever the order of construction tells must not be there to be learned.
        return SetBatch(images, ptr, target).shuffled(drawn)


class DistinctDigits(BagProblem):
    """How many different digits a bag shows, from 1 to the number of its images, each as likely (as in section 5.2)."""

    outputs = MOST

    def draw(self, part: int, sets: int, drawn: torch.Generator) -> SetBatch:
        """Return bags with their numbers of different digits, less 1."""
        sizes = torch.randint(FEWEST, MOST + 1, (sets,), generator=drawn)
        kinds = (torch.rand(sets, generator=drawn) * sizes).long() + 1
        place, kinds_of = _places(sizes), kinds.repeat_interleave(sizes)
        again = (torch.rand(len(place), generator=drawn) * kinds_of).long()
        rank = torch.where(place < kinds_of, place, again)
        return self.bags(part, sizes, rank, kinds - 1, drawn)

    def loss(self, outputs: Float[Tensor, "sets outputs"], batch: SetBatch) -> Float[Tensor, ""]:
        """Return the cross-entropy."""
        return F.cross_entropy(outputs, batch.target)

    def score(self, outputs: Float[Tensor, "sets outputs"], batch: SetBatch) -> float:
        """Return the accuracy in percent."""
        return 100 * float((outputs.argmax(1) == batch.target).double().mean())

    def changed(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Return which sets are told another number."""
        return outputs.argmax(1) != others.argmax(1)


class OddOneOut(BagProblem):
    """Whether an image of a bag shows a digit that no other image of it shows.

    A bag shows 2 to 5 digits, each at least twice, but for half of the bags, in which one digit shows once. Sizes
    and numbers of digits are alike in both halves.
    """

    outputs = 1

    def draw(self, part: int, sets: int, drawn: torch.Generator) -> SetBatch:
        """Return bags, and whether there is an odd one."""
        sizes = torch.randint(FEWEST, MOST + 1, (sets,), generator=drawn)
        kinds = 2 + (torch.rand(sets, generator=drawn) * (sizes // 2 - 1)).long()
        odd = torch.randint(2, (sets,), generator=drawn)
        # Rank 0 is the odd one's where there is one: it takes one place, and none of those that are left.
        place, first = _places(sizes), odd.repeat_interleave(sizes)
        kinds_of = kinds.repeat_interleave(sizes)
        again = first + (torch.rand(len(place), generator=drawn) * (kinds_of - first)).long()
        pairs = (place + first) // 2
        rank = torch.where(place < 2 * kinds_of - first, pairs, again)
        return self.bags(part, sizes, rank, odd, drawn)

    def loss(self, outputs: Float[Tensor, "sets outputs"], batch: SetBatch) -> Float[Tensor, ""]:
        """Return the cross-entropy."""
        return F.binary_cross_entropy_with_logits(outputs[:, 0], batch.target.to(outputs.dtype))

    def score(self, outputs: Float[Tensor, "sets outputs"], batch: SetBatch) -> float:
        """Return the area under the ROC curve over sets, in percent."""
        return 100 * float(roc_auc_score(batch.target.numpy(), outputs[:, 0].detach().numpy()))

    def changed(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Return which sets are told otherwise."""
        return (outputs[:, 0] > 0) != (others[:, 0] > 0)


class PixelSets(DigitProblem):
    """Which digit an image shows, from its inked pixels (row, column, ink) in random order."""

    features, outputs, large = 3, DIGITS, True

    def draw(self, part: int, sets: int, drawn: torch.Generator) -> SetBatch:
        """Return different images of the part, at most all of them."""
        return self._pixels(self.pools[part], self._chosen(part, sets, drawn), drawn)

    def draw_many(self, part: int, sets: int, drawn: torch.Generator) -> list[SetBatch]:
        """Return different images of the part in batches, at most all of them."""
        chosen = self._chosen(part, sets, drawn).split(EACH)
        return [self._pixels(self.pools[part], some, drawn) for some in chosen]

    loss, score, changed = DistinctDigits.loss, DistinctDigits.score, DistinctDigits.changed

    def _chosen(self, part: int, sets: int, drawn: torch.Generator) -> Int[Tensor, " sets"]:
        return torch.randperm(len(self.pools[part].labels), generator=drawn)[:sets]

    def _pixels(self, pool: Pool, some: Int[Tensor, " sets"], drawn: torch.Generator) -> SetBatch:
        images = pool.images[some]
        image, row, column = images.nonzero(as_tuple=True)
        middle = (images.shape[1] - 1) / 2
        x = torch.stack([row / middle - 1, column / middle - 1, 2 * images[image, row, column] - 1], dim=1)
        ptr = boundaries(torch.bincount(image, minlength=len(images)))
        return SetBatch(x, ptr, pool.labels[some]).shuffled(drawn)


def digit_pools(images: Images, seed: int) -> dict[int, Pool]:
    """Return the parts of the data that a seed decides: 70% to train on, 10% to choose by, 20% to test on.

    Raises:
        FileNotFoundError: If MNIST is wanted and is not there.
    """
    ink, labels = _read(images)
    order = torch.randperm(len(ink), generator=generator(seed))
    parts, first = {}, 0
    for part, share in SHARES.items():
        own = order[first : first + round(share * len(order))]
        own = own[labels[own].argsort()]
        parts[part], first = Pool(ink[own], labels[own]), first + len(own)
    return parts


@lru_cache
def _read(images: Images) -> tuple[Float[Tensor, "images side side"], Int[Tensor, " images"]]:
    """MNIST's 10,000 test images, halved to 14 × 14, or scikit-learn's digits of 8 × 8."""
    if images == "digits":
        ink, labels = load_digits(return_X_y=True)
        return torch.as_tensor(ink).float().view(-1, 8, 8) / 16, torch.as_tensor(labels)
    found = mnist()
    ink = torch.as_tensor(found.images).float()[:, None] / 255
    return F.avg_pool2d(ink, 2)[:, 0], torch.as_tensor(found.labels).long()


def _places(sizes: Int[Tensor, " sets"]) -> Int[Tensor, " tokens"]:
    """The place of each token in its set."""
    ptr = boundaries(sizes)
    return torch.arange(int(ptr[-1])) - ptr[:-1].repeat_interleave(sizes)
