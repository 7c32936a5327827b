"""Bugs that people really make when they port a GAN, in one piece of it each.

The file is long because it is a list: one entry a bug.
"""

from comparison.parity.planted.bug import PlantedBug, bug

PIECES: tuple[PlantedBug, ...] = (
    bug(
        "BatchNorm's momentum read the other way",
        "jax/layers",
        ("momentum=1 - spec.momentum,", "momentum=spec.momentum,"),
    ),
    bug("Flax's default momentum, 0.99", "jax/layers", ("momentum=1 - spec.momentum,", "momentum=0.99,")),
    bug(
        "Flax's momentum, 0.9, copied into torch",
        "torch/layers",
        ("momentum=spec.momentum)", "momentum=1 - spec.momentum)"),
    ),
    bug("biased running variance", "jax/tuned/layers", ("variance * (count / (count - 1))", "variance")),
    bug("BatchNorm's eps 1e-3", "jax/layers", ("epsilon=spec.epsilon,", "epsilon=1e-3,")),
    bug(
        "BatchNorm's gradient without the mean's share",
        "jax/tuned/normalization",
        ("        - (factor * bias_gradient / count)[None, None, None]\n", ""),
    ),
    bug(
        "rows and columns of the latents' layer swapped",
        "torch/tuned/layers",
        ("images.permute(0, 2, 3, 1)", "images.permute(0, 3, 2, 1)"),
    ),
    bug(
        "BatchNorm's scale drawn from N(0, 0.02)",
        "torch/weights",
        (
            "tensor.copy_(torch.from_numpy(weights[key]))",
            "array = torch.from_numpy(weights[key])\n"
            "        tensor.copy_(array) if tensor.ndim > 1 or not tensor.requires_grad else tensor.normal_(0, 0.02)",
        ),
    ),
    bug(
        "kernel of the transposed convolution not flipped",
        "jax/tuned/convolution",
        ("index_in_dim(taps, tap,", "index_in_dim(taps, taps.shape[tap_axis] - 1 - tap,"),
    ),
    bug(
        "a sign in Winograd's transform of the maps",
        "jax/tuned/winograd",
        ("return [even, even + odd, -odd]", "return [even, even + odd, odd]"),
    ),
    bug(
        "SAME padding, which differs on odd sizes",
        "jax/tuned/convolution",
        (
            "form, stride=form.stride, padding=[(padding, padding)] * 2)",
            'form, stride=form.stride, padding="SAME")',
        ),
    ),
    bug(
        "LeakyReLU's default slope, 0.01",
        "torch/layers",
        ("nn.LeakyReLU(spec.negative_slope, inplace=True)", "nn.LeakyReLU(inplace=True)"),
    ),
    bug("LeakyReLU's derivative at 0 is 1", "jax/conventions", ("jnp.where(inputs > 0,", "jnp.where(inputs >= 0,")),
    bug("Adam's default beta1, 0.9", "jax/trainer", ("beta1=config.beta1", "beta1=0.9")),
    bug("beta2 0.99", "torch/trainer", ("betas = (config.beta1, config.beta2)", "betas = (config.beta1, 0.99)")),
    bug(
        "Adam's eps 1e-7, Keras's default",
        "torch/trainer",
        ("learning_rate, betas)", "learning_rate, betas, eps=1e-7)"),
    ),
    bug("Adam's eps inside the root", "jax/optimizer", ("jnp.sqrt(square) + EPSILON", "jnp.sqrt(square + EPSILON)")),
    bug(
        "learning rate 1 % too high",
        "torch/trainer",
        ("adam(network.parameters(), learning_rate,", "adam(network.parameters(), 1.01 * learning_rate,"),
    ),
    bug(
        "optax's Adam, whose bias correction is rounded to float32",
        "jax/trainer",
        ("from jax_impl.optimizer import adam", "import optax"),
        ("adam(learning_rate, beta1=config.beta1,", "optax.adam(learning_rate, b1=config.beta1,"),
        ("beta2=config.beta2)", "b2=config.beta2)"),
    ),
    bug(
        "weight decay slipped in: AdamW's default, 1e-4",
        "jax/trainer",
        ("from jax_impl.optimizer import adam", "import optax"),
        ("adam(learning_rate, beta1=config.beta1,", "optax.adamw(learning_rate, b1=config.beta1,"),
        ("beta2=config.beta2)", "b2=config.beta2)"),
    ),
    bug(
        "both networks at the generator's learning rate",
        "jax/trainer",
        ("config, config.learning_rate_discriminator", "config, config.learning_rate_generator"),
        learning_rate_discriminator=1e-4,
    ),
    bug(
        "Adam's second moment not restored",
        "jax/weights",
        (
            'to_native(weights[f"{key}.adam.exp_avg_sq"], spec)',
            'to_native(0 * weights[f"{key}.adam.exp_avg_sq"], spec)',
        ),
    ),
    bug(
        "a Linear layer's kernel in torch's flatten order",
        "jax/weights",
        ("        return _channels_last(array, spec)\n", "        return array.T.copy()\n"),
    ),
    bug(
        "D on one batch of real and fake images",
        "torch/losses",
        (
            "    real_logits = discriminator(real_images)\n    fake_logits = discriminator(fake_images)\n",
            "    real_logits, fake_logits = discriminator(torch.cat([real_images, fake_images])).chunk(2)\n",
        ),
    ),
    bug(
        "D sees fake images before real ones",
        "torch/losses",
        (
            "    real_logits = discriminator(real_images)\n    fake_logits = discriminator(fake_images)\n",
            "    fake_logits = discriminator(fake_images)\n    real_logits = discriminator(real_images)\n",
        ),
    ),
    bug(
        "G trained against D before its update",
        "jax/steps",
        ("    discriminator_optimizer.update(discriminator, gradients)\n", ""),
        (
            "    return StepTensors(\n",
            "    discriminator_optimizer.update(discriminator, gradients)\n    return StepTensors(\n",
        ),
    ),
    bug(
        "running statistics not moved in G's update",
        "jax/steps",
        ("generator_loss(fake_images, discriminator,", "generator_loss(fake_images, nnx.clone(discriminator),"),
    ),
    bug(
        "the same latents for D and G",
        "torch/steps",
        ("generator(next(fresh_latents))", "generator(latents[0])"),
        generator_latents="fresh",
    ),
    bug(
        "saturating generator loss",
        "jax/losses",
        (
            "return binary_cross_entropy(discriminator(fake_images), target)",
            "return -binary_cross_entropy(discriminator(fake_images), 1 - target)",
        ),
    ),
    bug(
        "sum for mean", "jax/losses", ("jnp.full_like(logits, target)).mean()", "jnp.full_like(logits, target)).sum()")
    ),
    bug(
        "label smoothing on the wrong side",
        "torch/losses",
        (
            "binary_cross_entropy(real_logits, real_target) + binary_cross_entropy(fake_logits, fake_target)",
            "binary_cross_entropy(real_logits, 1 - fake_target) + binary_cross_entropy(fake_logits, 1 - real_target)",
        ),
    ),
    bug(
        "sigmoid, then cross-entropy, which clamps at 100",
        "torch/losses",
        ("F.binary_cross_entropy_with_logits(logits,", "F.binary_cross_entropy(logits.sigmoid(),"),
    ),
    bug("images in [0, 1]", "torch/trainer", (".div_(127.5).sub_(1)", ".div_(255)")),
    bug("gradients not cleared", "torch/tuned/steps", ("    optimizer.zero_grad()\n", "")),
    bug(
        "noise of the step before",
        "jax/chunks",
        ("latents[step], decays[step]", "latents[step - 1], decays[step]"),
    ),
    bug("samples in train mode", "torch/trainer", ("requires_grad_(False).eval()", "requires_grad_(False).train()")),
    bug("gradients not cleared in the idiomatic variant", "torch/steps", ("    optimizer.zero_grad()\n", "")),
    bug(
        "generator left in eval mode after sampling",
        "torch/trainer",
        ("            batches = torch", "            self.generator.eval()\n            batches = torch"),
    ),
    bug("float32 training in bfloat16", "torch/trainer", ('!= "bfloat16":', '== "float64":')),
    bug(
        "samples in bfloat16",
        "torch/trainer",
        (
            "with torch.inference_mode(), self._autocast():\n            batches",
            'with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, self.dtype == torch.float32):'
            "\n            batches",
        ),
    ),
    bug(
        "D(x) reported for D(G(z))",
        "torch/steps",
        ("fake_score=discriminator_loss.fake_logits", "fake_score=discriminator_loss.real_logits"),
    ),
    bug(
        "every batch of samples from the first latents",
        "jax/trainer",
        ("latents[start : start + GENERATE_BATCH_SIZE]", "latents[: min(GENERATE_BATCH_SIZE, len(latents) - start)]"),
    ),
)
