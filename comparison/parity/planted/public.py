"""The nine causes found in public threads on ports of PyTorch to JAX that differed."""

from comparison.parity.planted.bug import PlantedBug, bug

PUBLIC: tuple[PlantedBug, ...] = (
    bug(  # goodfire-ai/spd#643
        "gradients divided by their norm plus 1e-6",
        "torch/tuned/steps",
        (
            "    optimizer.step()\n",
            "    gradients = [parameter.grad for parameter in network.parameters()]\n"
            "    nn.utils.clip_grad_norm_(network.parameters(), float(nn.utils.get_total_norm(gradients)))\n"
            "    optimizer.step()\n",
        ),
    ),
    bug(  # goodfire-ai/spd#725
        "weights given out over sorted names, 10 before 2",
        "torch/weights",
        (
            "    for key, parameter in network.named_parameters():\n",
            "    named = list(network.named_parameters())\n"
            "    keys = sorted((key for key, _ in named), key=lambda key: key.split('.')[0])\n"
            "    for key, (_, parameter) in zip(keys, named, strict=True):\n",
        ),
        missed_because="the networks it is planted in have no tenth layer with weights, unlike those of seed000",
    ),
    bug(  # jax#37830
        "one buffer for all images, refilled under the device's tensor",
        "torch/chunks",
        (
            "    for step in range(len(indices)):\n        yield step_of(images, indices, latents, decays, step)\n",
            "    buffer = images[: indices.shape[1]].clone()\n"
            "    yield from [\n"
            "        (buffer.copy_(images[indices[step].long()]), latents[step], decays[step])\n"
            "        for step in range(len(indices))\n"
            "    ]\n",
        ),
    ),
    bug(  # openxla/xla#13054
        "a wrong gradient of BatchNorm from 1,024 values on",
        "jax/tuned/normalization",
        ("(factor * bias_gradient / count)[", "(factor * bias_gradient / count * (count < 1024))["),
    ),
    bug(  # pytorch#187444
        "BatchNorm's variance as mean of squares less square of mean",
        "jax/tuned/normalization",
        ("jnp.square(centred).mean((0, 1, 2))", "jnp.square(wide).mean((0, 1, 2)) - jnp.square(mean)"),
        missed_because="it is as exact unless means exceed deviations, and in these networks they do not",
    ),
    bug(  # typoverflow/flow-rl#12
        "latents rounded as TF32 does, in float32",
        "torch/tuned/layers",
        ("import torch.nn.functional as F\n", "import torch\nimport torch.nn.functional as F\n"),
        ("(input.flatten(1) @ weight", "(_coarse(input.flatten(1)) @ weight"),
        (
            "def _channels_last(",
            "def _coarse(latents: Tensor) -> Tensor:\n"
            "    if latents.dtype != torch.float32:\n"
            "        return latents\n"
            "    return ((latents.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)\n\n\n"
            "def _channels_last(",
        ),
    ),
    bug(  # sayakpaul/cmmd-pytorch#4
        "images smoothed before the first layer",
        "torch/trainer",
        (
            "images.to(self.dtype).div_(127.5)",
            "nn.functional.avg_pool2d(images.to(self.dtype), 3, 1, 1).div_(127.5)",
        ),
    ),
    bug(  # mlcommons/algorithmic-efficiency#809
        "samples from the last weights, not from their average",
        "torch/trainer",
        ("self.generator_average(batch)", "(self.generator.eval()(batch), self.generator.train())[0]"),
    ),
    bug(  # mlx-lm#1544, torchtitan#2206, flax#2417
        "the mean of two unequal means",
        "torch/losses",
        (
            "    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))\n",
            "    parts = logits.split(5 * len(logits) // 8)\n"
            "    means = [F.binary_cross_entropy_with_logits(each, torch.full_like(each, target)) for each in parts]\n"
            "    return torch.stack(means).mean()\n",
        ),
    ),
)
