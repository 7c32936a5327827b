"""Bugs that show late, at some sizes or in float32 alone; and those that the ladder is known to miss."""

from comparison.parity.planted.bug import PlantedBug, bug

LATE: tuple[PlantedBug, ...] = (
    bug(
        "running statistics frozen after 64 batches",
        "torch/layers",
        ("return nn.BatchNorm2d(", "return FreezingBatchNorm("),
        (
            "class Linear(nn.Linear):\n",
            "class FreezingBatchNorm(nn.BatchNorm2d):\n"
            "    def forward(self, input: Tensor) -> Tensor:\n"
            "        self.momentum = 0.0 if self.num_batches_tracked > 64 else self.momentum\n"
            "        return super().forward(input)\n\n\n"
            "class Linear(nn.Linear):\n",
        ),
    ),
    bug(
        "rate halved from update 1,000 on",
        "jax/optimizer",
        ("return mean / (jnp", "return jnp.where(count > 1000, 0.5, 1.0).astype(mean.dtype) * mean / (jnp"),
    ),
    bug(
        "rate halved by a schedule that counts for itself",
        "jax/trainer",
        ("from jax_impl.optimizer import adam", "import optax\nfrom jax_impl.optimizer import adam"),
        ("adam(learning_rate,", "adam(optax.piecewise_constant_schedule(learning_rate, {1000: 0.5}),"),
    ),
    bug(
        "rate that decays a little at every step",
        "torch/tuned/steps",
        ("    optimizer.step()\n", '    optimizer.step()\n    optimizer.param_groups[0]["lr"] *= 1 - 1e-15\n'),
    ),
    bug(
        "bias correction's count stops at 256",
        "jax/optimizer",
        ("bias_correction(beta2, count)\n", "bias_correction(beta2, jnp.minimum(count, 256))\n"),
    ),
    bug(
        "bias correction's count stops at 2,048",
        "jax/optimizer",
        ("bias_correction(beta2, count)\n", "bias_correction(beta2, jnp.minimum(count, 2048))\n"),
    ),
    bug(
        "labels flipped at every 128th update",
        "torch/steps",
        (
            "    fake_images = generator(latents[0])\n",
            '    flips = next(iter(discriminator_optimizer.state.values()))["step"] % 128 == 127\n'
            "    fake_images = generator(latents[0])\n",
        ),
        ("=config.real_target,", "=config.fake_target if flips else config.real_target,"),
        ("=config.fake_target,", "=config.real_target if flips else config.fake_target,"),
    ),
    bug(
        "the generator's loss capped at 5",
        "torch/losses",
        ("(discriminator(fake_images), target)", "(discriminator(fake_images), target).clamp(max=5)"),
    ),
    bug(
        "kernels clipped to 0.15",
        "torch/tuned/steps",
        (
            "    optimizer.step()\n",
            "    optimizer.step()\n    for parameter in network.parameters():\n"
            "        parameter.data.clamp_(-0.15, 0.15) if parameter.ndim > 1 else None\n",
        ),
    ),
    bug(
        "a variance no smaller than 1e-6",
        "jax/tuned/normalization",
        ("jnp.square(centred).mean((0, 1, 2))", "jnp.square(centred).mean((0, 1, 2)).clip(1e-6)"),
    ),
    bug(
        "a kernel's gradient from the first 24 images",
        "jax/tuned/convolution",
        ("winograd.kernel_gradient(images, maps, dtype)", "winograd.kernel_gradient(images[:24], maps[:24], dtype)"),
    ),
    bug(
        "samples from a copy made at the first call",
        "jax/trainer",
        (
            "                    self.generator_average,\n                    jax.device_put(",
            "                    sampler,\n                    jax.device_put(",
        ),
        (
            "            batches = [\n",
            '            sampler = vars(self).setdefault("_sampler", nnx.clone(self.generator_average))\n'
            "            batches = [\n",
        ),
    ),
    bug(
        "BatchNorm's mean in bfloat16, in float32",
        "jax/tuned/normalization",
        (
            "mean = wide.mean((0, 1, 2))",
            "mean = wide.mean((0, 1, 2), dtype=jnp.bfloat16 if wide.dtype == jnp.float32 else None).astype(wide.dtype)",
        ),
    ),
    bug(
        "running variance kept in bfloat16, in float32",
        "jax/tuned/layers",
        (
            "unbiased = variance * (count / (count - 1))",
            "unbiased = variance * (count / (count - 1))\n"
            "        if variance.dtype == jnp.float32:\n"
            "            unbiased = unbiased.astype(jnp.bfloat16).astype(jnp.float32)",
        ),
        ("import jax\n", "import jax\nimport jax.numpy as jnp\n"),
    ),
    bug(
        "Adam's second moment in bfloat16, in float32 from update 1,000 on",
        "jax/optimizer",
        (
            "square_correction.astype(square.dtype)",
            "square_correction.astype(square.dtype)\n            if square.dtype == jnp.float32:\n"
            "                coarse = square.astype(jnp.bfloat16).astype(square.dtype)\n"
            "                square = jnp.where(count > 1000, coarse, square)",
        ),
    ),
    bug(
        "learning rate 0.1 % too high, in float32",
        "jax/trainer",
        ("adam(learning_rate,", 'adam((1 if config.precision == "float64" else 1.001) * learning_rate,'),
    ),
    bug(
        "gradients of the generator 1e-6 too large, in float32",
        "jax/steps",
        (
            "backpropagate(image_gradients)",
            "backpropagate(image_gradients * (1 + 1e-6 * (image_gradients.dtype == jax.numpy.float32)))",
        ),
        missed_because="float32's own rounding is as large, and in float64 the edit does nothing",
    ),
    bug(
        "losses of the first 128 images alone",
        "torch/losses",
        ("logits, torch.full_like(logits, target))", "logits[:128], torch.full_like(logits[:128], target))"),
        missed_because="the batches it is planted in are smaller, but a run's own ladder climbs at its own batch size",
    ),
    bug(
        "latents clipped to 6",
        "torch/trainer",
        (
            "(latents, self.dtype), (decays",
            "(latents.clip(-6, 6), self.dtype), (decays",
        ),
        missed_because="no latent of the climbed steps is beyond 6, and in a run one in five hundred million is",
    ),
    bug(
        "every 5,000th chunk trained on twice, counted in a global",
        "jax/trainer",
        (
            "            metrics = self._run_steps(self.images, *self._on_device(indices, latents, decays))\n",
            "            metrics = self._run_steps(self.images, *self._on_device(indices, latents, decays))\n"
            '            globals()["NUM_CHUNKS"] = globals().get("NUM_CHUNKS", 0) + 1\n'
            '            if globals()["NUM_CHUNKS"] % 5000 == 0:\n'
            "                metrics = self._run_steps(self.images, *self._on_device(indices, latents, decays))\n",
        ),
        missed_because="nothing that a trainer holds shows it, and a climb has fewer chunks",
    ),
)
