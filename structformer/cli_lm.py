"""The commands on text: ``structformer lm train | sample | eval``."""

from __future__ import annotations

import codecs
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from structformer.models.language import ReSSFormerLM
    from structformer.tokenize.bpe import BytePairTokenizer
    from structformer.tokenize.text import TextTokenizer
    from structformer.training.language import LanguageTrainer

lm = typer.Typer(help="Language models: train on text, go on with text, measure.", no_args_is_help=True)

ModelFolder = Annotated[
    Path, typer.Argument(metavar="DIR", help="A language model that lm train saved.", show_default=False)
]


@lm.command()
def train(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Texts in UTF-8, each a document.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write the model to.", show_default=False)],
    mixer: Annotated[
        str, typer.Option(help='How tokens hear each other: "attention", "rsa" (constant memory), "both".')
    ] = "both",
    width: Annotated[int, typer.Option(help="Features of a token, a multiple of --heads.")] = 64,
    heads: Annotated[int, typer.Option(help="Attention heads.")] = 4,
    depth: Annotated[int, typer.Option(help="Layers of the shared block.")] = 1,
    steps: Annotated[int, typer.Option(help="Times that the block is applied.")] = 2,
    neighbors: Annotated[int, typer.Option(help="Tokens that a token may listen to.")] = 16,
    segment: Annotated[int, typer.Option(help="Tokens that attention looks back over.")] = 256,
    vocabulary: Annotated[
        int, typer.Option(help='256 reads bytes; more learns so many byte pairs (needs the extra "text").')
    ] = 256,
    batch: Annotated[int, typer.Option(help="Lanes of text read side by side.")] = 8,
    updates: Annotated[int, typer.Option(help="Steps of the optimizer.")] = 1000,
    lr: Annotated[float, typer.Option(help="Peak of the learning rate.")] = 2e-3,
    dropout: Annotated[float, typer.Option(help="Probability of dropping a feature.")] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same result.")] = 0,
    save_every: Annotated[int, typer.Option(help="Updates from one checkpoint to the next.")] = 100,
    resume: Annotated[
        bool,
        typer.Option("--resume/--no-resume", help="Go on where the training in --out stands, or refuse."),
    ] = True,
) -> None:
    """Train a language model on texts. The same command again goes on where training was interrupted."""
    from structformer.models.language import ReSSFormerLMConfig
    from structformer.tokenize.text_files import document, read_text
    from structformer.training.language_checkpoints import resume_language_training, save_language_training
    from structformer.training.language_config import LanguageTrainingConfig

    training = LanguageTrainingConfig(updates=updates, batch=batch, learning_rate=lr, seed=seed)
    goes_on = _goes_on(out, resume)
    texts = [read_text(file) for file in files]
    tokenizer = _learned(vocabulary, texts)
    config = ReSSFormerLMConfig(
        mixer=mixer,
        width=width,
        heads=heads,
        depth=depth,
        steps=steps,
        neighbors=neighbors,
        segment=segment,
        vocabulary=tokenizer.vocab_size,
        dropout=dropout,
    )
    trainer = _trainer(config, [document(text, tokenizer) for text in texts], training)
    if goes_on:
        resume_language_training(out, trainer)
    done, tokens = len(trainer.history), len(trainer.lanes)
    print(f"{tokens:,} tokens, {sum(p.numel() for p in trainer.model.parameters()):,} weights")
    if done:
        print(f"goes on after update {done:,} of {updates:,}")

    def save(trainer: LanguageTrainer) -> None:
        save_language_training(out, trainer, tokenizer.to_dict())
        last = trainer.history[-1]
        print(
            f"update {last.number:,} of {updates:,}: loss {last.loss:.4f} nats a token, "
            f"gradient norm {last.gradient_norm:.3g}, learning rate {last.learning_rate:.2g}",
            flush=True,
        )

    trainer.run(every=save_every, save=save)
    print(f"model in {out}")


@lm.command()
def sample(
    folder: ModelFolder,
    prompt: Annotated[str, typer.Option(help="Text to go on with.")] = "",
    tokens: Annotated[int, typer.Option(help="Tokens to write.")] = 256,
    temperature: Annotated[float, typer.Option(help="0 takes the most probable token.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Share of the probability among which is drawn.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same text.")] = 0,
) -> None:
    """Go on with a text: print the prompt, and each token as soon as it is drawn."""
    from structformer.tokenize.text_files import document

    model, tokenizer = _load(folder)
    ids = document(prompt.encode(), tokenizer)
    drawn = model.generate(ids, tokens=tokens, temperature=temperature, top_p=top_p, seed=seed)
    # A character may take several tokens: it is printed when it is complete.
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    sys.stdout.write(prompt)
    for token in drawn:
        sys.stdout.write(decoder.decode(tokenizer.to_bytes(token.cpu())))
        sys.stdout.flush()
    sys.stdout.write(decoder.decode(b"", final=True) + "\n")


@lm.command("eval")
def evaluate(
    folder: ModelFolder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A text in UTF-8.", show_default=False)],
) -> None:
    """Print how well a model foretells a text, read in one lane with its memory carried along."""
    from structformer.tokenize.text_files import document, read_text
    from structformer.training.language_evaluation import evaluate_language

    text = read_text(file)
    model, tokenizer = _load(folder)
    score = evaluate_language(model, [document(text, tokenizer)], len(text))
    print(f"{score.num_bytes:,} bytes, {score.tokens:,} tokens")
    print(f"bits per byte  {score.bits_per_byte:.4f}")
    print(f"perplexity     {score.perplexity:.4f} a token")


def _goes_on(out: Path, resume: bool) -> bool:
    """Whether the folder holds a training to go on with."""
    from structformer.training.checkpoints import DESCRIPTION, may_be_written

    if not may_be_written(out):
        raise ValueError(f"{out} exists and is not a structformer model: choose another --out")
    found = (out / DESCRIPTION).is_file()
    if found and not resume:
        raise ValueError(f"{out} holds a model already: choose another --out, or leave out --no-resume")
    return found


def _learned(vocabulary: int, texts: list[bytes]) -> TextTokenizer | BytePairTokenizer:
    from structformer.tokenize.bpe import BytePairTokenizer
    from structformer.tokenize.text import TextTokenizer

    if vocabulary < 256:
        raise ValueError(f"--vocabulary must be at least 256, the bytes (got {vocabulary})")
    return TextTokenizer() if vocabulary == 256 else BytePairTokenizer(vocabulary).fit(texts)


def _trainer(config: Any, documents: list[Any], training: Any) -> LanguageTrainer:
    import torch

    from structformer.models.language import ReSSFormerLM
    from structformer.training.language import LanguageTrainer

    # Where the first weights come from, and nothing else: dropout has a stream of its own.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        model = ReSSFormerLM(config)
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return LanguageTrainer(model.to(device or "cpu"), documents, training)


def _load(folder: Path) -> tuple[ReSSFormerLM, TextTokenizer | BytePairTokenizer]:
    from structformer.tokenize.bpe import BytePairTokenizer
    from structformer.tokenize.text import TextTokenizer
    from structformer.training.language_checkpoints import load_language_model

    model, state = load_language_model(folder)
    known = TextTokenizer if state.get("kind") == "bytes" else BytePairTokenizer
    return model, known.from_dict(state)
