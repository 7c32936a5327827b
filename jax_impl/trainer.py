"""The JAX side of the contract: only here and in weights.py NumPy is met. Mirrors torch_impl/trainer.py."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from common.config import TrainConfig
from common.contract import InspectableTrainer, StepMetrics, Weights, check_weights
from common.errors import UserError
from common.networks.layers import Architecture, LayerSpec
from jax_impl.device import Device, has_float64
from jax_impl.features import guided_gradients
from jax_impl.layers import select
from jax_impl.model import Discriminator, Generator
from jax_impl.optimizer import adam
from jax_impl.steps import train_step
from jax_impl.weights import export_network, export_weights, load_network, load_weights

GENERATE_BATCH_SIZE = 500


class DCGANTrainer:
    """Both networks and their optimizers on one device; see `common.contract.InspectableTrainer`."""

    def __init__(
        self,
        config: TrainConfig,
        architecture: Architecture,
        device: Device,
        images: np.ndarray | None = None,
        execution: str = "step",
    ) -> None:
        if config.precision == "float64" and not has_float64(device):
            raise UserError("--precision float64: this GPU has none: pass --device cpu")
        self.config = config
        self.architecture = architecture
        self.device = device
        self.dtype = jnp.float64 if config.precision == "float64" else jnp.float32
        form = select(config, device.platform, execution)
        with self._at_home():
            rngs = nnx.Rngs(config.seed)
            self.generator = Generator(architecture, form, rngs=rngs)
            self.discriminator = Discriminator(architecture, form, rngs=rngs)
            self.generator_average = Generator(architecture, form, rngs=rngs)
            self.generator_average.eval()
            self.generator_optimizer = create_optimizer(self.generator, config, config.learning_rate_generator)
            self.discriminator_optimizer = create_optimizer(
                self.discriminator, config, config.learning_rate_discriminator
            )
        self._modules = (
            self.generator,
            self.discriminator,
            self.generator_average,
            self.generator_optimizer,
            self.discriminator_optimizer,
        )
        self._run_steps = form.prepare_steps(self._step, self._modules)
        self._jit_generate = nnx.jit(self._generate)
        self._jit_activations = nnx.jit(self._activations)
        self._jit_gradients = nnx.jit(self._gradients, static_argnums=2)
        self._images = None if images is None else jax.device_put(images, device)

    def train_chunk(self, indices: np.ndarray, latents: np.ndarray, decays: np.ndarray) -> StepMetrics:
        with self._at_home():
            metrics = self._run_steps(self.images, *self._on_device(indices, latents, decays))
            # One transfer for the chunk: reading a scalar each step would wait for the device each step.
            return StepMetrics(*np.array(metrics))

    def generate(self, latents: np.ndarray) -> np.ndarray:
        with self._at_home():
            # Cut on the host: on the device each cut would be compiled.
            batches = [
                self._jit_generate(
                    self.generator_average,
                    jax.device_put(latents[start : start + GENERATE_BATCH_SIZE].astype(self.dtype), self.device),
                )
                for start in range(0, len(latents), GENERATE_BATCH_SIZE)
            ]
        return self._from_network(np.concatenate(jax.device_get(batches)))

    def load_weights(self, weights: Weights, average: Weights | None = None) -> None:
        check_weights(weights, self.architecture, self.config)
        with self._at_home():
            for name, network, optimizer, specs in self._named_networks():
                load_weights(weights, name, network, optimizer, specs)
            generator_specs = self.architecture.generator
            load_network(weights | (average or {}), "generator", self.generator_average, generator_specs)
            # The step's results are committed to the device; arguments that are not would have it compiled again.
            nnx.update(self._modules, jax.device_put(nnx.state(self._modules), self.device))

    def export_weights(self) -> Weights:
        exported: Weights = {}
        for name, network, optimizer, specs in self._named_networks():
            exported |= export_weights(name, network, optimizer, specs)
        return exported

    def export_average(self) -> Weights:
        return export_network("generator", self.generator_average, self.architecture.generator)

    def wait(self) -> None:
        jax.block_until_ready(nnx.state(self._modules))

    def discriminator_activations(self, images: np.ndarray) -> list[np.ndarray]:
        self.discriminator.eval()
        with self._at_home():
            activations = self._jit_activations(self.discriminator, jax.device_put(images, self.device))
        self.discriminator.train()
        return [np.ascontiguousarray(np.moveaxis(jax.device_get(activation), -1, 1)) for activation in activations]

    def discriminator_gradients(self, images: np.ndarray, *, layer: int, channels: np.ndarray) -> np.ndarray:
        self.discriminator.eval()
        with self._at_home():
            images_on_device = jax.device_put(images, self.device)
            channels_on_device = jax.device_put(channels, self.device)
            gradients = self._jit_gradients(self.discriminator, images_on_device, layer, channels_on_device)
        self.discriminator.train()
        return self._from_network(jax.device_get(gradients))

    def _named_networks(self) -> tuple[tuple[str, nnx.Module, nnx.Optimizer, tuple[LayerSpec, ...]], ...]:
        return (
            ("generator", self.generator, self.generator_optimizer, self.architecture.generator),
            ("discriminator", self.discriminator, self.discriminator_optimizer, self.architecture.discriminator),
        )

    @contextmanager
    def _at_home(self) -> Iterator[None]:
        """On this trainer's device and in its precision: both belong to the process, which may have other trainers."""
        with jax.enable_x64(self.config.precision == "float64"), jax.default_device(self.device):
            yield

    @property
    def images(self) -> Array:
        """All that there are to train on, uint8 (N, S, S[, 3])."""
        assert self._images is not None, "this trainer was given no images"
        return self._images

    def _on_device(self, indices: np.ndarray, latents: np.ndarray, decays: np.ndarray) -> tuple[Array, ...]:
        return jax.device_put((indices, latents.astype(self.dtype), decays.astype(self.dtype)), self.device)

    # Nothing watches how threads wait: XLA's do so asleep, PyTorch's awake (decision 27).
    def _step(
        self,
        generator: Generator,
        discriminator: Discriminator,
        generator_average: Generator,
        generator_optimizer: nnx.Optimizer,
        discriminator_optimizer: nnx.Optimizer,
        real_images: Array,
        latents: Array,
        decay: Array,
    ) -> Array:
        measured = train_step(
            generator,
            discriminator,
            generator_average,
            generator_optimizer,
            discriminator_optimizer,
            self._to_network(real_images),
            latents,
            decay,
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


def create_trainer(
    config: TrainConfig,
    architecture: Architecture,
    device: Device,
    images: np.ndarray | None = None,
    execution: str = "step",
) -> InspectableTrainer:
    """A trainer without weights yet: call `load_weights` before anything else; to train, it needs images."""
    return DCGANTrainer(config, architecture, device, images, execution)
