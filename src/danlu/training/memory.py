"""What a training will take of the memory, said before it begins."""

from __future__ import annotations

from torch import nn

from danlu.blocks import memory
from danlu.training.job import lengths
from danlu.training.run import Run
from danlu.training.sharded import own

_PROBED = 2
"""Examples whose pass is measured: the longest ones."""


def estimate(run: Run) -> dict[str, int]:
    """Bytes of `weights`, `gradients`, `optimizer` and `activations` of a batch of the longest examples; `free` ones.

    The activations are those of a pass of the two longest examples, in eval mode, times the batch: dropout's masks
    and what techniques and an average add are not in it. With `checkpointing` they are an upper bound. Where ranks
    share the weights, gradients and optimizer are this rank's, and activations are not measured (0).
    """
    moved = [own(weight) for weights in run.moved.values() for weight in weights.values()]
    moving = sum(weight.numel() * weight.element_size() for weight in moved)
    found = {
        "weights": sum(t.numel() * t.element_size() for t in run.model.state_dict().values()),
        "gradients": moving,
        "optimizer": round(moving * run.settings.optimizer.state_per_weight),
        "activations": _activations(run) if moving and not run.ranks.sharded else 0,
    }
    return found | {"free": memory.free_bytes(run.device)}


def _activations(run: Run) -> int:
    long = lengths(run.job.train, run.job.processor)
    longest = sorted(range(len(long)), key=lambda k: -long[k])[:_PROBED]
    batch = run.placed(run.task.collate([run.job.train[k] for k in longest], run.job.processor))
    training: list[nn.Module] = [part for part in run.model.modules() if part.training]
    run.model.eval()
    try:
        kept = memory.kept_bytes(lambda: run.passed(batch), run.model)
    finally:
        for part in training:
            part.training = True
    return kept * min(run.feed.size, len(long)) // len(longest)


def tell(run: Run) -> dict[str, int]:
    """The estimate; a warning where it is more than there is."""
    found = estimate(run)
    more = found["gradients"] + found["optimizer"] + found["activations"]
    if more > found["free"]:
        parts = ", ".join(f"{name} {found[name] / 1e6:,.0f}" for name in ("gradients", "optimizer", "activations"))
        half = max(1, run.settings.size // 2)
        run.events.warn(
            f"this training will hardly fit: it wants about {more / 1e6:,.0f} MB more ({parts}), and "
            f"{found['free'] / 1e6:,.0f} are free. Try batch_size={half} accumulate=2, checkpointing=true, method=lora "
            "or optimizer=adafactor"
        )
    return found
