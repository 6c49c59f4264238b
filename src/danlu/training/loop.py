"""The training loop: one function, to be read from top to bottom.

Techniques speak at named moments, in the order of the recipe: `open`, `start`, `draw`, `vary`, `loss`, `backward`,
`after_backward`, `before_step`, `after_step`, `answering`, `finish`. Nothing random is saved: every step reseeds
torch, numpy and `random` from (seed, step), so a training that was killed goes on from its last checkpoint as if
nothing had happened.

Batches are collated in the loop itself while that is cheap. A step of 32 short texts takes 0.2 ms to collate and 150 ms
to train on two CPU cores, so a second thread could win a tenth of a percent. Where it takes more than a twentieth of a
step (masking, packing), the next step's are made in a thread (`training/batches.py`): with batches that took 62 % of a
step on one core, steps of 89 ms took 56 to 75 ms. On a GPU the loop reads no number of a step before
`pulse.WAIT` steps have been asked for: it collates the next batches while the device computes, and the copies are
pinned and asynchronous.
"""

from __future__ import annotations

import resource
import sys
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from danlu.blocks.allocator import give_back, keep_freed_memory
from danlu.blocks.table_gradients import kept_gradients
from danlu.blocks.taught import SelfTaught
from danlu.core.errors import RecipeError
from danlu.training import dry, guards, largest, rates, sharded, throughput
from danlu.training.checkpoint import Checkpoints, State
from danlu.training.dry import Expected
from danlu.training.energy import Energy, meter
from danlu.training.interrupt import Interrupts
from danlu.training.job import Fitted, Job, chosen_device
from danlu.training.precision import DTYPES, Precision, decide
from danlu.training.randomness import Stream, reseed
from danlu.training.recompute import recomputed
from danlu.training.run import Run
from danlu.training.saves import Saves
from danlu.training.side_by_side import halves_of


def fit(job: Job) -> Fitted:
    """Train `job.module` in place.

    Goes on from the last good checkpoint in `job.work`, with the same result as an uninterrupted training: bit for bit
    in fp32 on the same machine with the same number of threads. Raises DataError for an empty training set, RecipeError
    for a loss that is not finite and for what would train nothing, MachineError when memory runs out.
    """
    try:
        return _fit(job)
    finally:
        give_back()  # what a step needs besides the weights is free now


def _fit(job: Job) -> Fitted:
    checkpoints = Checkpoints(job.work, job.identity(), job.events, job.settings.keep_checkpoints) if job.work else None
    saved = checkpoints.latest() if checkpoints else None
    precision = _agreed(job, saved)
    run = Run(_with_rate(_with_batch(job, precision, saved), precision, saved), precision)
    before, own = guards.digest(run.changing()), guards.OwnWeights(job.method, job.fresh, run.moved)
    if run.device.type == "cpu":
        keep_freed_memory()

    reseed(job.seed, Stream.START)
    _begin(run, saved)
    expected = dry.tell(run, run.step)
    saves = Saves(run, checkpoints if job.ranks.rank == 0 else None)
    kept = nullcontext() if run.ranks.sharded else kept_gradients(run.model, run.optimizers.values())
    full = guards.memory_faults(run.settings.size)
    lean = recomputed(run.model, wanted=job.settings.checkpointing and run.taught is None)
    ears, pair = (closing(run.embedded), closing(run.inside)), halves_of(run)
    with meter(job.events) as spent, Interrupts() as stop, full, kept, lean, pair, saves.under_way(), ears[0], ears[1]:
        while run.step < run.steps and not run.watch.exhausted:
            run.pulse.begin()
            reseed(job.seed, Stream.STEP, run.step, *job.ranks.own)
            batches = run.draw()
            for turn in run.turns:
                run.begin_turn(turn)
                for batch in batches:
                    run.learn(batch)
                    for technique in run.techniques:
                        technique.after_backward(run)
                run.add_up()
                own.see()
                for technique in run.techniques:
                    technique.before_step(run)
                run.move()
                for technique in run.techniques:
                    technique.after_step(run)
                run.end_turn()
            run.step += 1
            run.pulse.end(run.step, run.lr, len(run.chosen), run.work())
            if job.validation and run.watch.due(run.step):
                run.look()
            agreed = job.ranks.greatest(stop.came or 0)
            saves.save_if_due(at_once=agreed > 0)
            stop.raise_for(agreed)
        run.pulse.read()

    for technique in run.techniques:
        technique.finish(run)
    run.inside.take_back()
    _end(run, own, before)
    guards.check_moved(before, run.changing(), run.moved)
    job.module.zero_grad(set_to_none=True)
    return Fitted(run.step, saved.step if saved else None, numbers(run, expected, spent))


def leave(job: Job) -> Fitted:
    """The model of a method that is meant to train nothing, as it is. Raises RecipeError for techniques beside it."""
    if job.techniques:
        what = f"{job.techniques[0].name} works on training, and this method trains nothing"
        raise RecipeError(what, where="techniques", do="leave the techniques out")
    job.module.eval()
    size = sum(tensor.numel() for tensor in job.module.state_dict().values())
    job.events.note("nothing is trained: the method is meant to learn from no row")
    none = {"steps": 0, "steps_planned": 0, "examples": 0, "seconds": 0.0, "trained_parameters": 0, "loss": []}
    return Fitted(0, None, none | {"parameters": size, "trained_share": 0.0})


def _begin(run: Run, saved: State | None) -> None:
    """Techniques before their first step, and what a checkpoint brings."""
    if saved:
        run.recall(saved)
    for technique in run.techniques:
        technique.open(run)
    for technique in run.techniques:
        technique.start(run)
    if saved:
        run.restore(saved)


def _end(run: Run, own: guards.OwnWeights, before: dict[str, int]) -> None:
    """Leave the weights to end with in the job's module, and tell what was skipped."""
    own.check(before)  # the best weights may be older than what joined late
    run.take_best()
    if run.ranks.sharded:
        sharded.fill_from(run.model, run.job.module.eval())
    if run.scaling and run.scaling.skipped:
        run.events.note(f"{run.scaling.skipped} of {run.step} steps were skipped: their gradients overflowed in fp16")


def _agreed(job: Job, saved: State | None) -> Precision:
    """All ranks begin the same training with the weights of rank 0, and in the precision that it measured."""
    job.ranks.check_same("training or checkpoint", f"{job.identity()} {saved.step if saved else None}")
    job.ranks.share(job.module)
    if saved:
        kept: Precision = saved.notes["precision"]
        return kept
    known: list[Precision] = list(DTYPES)
    device = chosen_device(job.settings.device)
    return known[int(job.ranks.of_first(lambda: float(known.index(decide(job.settings.precision, device)))))]


def _with_batch(job: Job, precision: Precision, saved: State | None) -> Job:
    """The job with the size of batches that rank 0 finds, or found before the kill."""
    if job.settings.batch_size != "auto":
        return job
    if saved:
        size, accumulate = saved.notes["batch"]
    else:
        found = largest.find(job, precision) if job.ranks.rank == 0 else (0, 0)
        size, accumulate = (int(job.ranks.of_first(partial(float, n))) for n in found)
    own = {"batch_size": size, "accumulate": accumulate, "per_update": None}
    return replace(job, settings=job.settings.model_copy(update=own))


def _with_rate(job: Job, precision: Precision, saved: State | None) -> Job:
    """The job with what `lr: find` finds, or found before the kill."""
    if job.settings.lr != "find" or isinstance(job.module, SelfTaught):
        return job
    return replace(job, range_test=saved.notes["range_test"] if saved else rates.find(job, precision, fit))


def numbers(run: Run, expected: Expected, spent: Energy) -> dict[str, Any]:
    """What is worth knowing of a finished training, as JSON values; seconds are those of the steps alone."""
    best, changing = run.watch.best, run.changing()
    size = sum(tensor.numel() for tensor in run.model.state_dict().values())
    moving = sum(tensor.numel() for tensor in (run.trained() or changing).values())
    return {
        "steps": run.step,
        "steps_planned": run.steps,
        "batch_size": run.settings.size,
        "accumulate": run.settings.accumulate,
        "sorted_among": run.feed.among,
        "epochs": round(run.step / run.feed.per_epoch, 3),
        "examples": len(run.job.train),
        "seconds": round(run.pulse.seconds, 3),
        "seconds_expected": None if expected.seconds is None else round(expected.seconds, 3),
        "examples_per_s": round(run.pulse.examples_per_s, 2),
        **throughput.figures(run.model, run.pulse.work, run.pulse.seconds, run.device, run.precision, run.ranks.world),
        "energy": spent.told(),
        "cost": spent.costs(run.pulse.seconds),
        "parameters": size,
        "trained_parameters": moving,
        "trained_share": round(moving / size, 6),
        "precision": run.precision,
        "skipped_steps": run.scaling.skipped if run.scaling else 0,
        "device": str(run.device),
        "threads": torch.get_num_threads(),
        "ranks": run.ranks.world,
        "sharded": run.ranks.sharded,
        "peak_memory_mb": round(_peak_memory(run.device) / 1e6, 1),
        "memory_estimate_mb": {part: round(size / 1e6, 1) for part, size in expected.memory.items()},
        "lr": {"highest": run.top_lr, "schedule": run.settings.schedule.name, "warmup": run.warmup}
        | ({"range_test": run.job.range_test["curve"]} if run.job.range_test else {}),
        "optimizer": run.settings.optimizer.name,
        "loss": [[step, round(loss, 6)] for step, loss in run.pulse.curve],
        "rates": [[step, float(f"{lr:.4g}")] for step, lr in run.pulse.rates],
        "validation": {
            "of": run.job.judge.name if run.job.judge else "loss",
            "looks": [[step, round(number, 6)] for step, number in run.watch.history],
            "best_step": best[0] if best else None,
            "best": round(best[1], 6) if best else None,
        },
    }


def _peak_memory(device: torch.device) -> int:
    """Most bytes held at once: of the device for CUDA, else of this process since it began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
