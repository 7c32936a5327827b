"""The JAX side of the contract: only here and in weights.py NumPy is met. Mirrors torch_impl/trainer.py."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from common.config import TrainConfig
from common.contract import StepMetrics, Trainer, Weights, check_weights
from common.networks.layers import Architecture
from jax_impl.device import Device, compiler_options
from jax_impl.features import guided_gradients
from jax_impl.model import Discriminator, Generator
from jax_impl.optimizer import adam
from jax_impl.steps import train_step
from jax_impl.weights import export_weights, load_weights

GENERATE_BATCH_SIZE = 500


class DCGANTrainer:
    """Both networks and their optimizers on one device; see `common.contract.Trainer`."""

    def __init__(self, config: TrainConfig, architecture: Architecture, device: Device) -> None:
        self.config = config
        self.architecture = architecture
        self.device = device
        if config.precision == "float64":
            jax.config.update("jax_enable_x64", True)
        self.dtype = jnp.float64 if config.precision == "float64" else jnp.float32
        compute_dtype = jnp.bfloat16 if config.precision == "bfloat16" else self.dtype
        with jax.default_device(device):
            build = {"variant": config.variant, "dtype": compute_dtype, "param_dtype": self.dtype}
            self.generator = Generator(architecture, **build)
            self.discriminator = Discriminator(architecture, **build)
            self.generator_optimizer = create_optimizer(self.generator, config, config.learning_rate_generator)
            self.discriminator_optimizer = create_optimizer(
                self.discriminator, config, config.learning_rate_discriminator
            )
        self._modules = (
            self.generator,
            self.discriminator,
            self.generator_optimizer,
            self.discriminator_optimizer,
        )
        self._jit_modules = nnx.jit(self._step)
        # Walking the modules costs milliseconds of Python: the tuned step knows their structure and sees flat arrays.
        graph, state = nnx.split(self._modules)
        self._structure = jax.tree.structure(state)
        self._jit_leaves = jax.jit(
            partial(self._step_leaves, graph),
            donate_argnums=0,
            compiler_options=compiler_options(device, config.precision),
        )
        self._jit_generate = nnx.jit(self._generate)
        self._jit_activations = nnx.jit(self._activations)
        self._jit_gradients = nnx.jit(self._gradients, static_argnums=2)
        self._jit_take = jax.jit(lambda chunk, index: chunk[index])

    def train_chunk(self, real_images: np.ndarray, latents: np.ndarray) -> StepMetrics:
        run = self._run_tuned if self.config.variant == "tuned" else self._run_idiomatic
        steps = run(real_images, latents)
        # One transfer for the chunk: reading a scalar each step would wait for the device each step.
        return StepMetrics(*np.array(jnp.stack(steps, axis=1)))

    def generate(self, latents: np.ndarray) -> np.ndarray:
        self.generator.eval()
        latents_on_device = jax.device_put(latents.astype(self.dtype), self.device)
        batches = [
            self._jit_generate(self.generator, latents_on_device[start : start + GENERATE_BATCH_SIZE])
            for start in range(0, len(latents), GENERATE_BATCH_SIZE)
        ]
        self.generator.train()
        return self._from_network(np.concatenate(jax.device_get(batches)))

    def discriminator_activations(self, images: np.ndarray) -> list[np.ndarray]:
        self.discriminator.eval()
        activations = self._jit_activations(self.discriminator, jax.device_put(images, self.device))
        self.discriminator.train()
        return [np.ascontiguousarray(np.moveaxis(jax.device_get(activation), -1, 1)) for activation in activations]

    def discriminator_gradients(self, images: np.ndarray, *, layer: int, channels: np.ndarray) -> np.ndarray:
        self.discriminator.eval()
        images_on_device = jax.device_put(images, self.device)
        channels_on_device = jax.device_put(channels, self.device)
        gradients = self._jit_gradients(self.discriminator, images_on_device, layer, channels_on_device)
        self.discriminator.train()
        return self._from_network(jax.device_get(gradients))

    def load_weights(self, weights: Weights) -> None:
        check_weights(weights, self.architecture, self.config)
        with jax.default_device(self.device):
            load_weights(weights, "generator", self.generator, self.architecture.generator, self.generator_optimizer)
            load_weights(
                weights,
                "discriminator",
                self.discriminator,
                self.architecture.discriminator,
                self.discriminator_optimizer,
            )
        # The step's results are committed to the device; arguments that are not would have it compiled a second time.
        nnx.update(self._modules, jax.device_put(nnx.state(self._modules), self.device))

    def export_weights(self) -> Weights:
        return export_weights(
            "generator", self.generator, self.architecture.generator, self.generator_optimizer
        ) | export_weights(
            "discriminator",
            self.discriminator,
            self.architecture.discriminator,
            self.discriminator_optimizer,
        )

    def export_generator(self) -> Weights:
        return export_weights("generator", self.generator, self.architecture.generator, optimizer=None)

    def compile(self) -> None:
        pass  # JAX compiles every step

    def wait(self) -> None:
        jax.block_until_ready(nnx.state(self._modules))

    def _run_idiomatic(self, real_images: np.ndarray, latents: np.ndarray) -> list[Array]:
        return [
            self._jit_modules(
                self.generator,
                self.discriminator,
                self.generator_optimizer,
                self.discriminator_optimizer,
                step_images,
                step_latents,
            )
            for step_images, step_latents in self._steps_of(real_images, latents)
        ]

    def _run_tuned(self, real_images: np.ndarray, latents: np.ndarray) -> list[Array]:
        leaves = jax.tree.leaves(nnx.state(self._modules))
        steps = []
        for step_images, step_latents in self._steps_of(real_images, latents):
            leaves, measured = self._jit_leaves(leaves, step_images, step_latents)
            steps.append(measured)
        nnx.update(self._modules, jax.tree.unflatten(self._structure, leaves))
        return steps

    def _steps_of(self, real_images: np.ndarray, latents: np.ndarray) -> Iterator[tuple[Array, Array]]:
        images_on_device = jax.device_put(real_images, self.device)
        latents_on_device = jax.device_put(latents.astype(self.dtype), self.device)
        # Iterating over an array compiles one slice for each of its elements; this compiles one for all.
        for index in range(len(real_images)):
            yield self._jit_take(images_on_device, index), self._jit_take(latents_on_device, index)

    def _step_leaves(
        self, graph: nnx.GraphDef[Any], leaves: list[Array], real_images: Array, latents: Array
    ) -> tuple[list[Array], Array]:
        modules = nnx.merge(graph, jax.tree.unflatten(self._structure, leaves))
        generator, discriminator, generator_optimizer, discriminator_optimizer = modules
        measured = self._step(
            generator, discriminator, generator_optimizer, discriminator_optimizer, real_images, latents
        )
        return jax.tree.leaves(nnx.state(modules)), measured

    def _step(
        self,
        generator: Generator,
        discriminator: Discriminator,
        generator_optimizer: nnx.Optimizer,
        discriminator_optimizer: nnx.Optimizer,
        real_images: Array,
        latents: Array,
    ) -> Array:
        measured = train_step(
            generator,
            discriminator,
            generator_optimizer,
            discriminator_optimizer,
            self._to_network(real_images),
            latents,
            self.config,
        )
        return jnp.stack(measured)  # (4,)

    def _to_network(self, images: Array) -> Array:
        images = images[..., None] if images.ndim == 3 else images  # (B, S, S, C)
        return images.astype(self.dtype) / 127.5 - 1

    @staticmethod
    def _from_network(images: np.ndarray) -> np.ndarray:
        images = images[..., 0] if images.shape[-1] == 1 else images  # (N, S, S[, 3])
        return np.ascontiguousarray(images, np.float32)

    def _activations(self, discriminator: Discriminator, images: Array) -> list[Array]:
        activations = discriminator.activations(self._to_network(images))
        return [activation.astype(jnp.float32) for activation in activations]  # (N, H, W, C)

    def _gradients(self, discriminator: Discriminator, images: Array, layer: int, channels: Array) -> Array:
        return guided_gradients(discriminator, self._to_network(images), layer, channels)

    @staticmethod
    def _generate(generator: Generator, latents: Array) -> Array:
        return generator(latents).astype(jnp.float32)


def create_optimizer(network: nnx.Module, config: TrainConfig, learning_rate: float) -> nnx.Optimizer:
    """Kingma & Ba 2015, algorithm 1: epsilon (1e-8 in both frameworks) outside the root, after bias correction."""
    return nnx.Optimizer(network, adam(learning_rate, beta1=config.beta1, beta2=config.beta2), wrt=nnx.Param)


def create_trainer(config: TrainConfig, architecture: Architecture, device: Device) -> Trainer:
    """A trainer whose weights are still arbitrary: call `load_weights` before anything else."""
    return DCGANTrainer(config, architecture, device)
