"""Bugs of what moved to the device: the average in the step, rows of a chunk, and chunks in one program."""

from comparison.parity.planted.bug import PlantedBug, bug

DEVICE: tuple[PlantedBug, ...] = (
    bug(
        "loading puts new tensors in the place of those a graph was captured with",
        "torch/weights",
        (
            "            state[moment].copy_(torch.from_numpy(",
            "            state[moment] = torch.empty_like(parameter).copy_(torch.from_numpy(",
        ),
    ),
    bug(
        "average taken before the generator's update",
        "jax/steps",
        ("    update_average(generator_average, generator, decay)\n\n", ""),
        (
            "    fresh_latents = iter(latents[1:])\n",
            "    update_average(generator_average, generator, decay)\n    fresh_latents = iter(latents[1:])\n",
        ),
    ),
    bug(
        "average moved at each of the generator's updates",
        "torch/steps",
        (
            "        generator_losses.append(generator_loss)\n    update_average(",
            "        generator_losses.append(generator_loss)\n        update_average(",
        ),
        generator_updates=2,
    ),
    bug(
        "average's memory by the discriminator's count of steps",
        "torch/steps",
        (
            "    update_average(generator_average, generator, decay)\n",
            '    count = next(iter(discriminator_optimizer.state.values()))["step"]\n'
            "    update_average(generator_average, generator, ((1 + count) / (10 + count)).clamp(max=0.998))\n",
        ),
    ),
    bug(
        "average of the parameters without the running statistics",
        "torch/steps",
        ("[*generator.parameters(), *statistics]", "[*generator.parameters()]"),
    ),
    bug(
        "average left over when weights are loaded",
        "jax/trainer",
        ("weights | (average or {})", "weights | (average or self.export_average())"),
    ),
    bug(
        "images of the step before in a chunk",
        "jax/chunks",
        ("images_at(images, indices[step])", "images_at(images, indices[jnp.maximum(step - 1, 0)])"),
    ),
    bug(
        "a graph's position not reset between chunks",
        "torch/tuned/replay",
        (
            "        self._position.zero_()\n        for _ in range(num_steps):\n",
            "        for _ in range(num_steps):\n",
        ),
        execution="chunk",
    ),
    bug(
        "a graph's latents one row further than its images",
        "torch/tuned/replay",
        (
            "        measured = self._step(images",
            "        latents = self._buffers[1].index_select(0, (row + 1) % len(self._buffers[1]))[0]\n"
            "        measured = self._step(images",
        ),
        execution="chunk",
    ),
    bug(
        "remainder of an epoch dropped, its steps measured and forgotten",
        "jax/tuned/steps",
        (
            "        return run(leaves, images, *chunk)\n",
            "        kept = [jnp.copy(leaf) for leaf in leaves]\n"
            "        leaves, results = run(leaves, images, *chunk)\n"
            "        return (leaves if num_steps == self._num_steps else kept), results\n",
        ),
        execution="chunk",
    ),
    bug(
        "a scan whose average keeps the other share",
        "jax/tuned/steps",
        (
            "            indices, latents, decay = row\n",
            "            indices, latents, decay = row\n            decay = 1 - decay\n",
        ),
        execution="chunk",
    ),
)
