"""SetClassifier and SetRegressor: a list of sets in, one target a set out."""

from __future__ import annotations

from structformer.estimators.pooled import PooledClassifier, PooledRegressor
from structformer.tokenize import SetTokenizer


class SetClassifier(PooledClassifier):
    """Classify unordered sets of vectors.

    The elements of a set listen to each other along a graph learned from what they hold; attention pools them into
    one vector, from which the class is read. Neither the order of the elements nor that of the sets matters.

    Sets are arrays, tensors, nested lists or DataFrames of shape [n, F], n at least 1 and free to differ.

    Args:
        model: "soes", which learns the graph anew in every step, or "ressformer", which repeats one block with a memory
            and several experts (`ReSSFormer`).
        model_options: Further settings of that model by name, such as {"experts": 8}: fields of `SOESEncoderConfig` or
            `ReSSFormerConfig`.
        width: Features of an embedded element.
        steps: Times that the graph is learned anew and listened along.
        heads: Attention heads; must divide ``width``.
        neighbors: Elements that an element may listen to besides itself.
        dropout: Probability of dropping a feature or an attention weight.
        epochs: Most passes over the training sets; None plans some 400 steps, in 10 to 100 passes.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled weight decay.
        batch_size: Sets in a batch; None chooses it from their sizes.
        patience: Epochs without a better validation score before stopping; None trains on all sets to the end.
        validation_fraction: Share of the sets held out for early stopping when no ``eval_set`` is given.
        max_time: Seconds that training may take.
        class_weight: None, "balanced", or a dict from label to weight.
        device: "auto" or "cpu".
        random_state: Seed; the same seed gives the same model.
        verbose: Show a progress bar; None shows one on a terminal only.
        callbacks: Called after each epoch with the epoch and the model; True stops training.

    Attributes:
        classes_: The class labels in sorted order.
        n_features_in_: Features of an element, F.
        tokenizer_: The fitted `SetTokenizer`.
        model_: The trained network.
        history_: What happened in training; saved with the model.

    Examples:
        >>> import numpy as np
        >>> from structformer.estimators.sets import SetClassifier
        >>> draw = np.random.default_rng(0)
        >>> y = np.arange(40) % 2
        >>> sets = [draw.normal(size=(draw.integers(3, 8), 2)) * (1 + 3 * label) for label in y]
        >>> model = SetClassifier(epochs=5, random_state=0).fit(sets, y)
        >>> model.predict(sets[:3]).shape, model.learned_graph(sets[0:1]).num_tokens == len(sets[0])
        ((3,), True)
    """

    _thing = "set"
    _tokenizer = SetTokenizer


class SetRegressor(PooledRegressor):
    """Predict a number, or several, for each unordered set of vectors.

    Sets are read as in `SetClassifier`; targets are standardised for training. The parameters are the same, without
    ``class_weight``.

    Attributes:
        n_features_in_: Features of an element, F.
        tokenizer_: The fitted `SetTokenizer`.
        model_: The trained network.
        history_: What happened in training; saved with the model.
    """

    _thing = "set"
    _tokenizer = SetTokenizer
