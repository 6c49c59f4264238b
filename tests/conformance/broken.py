"""For every check a plug-in that breaks exactly that promise, and what the check must say of it.

`BROKEN` is the one list: check → (how to make the broken plug-in, what its fault reads like).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from conformance.broken_data import (
    Averaging,
    Babbling,
    Careless,
    Chatty,
    Clairvoyant,
    Forgetful,
    Gambling,
    Greedy,
    Hasty,
    Headless,
    Lenient,
    Lopsided,
    Mislabelled,
    Misspelt,
    Obliging,
    Restless,
    Rounding,
    Shuffled,
    Silent,
    Stealthy,
    Ticking,
    Trusting,
    Uneven,
    heavy,
    unpointed,
)
from conformance.broken_descent import Amnesic, Counting, Lazy, Low, Negative, Peeking, Stubborn
from conformance.broken_explainers import OF_EXPLAINERS
from conformance.broken_fresh import Boundless, Partial, Secretive, Steady, Threaded
from conformance.broken_models import (
    Blind,
    Contagious,
    Deaf,
    Drifting,
    Dropping,
    Entangled,
    Frozen,
    Idle,
    Losing,
    Meddling,
    PerBatch,
    Pretending,
    Stamped,
    Timid,
    Unmasked,
    Whimsical,
)
from danlu.contracts import Stage, Technique, Tracker
from danlu.plugins.metrics.accuracy import Accuracy
from danlu.plugins.metrics.size import Size

# ---- metrics ---------------------------------------------------------------------------------------------------------


class Inverted(Accuracy):
    """Calls its best number its worst."""

    better: ClassVar[str] = "lower"


class Unweighted(Accuracy):
    """Ignores the weights."""

    def value(self, read, weights):
        return float(read.mean())


class Impatient(Accuracy):
    """Looks at the first half of the rows."""

    def read(self, answers, gold):
        return super().read(answers, gold) * (np.arange(len(gold)) < len(gold) / 2)


class Nameless(Size):
    """Measures no `value`."""

    def measure(self, ask, inputs, folder):
        return {"megabytes": 1.0}


# ---- trackers, stages, techniques ------------------------------------------------------------------------------------


class Picky(Tracker):
    """Wants a text in every event."""

    def on(self, event):
        event.data["text"].upper()


class Scribbling(Tracker):
    """Writes into what it hears."""

    def on(self, event):
        event.data["heard"] = True


class Vague(Stage):
    """Its needs are a list."""

    needs: ClassVar[Any] = ["dataset"]
    makes: ClassVar[str] = "model"

    def run(self, inputs, out, events):
        raise NotImplementedError


class Asleep(Technique):
    """Does nothing."""


class Hoarding(Technique):
    """Counts its steps on itself, where a checkpoint does not find them."""

    seen: ClassVar[dict[int, int]] = {}

    def loss(self, loss, run):
        steps = self.seen[id(run)] = self.seen.get(id(run), 0) + 1
        return loss * (1 + steps)


BROKEN: dict[str, tuple[Any, str]] = {
    "check_it_is_documented": (Silent, "the option size has no docstring"),
    "check_settings_survive_a_recipe": (Rounding, "choose.plain.*is another plug-in"),
    "check_settings_are_strict": (Lenient, "accepts an option that it does not have"),
    "check_the_index_tells_the_truth": (Ticking, "the default of seed is not"),
    "check_the_main_field_exists": (Headless, "main is 'size', which is no option"),
    "check_facts_are_known_words": (Misspelt, "wants modality = txt, which no plug-in gives"),
    "check_it_imports_no_torch": (heavy, "imports torch"),
    "check_rows_are_the_same_every_time": (Restless, "the rows are others the second time"),
    "check_every_split_has_the_same_columns": (Uneven, "its split 'test' has another schema"),
    "check_an_unknown_split_is_refused": (Obliging, "a split that it does not have is accepted"),
    "check_a_changed_file_is_noticed": (unpointed, "a change of the file path is not noticed"),
    "check_counts_add_up": (Stealthy, "rows are new or changed, 0 are counted"),
    "check_an_operator_does_the_same_every_time": (Shuffled, "comes out differently the second time"),
    "check_no_column_is_lost": (Careless, "the columns were"),
    "check_an_empty_table_is_no_accident": (Hasty, "a table without rows raises IndexError"),
    "check_the_sample_is_what_it_says": (Greedy, r"sample\(1\) gives 2 rows"),
    "check_a_row_and_its_answer_are_inverse": (Chatty, r"ask\(row\(x, answer\)\) is another input"),
    "check_a_stream_is_the_answer": (Babbling, "the pieces of a stream join to 'well, '"),
    "check_a_request_survives_json": (Forgetful, "an input changes on its way through JSON"),
    "check_what_is_no_input_is_refused": (Trusting, "the request None is accepted"),
    "check_examples_are_not_random": (Gambling, r"vary\(\) draws from another generator"),
    "check_the_loss_is_one_sum_per_example": (Averaging, "the loss of an example is another in a batch"),
    "check_answers_can_be_compared": (Lopsided, "a distance is .* at most 1"),
    "check_answers_match_their_schema": (Mislabelled, "is not what its schema says"),
    "check_the_sample_can_be_learnt": (Clairvoyant, "an untrained model gets 100% of the sample right"),
    "check_every_weight_moves_and_the_model_learns": (Lazy, "it leaves weights as they were"),
    "check_the_rate_is_obeyed": (Stubborn, "it moves weights at a learning rate of 0"),
    "check_its_state_is_all_there_is": (Amnesic, "it goes on differently"),
    "check_every_step_has_a_rate": (Negative, "the factor of step"),
    "check_the_highest_rate_is_reached": (Low, "no factor is above 0.5"),
    "check_it_is_a_function_of_the_step": (Counting, "depend on what was asked before"),
    "check_what_comes_next_is_not_seen": (Peeking, "when later tokens change"),
    "check_the_structure_is_no_accident": (Whimsical, "head.bias is drawn from elsewhere"),
    "check_the_processor_survives_the_disk": (Losing, "the processor gives other arrays"),
    "check_the_processor_needs_no_torch": (Entangled, "imports torch"),
    "check_alone_is_as_in_a_batch": (Unmasked, "is padding masked"),
    "check_odd_inputs_hurt_nobody": (Contagious, "moves its neighbour's answer"),
    "check_every_task_that_fits_can_be_learnt": (Deaf, "it learns 50% of the sample"),
    "check_wrap_changes_structure_only": (Meddling, r"wrap\(\) changes the weight head.weight"),
    "check_a_method_learns_and_freezes": (Timid, "it learns .*% of the sample"),
    "check_merging_keeps_the_answers": (Dropping, "merging moves answers by"),
    "check_the_reference_stays": (Drifting, "the reference moved by"),
    "check_it_works_on_something": (Idle, r"neither compress\(\) nor compress_form"),
    "check_a_module_gets_smaller": (Pretending, "bytes of weights, now it has"),
    "check_an_exported_form_gets_smaller": (PerBatch, "alone and in a batch differ"),
    "check_doing_nothing_is_an_error": (Pretending, "a module with nothing to compress is accepted"),
    "check_it_agrees_on_lengths_not_heard": (Frozen, "does not answer what it never heard"),
    "check_an_export_can_be_repeated": (Stamped, "when.txt is another at the second export"),
    "check_a_strange_folder_is_refused": (Blind, "a folder that holds no export is accepted"),
    "check_a_form_has_gradients_or_says_so": (Blind, "form.module is a NoneType"),
    "check_perfect_answers_are_best": (Inverted, "perfect answers score 1, worse ones 0"),
    "check_a_weight_is_a_repetition": (Unweighted, "weights give"),
    "check_the_order_of_rows_does_not_matter": (Impatient, "in another order the same rows score"),
    "check_a_form_is_measured_from_outside": (Nameless, "no `value`"),
    "check_a_tracker_survives_odd_events": (Picky, "raises KeyError"),
    "check_a_tracker_changes_nothing": (Scribbling, "changes the data of an event"),
    "check_needs_and_makes_are_data": (Vague, r"needs is \['dataset'\]"),
    "check_it_changes_the_training": (Asleep, "the weights are the same as without it"),
    "check_a_killed_training_goes_on": (Hoarding, r"keep what must survive in run.kept"),
    "check_every_process_learns_the_same": (Threaded, "another file in another process"),
    "check_any_text_fits_the_model": (Boundless, "gives 3002 tokens, the model takes 1 to 24"),
    "check_the_files_are_the_tokenizer": (Secretive, "gives other tokens after saving and loading"),
    "check_the_seed_decides": (Partial, "leaves weights as they were"),
    "check_the_scale_counts": (Steady, "half the scale draws other weights"),
    **OF_EXPLAINERS,
}
