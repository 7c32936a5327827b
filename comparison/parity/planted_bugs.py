"""Bugs that people really make when they port a GAN, planted one at a time to see which rung catches them.

Each is an edit of one twin's source, a line or a moved line, so that it is the bug and not a simulation of it.
The file is long because it is a list: one entry a bug.
"""

import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

# In the order in which they import each other: all are compiled again around an edit.
MODULES = {
    "torch": ("tuned/layers", "tuned/steps", "layers", "model", "losses", "steps", "weights", "trainer"),
    "jax": (
        "tuned/winograd",
        "tuned/convolution",
        "tuned/normalization",
        "conventions",
        "tuned/layers",
        "tuned/steps",
        "layers",
        "model",
        "losses",
        "optimizer",
        "steps",
        "weights",
        "trainer",
    ),
}


@dataclass(frozen=True)
class PlantedBug:
    """An edit of one file of one twin; `config` holds the fields without which it changes nothing."""

    title: str
    framework: str
    module: str
    edits: tuple[tuple[str, str], ...]
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def location(self) -> str:
        """The edited file."""
        return f"{self.framework}_impl/{self.module}.py"

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The twin with this bug in it; the original comes back at the end, whatever happens."""
        modules = [
            importlib.import_module(f"{self.framework}_impl.{name.replace('/', '.')}")
            for name in MODULES[self.framework]
        ]
        originals = [dict(vars(module)) for module in modules]
        try:
            for name, module in zip(MODULES[self.framework], modules, strict=True):
                source = inspect.getsource(module)
                code = compile(self.edited(source) if name == self.module else source, inspect.getfile(module), "exec")
                exec(code, vars(module))
            yield
        finally:
            for module, original in zip(modules, originals, strict=True):
                vars(module).clear()
                vars(module).update(original)

    def edited(self, source: str) -> str:
        """The source with the bug; asserts that every edited passage is there exactly once."""
        for before, after in self.edits:
            assert source.count(before) == 1, f"{self.title}: {self.location} holds {before!r} not exactly once"
            source = source.replace(before, after)
        return source


def _bug(title: str, location: str, *edits: tuple[str, str], **config: Any) -> PlantedBug:
    framework, module = location.split("/", 1)
    return PlantedBug(title, framework, module, edits, config)


PLANTED_BUGS: tuple[PlantedBug, ...] = (
    _bug(
        "BatchNorm's momentum read the other way",
        "jax/layers",
        ("momentum=1 - spec.momentum,", "momentum=spec.momentum,"),
    ),
    _bug("Flax's default momentum, 0.99", "jax/layers", ("momentum=1 - spec.momentum,", "momentum=0.99,")),
    _bug(
        "Flax's momentum, 0.9, copied into torch",
        "torch/layers",
        ("momentum=spec.momentum)", "momentum=1 - spec.momentum)"),
    ),
    _bug("biased running variance", "jax/tuned/layers", ("variance * (count / (count - 1))", "variance")),
    _bug("BatchNorm's eps 1e-3", "jax/layers", ("epsilon=spec.epsilon,", "epsilon=1e-3,")),
    _bug(
        "BatchNorm's gradient without the mean's share",
        "jax/tuned/normalization",
        ("        - (factor * bias_gradient / count)[None, None, None]\n", ""),
    ),
    _bug(
        "rows and columns of the latents' layer swapped",
        "torch/tuned/layers",
        ("images.permute(0, 2, 3, 1)", "images.permute(0, 3, 2, 1)"),
    ),
    _bug(
        "BatchNorm's scale drawn from N(0, 0.02)",
        "torch/weights",
        (
            "parameter.copy_(torch.from_numpy(weights[key]))",
            "parameter.copy_(torch.from_numpy(weights[key])) if parameter.ndim > 1 else parameter.normal_(0, 0.02)",
        ),
    ),
    _bug(
        "kernel of the transposed convolution not flipped",
        "jax/tuned/convolution",
        ("index_in_dim(taps, tap,", "index_in_dim(taps, taps.shape[tap_axis] - 1 - tap,"),
    ),
    _bug(
        "a sign in Winograd's transform of the maps",
        "jax/tuned/winograd",
        ("return [even, even + odd, -odd]", "return [even, even + odd, odd]"),
    ),
    _bug(
        "SAME padding, which differs on odd sizes",
        "jax/tuned/convolution",
        (
            "form, stride=form.stride, padding=[(padding, padding)] * 2)",
            'form, stride=form.stride, padding="SAME")',
        ),
    ),
    _bug(
        "LeakyReLU's default slope, 0.01",
        "torch/layers",
        ("nn.LeakyReLU(spec.negative_slope, inplace=True)", "nn.LeakyReLU(inplace=True)"),
    ),
    _bug("LeakyReLU's derivative at 0 is 1", "jax/conventions", ("jnp.where(inputs > 0,", "jnp.where(inputs >= 0,")),
    _bug("Adam's default beta1, 0.9", "jax/trainer", ("beta1=config.beta1", "beta1=0.9")),
    _bug("beta2 0.99", "torch/trainer", ("betas = (config.beta1, config.beta2)", "betas = (config.beta1, 0.99)")),
    _bug(
        "Adam's eps 1e-7, Keras's default",
        "torch/trainer",
        ("learning_rate, betas)", "learning_rate, betas, eps=1e-7)"),
    ),
    _bug("Adam's eps inside the root", "jax/optimizer", ("jnp.sqrt(square) + EPSILON", "jnp.sqrt(square + EPSILON)")),
    _bug(
        "learning rate 1 % too high",
        "torch/trainer",
        ("adam(network.parameters(), learning_rate,", "adam(network.parameters(), 1.01 * learning_rate,"),
    ),
    _bug(
        "optax's Adam, whose bias correction is rounded to float32",
        "jax/trainer",
        ("from jax_impl.optimizer import adam", "import optax"),
        ("adam(learning_rate, beta1=config.beta1,", "optax.adam(learning_rate, b1=config.beta1,"),
        ("beta2=config.beta2)", "b2=config.beta2)"),
    ),
    _bug(
        "weight decay slipped in: AdamW's default, 1e-4",
        "jax/trainer",
        ("from jax_impl.optimizer import adam", "import optax"),
        ("adam(learning_rate, beta1=config.beta1,", "optax.adamw(learning_rate, b1=config.beta1,"),
        ("beta2=config.beta2)", "b2=config.beta2)"),
    ),
    _bug(
        "both networks at the generator's learning rate",
        "jax/trainer",
        ("config, config.learning_rate_discriminator", "config, config.learning_rate_generator"),
        learning_rate_discriminator=1e-4,
    ),
    _bug(
        "Adam's second moment not restored",
        "jax/weights",
        (
            'to_native(weights[f"{key}.adam.exp_avg_sq"], spec)',
            'to_native(0 * weights[f"{key}.adam.exp_avg_sq"], spec)',
        ),
    ),
    _bug(
        "a Linear layer's kernel in torch's flatten order",
        "jax/weights",
        ("        return _channels_last(array, spec)\n", "        return array.T.copy()\n"),
    ),
    _bug(
        "D on one batch of real and fake images",
        "torch/losses",
        (
            "    real_logits = discriminator(real_images)\n    fake_logits = discriminator(fake_images)\n",
            "    real_logits, fake_logits = discriminator(torch.cat([real_images, fake_images])).chunk(2)\n",
        ),
    ),
    _bug(
        "D sees fake images before real ones",
        "torch/losses",
        (
            "    real_logits = discriminator(real_images)\n    fake_logits = discriminator(fake_images)\n",
            "    fake_logits = discriminator(fake_images)\n    real_logits = discriminator(real_images)\n",
        ),
    ),
    _bug(
        "G trained against D before its update",
        "jax/steps",
        ("    discriminator_optimizer.update(discriminator, gradients)\n", ""),
        (
            "    return StepTensors(\n",
            "    discriminator_optimizer.update(discriminator, gradients)\n    return StepTensors(\n",
        ),
    ),
    _bug(
        "running statistics not moved in G's update",
        "jax/steps",
        ("generator_loss(fake_images, discriminator,", "generator_loss(fake_images, nnx.clone(discriminator),"),
    ),
    _bug(
        "the same latents for D and G",
        "torch/steps",
        ("generator(next(fresh_latents))", "generator(latents[0])"),
        generator_latents="fresh",
    ),
    _bug(
        "saturating generator loss",
        "jax/losses",
        (
            "return binary_cross_entropy(discriminator(fake_images), target)",
            "return -binary_cross_entropy(discriminator(fake_images), 1 - target)",
        ),
    ),
    _bug(
        "sum for mean", "jax/losses", ("jnp.full_like(logits, target)).mean()", "jnp.full_like(logits, target)).sum()")
    ),
    _bug(
        "label smoothing on the wrong side",
        "torch/losses",
        (
            "binary_cross_entropy(real_logits, real_target) + binary_cross_entropy(fake_logits, fake_target)",
            "binary_cross_entropy(real_logits, 1 - fake_target) + binary_cross_entropy(fake_logits, 1 - real_target)",
        ),
    ),
    _bug(
        "sigmoid, then cross-entropy, which clamps at 100",
        "torch/losses",
        ("F.binary_cross_entropy_with_logits(logits,", "F.binary_cross_entropy(logits.sigmoid(),"),
    ),
    _bug("images in [0, 1]", "torch/trainer", (".div_(127.5).sub_(1)", ".div_(255)")),
    _bug("gradients not cleared", "torch/tuned/steps", ("    optimizer.zero_grad()\n", "")),
    _bug(
        "noise of the step before",
        "jax/trainer",
        ("self._jit_take(latents_on_device, index)", "self._jit_take(latents_on_device, index - 1)"),
    ),
    _bug("samples in train mode", "torch/trainer", ("self.generator.eval()\n", "self.generator.train()\n")),
    _bug("gradients not cleared in the idiomatic variant", "torch/steps", ("    optimizer.zero_grad()\n", "")),
    _bug(
        "generator left in eval mode after sampling",
        "torch/trainer",
        (
            "        self.generator.train()\n        return self._from_network",
            "        return self._from_network",
        ),
    ),
    _bug("float32 training in bfloat16", "torch/trainer", ('!= "bfloat16":', '== "float64":')),
    _bug(
        "samples in bfloat16",
        "torch/trainer",
        (
            "with torch.inference_mode(), self._autocast():\n            batches",
            'with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, self.dtype == torch.float32):'
            "\n            batches",
        ),
    ),
    _bug(
        "D(x) reported for D(G(z))",
        "torch/steps",
        ("fake_score=discriminator_loss.fake_logits", "fake_score=discriminator_loss.real_logits"),
    ),
    _bug(
        "every batch of samples from the first latents",
        "jax/trainer",
        ("latents_on_device[start : start + GENERATE_BATCH_SIZE]", "latents_on_device[:GENERATE_BATCH_SIZE]"),
    ),
)
