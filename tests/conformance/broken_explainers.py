"""Broken explainers; see `broken`."""

from __future__ import annotations

import dataclasses

from danlu.plugins.explainers.occlusion import Occlusion


class Beside(Occlusion):
    """Tells places that are one character off."""

    def explain(self, predictor, inputs, told=lambda done, total: None):
        found = super().explain(predictor, inputs)
        off = [
            tuple(dataclasses.replace(p, place=(p.place[0] + 1, p.place[1] + 1)) for p in one.pieces) for one in found
        ]
        return [dataclasses.replace(one, pieces=pieces) for one, pieces in zip(found, off, strict=True)]


class Loud(Occlusion):
    """Says that everything weighs the same."""

    def explain(self, predictor, inputs, told=lambda done, total: None):
        found = super().explain(predictor, inputs)
        return [dataclasses.replace(one, weights=(1.0,) * len(one.weights)) for one in found]


class Relative(Occlusion):
    """Scales weights to the greatest of all inputs."""

    def explain(self, predictor, inputs, told=lambda done, total: None):
        found = super().explain(predictor, inputs)
        most = max(abs(weight) for one in found for weight in one.weights) or 1.0
        return [dataclasses.replace(one, weights=tuple(w / most for w in one.weights)) for one in found]


class Secretive(Occlusion):
    """Does not say why there is nothing to explain."""

    def explain(self, predictor, inputs, told=lambda done, total: None):
        return [dataclasses.replace(one, notes=()) for one in super().explain(predictor, inputs)]


class Turned(Occlusion):
    """Tells the weights of a picture from the wrong end."""

    def explain(self, predictor, inputs, told=lambda done, total: None):
        return [dataclasses.replace(one, weights=one.weights[::-1]) for one in super().explain(predictor, inputs)]


OF_EXPLAINERS = {
    "check_its_pieces_lie_in_the_input": (Beside, "stands"),
    "check_a_linear_model_is_explained_exactly": (Loud, "weighs 1.000, not"),
    "check_each_input_is_explained_by_itself": (Relative, "another explanation than among others"),
    "check_what_a_picture_model_looks_at_is_found": (Turned, "where the model looks the weights add up to"),
    "check_nothing_is_explained_as_nothing": (Secretive, "no note"),
}
