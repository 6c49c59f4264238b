"""Train only the bias terms (Ben Zaken et al., 2021)."""

from danlu.contracts import Method


class Biases(Method):
    """Moves a thousandth of the weights, and those that are still random when training starts."""

    wants = {"learning": ("descent",)}
    lr = 1e-3

    also: tuple[str, ...] = ()
    """Names of weights that are trained besides; found when training starts."""

    def resolve(self, fresh):
        return self.model_copy(update={"also": tuple(fresh)})

    def wrap(self, model):
        for name, weight in model.named_parameters():
            weight.requires_grad = name.endswith("bias") or name in self.also
        return model
