"""The PyTorch side of the contract: only here and in weights.py NumPy is met. Mirrors jax_impl/trainer.py."""

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from common.config import TrainConfig
from common.contract import InspectableTrainer, StepMetrics, Weights, check_weights
from common.errors import UserError
from common.networks.layers import Architecture
from torch_impl.device import Device, has_float64
from torch_impl.features import guided_gradients
from torch_impl.layers import Form, select
from torch_impl.model import Discriminator, Generator
from torch_impl.steps import train_step
from torch_impl.tuned.waiting import WAITING
from torch_impl.weights import export_network, export_weights, load_network, load_weights

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
        self.dtype = torch.float64 if config.precision == "float64" else torch.float32
        form = select(config, execution)
        self.memory_format = form.memory_format
        self.generator = Generator(architecture, form).to(device, self.dtype)
        self.discriminator = Discriminator(architecture, form).to(device, self.dtype)
        self.generator_average = Generator(architecture, form).to(device, self.dtype).requires_grad_(False).eval()
        for network in (self.generator, self.discriminator, self.generator_average):
            network.to(memory_format=self.memory_format)
        self.generator_optimizer = create_optimizer(self.generator, form, config, config.learning_rate_generator)
        self.discriminator_optimizer = create_optimizer(
            self.discriminator, form, config, config.learning_rate_discriminator
        )
        self._train_step = form.prepare_step(train_step)
        self._run_steps = form.prepare_steps(self._step, self._changing_tensors)
        # `torch.from_numpy` would share memory, and warn of arrays that nobody may write, as the bundled digits are.
        self._images = None if images is None else torch.tensor(images, device=device)

    def train_chunk(self, indices: np.ndarray, latents: np.ndarray, decays: np.ndarray) -> StepMetrics:
        with self._autocast():
            metrics = self._run_steps(self.images, *self._on_device(indices, latents, decays))
        # One transfer for the chunk: reading a scalar each step would wait for the device each step.
        return StepMetrics(*metrics.cpu().numpy())

    @WAITING.adapted()
    def generate(self, latents: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), self._autocast():
            batches = torch.tensor(latents, device=self.device, dtype=self.dtype).split(GENERATE_BATCH_SIZE)
            images = torch.cat([self.generator_average(batch).float().cpu() for batch in batches])
        return self._from_network(images)

    def load_weights(self, weights: Weights, average: Weights | None = None) -> None:
        check_weights(weights, self.architecture, self.config)
        for name, network, optimizer in self._named_networks():
            load_weights(weights, name, network, optimizer)
        load_network(weights | (average or {}), "generator", self.generator_average)

    def export_weights(self) -> Weights:
        exported: Weights = {}
        for name, network, optimizer in self._named_networks():
            exported |= export_weights(name, network, optimizer)
        return exported

    def export_average(self) -> Weights:
        return export_network("generator", self.generator_average)

    def wait(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)

    @WAITING.adapted()
    def discriminator_activations(self, images: np.ndarray) -> list[np.ndarray]:
        self.discriminator.eval()
        with torch.inference_mode(), self._autocast():
            images_on_device = self._to_network(torch.tensor(images, device=self.device))
            activations = self.discriminator.activations(images_on_device)
        self.discriminator.train()
        return [activation.float().contiguous().cpu().numpy() for activation in activations]

    @WAITING.adapted()
    def discriminator_gradients(self, images: np.ndarray, *, layer: int, channels: np.ndarray) -> np.ndarray:
        self.discriminator.eval()
        with self._autocast():
            images_on_device = self._to_network(torch.tensor(images, device=self.device))
            channels_on_device = torch.tensor(channels, device=self.device)
            gradients = guided_gradients(self.discriminator, images_on_device, layer, channels_on_device)
        self.discriminator.train()
        return self._from_network(gradients)

    def _named_networks(self) -> tuple[tuple[str, nn.Module, Adam], ...]:
        return (
            ("generator", self.generator, self.generator_optimizer),
            ("discriminator", self.discriminator, self.discriminator_optimizer),
        )

    @property
    def images(self) -> Tensor:
        """All that there are to train on, uint8 (N, S, S[, 3])."""
        assert self._images is not None, "this trainer was given no images"
        return self._images

    def _on_device(self, indices: np.ndarray, latents: np.ndarray, decays: np.ndarray) -> tuple[Tensor, ...]:
        pinned = self.device.type == "cuda"  # only from pinned memory a copy is not waited for
        arrays = ((indices, torch.int32), (latents, self.dtype), (decays, self.dtype))
        tensors = (torch.tensor(array, dtype=dtype, pin_memory=pinned) for array, dtype in arrays)
        return tuple(tensor.to(self.device, non_blocking=True) for tensor in tensors)

    @WAITING.adapted()  # PyTorch's threads wait for each other awake, XLA's asleep (decision 27)
    def _step(self, real_images: Tensor, latents: Tensor, decay: Tensor) -> Tensor:
        measured = self._train_step(
            self.generator,
            self.discriminator,
            self.generator_average,
            self.generator_optimizer,
            self.discriminator_optimizer,
            self._to_network(real_images),
            latents,
            decay,
            self.config,
        )
        return torch.stack(measured)  # (4,)

    def _changing_tensors(self) -> list[Tensor]:
        """All that a step changes, where it lies."""
        networks = (self.generator, self.discriminator, self.generator_average)
        optimizers = (self.generator_optimizer, self.discriminator_optimizer)
        tensors = [tensor for network in networks for tensor in network.state_dict().values()]
        return tensors + [tensor for of in optimizers for state in of.state.values() for tensor in state.values()]

    def _to_network(self, images: Tensor) -> Tensor:
        images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)  # (B, C, S, S)
        images = images.to(self.dtype).div_(127.5).sub_(1)
        return images.contiguous(memory_format=self.memory_format)

    @staticmethod
    def _from_network(images: Tensor) -> np.ndarray:
        images = images.permute(0, 2, 3, 1)  # (N, S, S, C)
        return (images[..., 0] if images.shape[-1] == 1 else images).float().contiguous().cpu().numpy()

    def _autocast(self) -> AbstractContextManager:
        if self.config.precision != "bfloat16":
            return nullcontext()
        # The cache would keep bfloat16 copies of weights that a step has updated since.
        return torch.autocast(self.device.type, dtype=torch.bfloat16, cache_enabled=False)


def create_optimizer(network: nn.Module, form: Form, config: TrainConfig, learning_rate: float) -> Adam:
    """Kingma & Ba 2015, algorithm 1: epsilon (1e-8 in both frameworks) outside the root, after bias correction."""
    betas = (config.beta1, config.beta2)
    return form.adam(network.parameters(), learning_rate, betas)


def create_trainer(
    config: TrainConfig,
    architecture: Architecture,
    device: Device,
    images: np.ndarray | None = None,
    execution: str = "step",
) -> InspectableTrainer:
    """A trainer without weights yet: call `load_weights` before anything else; to train, it needs images."""
    return DCGANTrainer(config, architecture, device, images, execution)


def create_compiled_trainer(
    config: TrainConfig,
    architecture: Architecture,
    device: Device,
    images: np.ndarray | None = None,
    execution: str = "step",
    mode: str = "default",
) -> InspectableTrainer:
    """A trainer whose networks torch.compile makes, when they are first called."""
    trainer = DCGANTrainer(config, architecture, device, images, execution)
    trainer.generator.compile(mode=mode)
    trainer.discriminator.compile(mode=mode)
    return trainer
