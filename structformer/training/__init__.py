"""Training: the loop, objectives, batches, checkpoints."""

from structformer.training.batches import EvenBatches, index_loader
from structformer.training.checkpoints import load_checkpoint, save_checkpoint
from structformer.training.config import TrainingConfig
from structformer.training.loop import Callback, Epoch, History, train

__all__ = [
    "Callback",
    "Epoch",
    "EvenBatches",
    "History",
    "TrainingConfig",
    "index_loader",
    "load_checkpoint",
    "save_checkpoint",
    "train",
]
