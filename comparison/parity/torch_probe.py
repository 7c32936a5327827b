"""PyTorch, taken apart for the ladder. Mirrors jax_probe.py."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common.architectures import Architecture, LayerSpec
from common.config import TrainConfig
from common.contract import Weights
from comparison.parity.probe import LayerResult
from torch_impl import device, losses, trainer
from torch_impl.layers import build_layer


class TorchProbe:
    """`comparison.parity.probe.Probe` for PyTorch."""

    name = "torch"

    def configure(self, *, num_threads: int) -> None:
        device.configure(num_threads=num_threads)

    def create_trainer(self, config: TrainConfig, architecture: Architecture) -> Any:
        return trainer.create_trainer(config, architecture, device.select_device("cpu"))

    def layer(
        self,
        config: TrainConfig,
        spec: LayerSpec,
        weights: Weights,
        inputs: np.ndarray,
        cotangent: np.ndarray,
        *,
        train: bool,
    ) -> LayerResult:
        module = build_layer(spec).to(_dtype(config)).train(train)
        module.load_state_dict({name: torch.tensor(array) for name, array in weights.items()}, strict=False)
        if config.variant == "tuned":
            module = module.to(memory_format=torch.channels_last)
        images = _tensor(config, inputs).requires_grad_()
        outputs = module(images.clone())  # activations work in place
        names = [name for name, _ in module.named_parameters()]
        input_gradient, *gradients = torch.autograd.grad(
            outputs, (images, *module.parameters()), _tensor(config, cotangent)
        )
        return LayerResult(
            outputs=_array(outputs),
            input_gradient=_array(input_gradient),
            weight_gradients={name: _array(gradient) for name, gradient in zip(names, gradients, strict=True)},
            buffers={name: _array(module.get_buffer(name)) for name in weights if name.startswith("running_")},
        )

    @torch.no_grad()
    def activations(self, trainer: Any, network: str, inputs: np.ndarray, *, train: bool) -> list[np.ndarray]:
        module, weights = getattr(trainer, network), trainer.export_weights()
        module.train(train)
        values = torch.tensor(inputs).to(trainer.dtype).contiguous(memory_format=trainer.memory_format)
        outputs = []
        for layer in module.layers:
            values = layer(values)
            outputs.append(_array(values).copy())  # the next activation may work in place
        module.train()
        trainer.load_weights(weights)  # a forward pass in train mode moved the running statistics
        return outputs

    def losses(self, config: TrainConfig, real_logits: np.ndarray, fake_logits: np.ndarray) -> Weights:
        real, fake, generated = (
            torch.tensor(array).to(_dtype(config)).requires_grad_() for array in (real_logits, fake_logits, fake_logits)
        )
        identity: Any = nn.Identity()
        targets = {"real_target": config.real_target, "fake_target": config.fake_target}
        judged = losses.discriminator_loss(identity, real, fake, **targets).loss
        fooled = losses.generator_loss(generated, identity, target=config.generator_target)
        real_gradient, fake_gradient = torch.autograd.grad(judged, (real, fake))
        (generator_gradient,) = torch.autograd.grad(fooled, generated)
        return {
            "discriminator_loss": _array(judged),
            "generator_loss": _array(fooled),
            "real_gradient": _array(real_gradient),
            "fake_gradient": _array(fake_gradient),
            "generator_gradient": _array(generator_gradient),
        }

    def gradients(self, trainer: Any, real_images: np.ndarray, latents: np.ndarray) -> Weights:
        config, weights = trainer.config, trainer.export_weights()
        real = trainer._to_network(torch.tensor(real_images))
        fake = trainer.generator(torch.tensor(latents).to(trainer.dtype))
        targets = {"real_target": config.real_target, "fake_target": config.fake_target}
        judged = losses.discriminator_loss(trainer.discriminator, real, fake.detach(), **targets).loss
        fooled = losses.generator_loss(fake, trainer.discriminator, target=config.generator_target)
        gradients = {}
        for name, loss in (("discriminator", judged), ("generator", fooled)):
            network = getattr(trainer, name)
            found = torch.autograd.grad(loss, list(network.parameters()))
            for (key, _), gradient in zip(network.named_parameters(), found, strict=True):
                gradients[f"{name}.{key}"] = _array(gradient)
        trainer.load_weights(weights)
        return gradients

    def adam(self, config: TrainConfig, start: np.ndarray, gradients: np.ndarray) -> np.ndarray:
        module = nn.Module()
        module.vector = nn.Parameter(torch.tensor(start).to(_dtype(config)))
        optimizer = trainer.create_optimizer(module, config, config.learning_rate_generator)
        path = []
        for gradient in gradients:
            module.vector.grad = torch.tensor(gradient).to(_dtype(config))
            optimizer.step()
            path.append(_array(module.vector).copy())
        return np.stack(path)

    def on_device(self, array: np.ndarray) -> np.ndarray:
        return _array(torch.from_numpy(array).to(device.select_device("cpu")))

    def dtypes(self, trainer: Any) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in ("generator", "discriminator"):
            network, optimizer = getattr(trainer, name), getattr(trainer, f"{name}_optimizer")
            tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
            found |= {
                f"{name}.{key}": str(tensor.dtype) for key, tensor in tensors.items() if tensor.is_floating_point()
            }
            for key, parameter in network.named_parameters():
                for moment in ("exp_avg", "exp_avg_sq"):
                    found[f"{name}.{key}.adam.{moment}"] = str(optimizer.state[parameter][moment].dtype)
        return {name: kind.removeprefix("torch.") for name, kind in found.items()}


def _dtype(config: TrainConfig) -> torch.dtype:
    return torch.float64 if config.precision == "float64" else torch.float32


def _tensor(config: TrainConfig, array: np.ndarray) -> Tensor:
    tuned = config.variant == "tuned" and array.ndim == 4
    memory_format = torch.channels_last if tuned else torch.contiguous_format
    return torch.tensor(array).to(_dtype(config)).contiguous(memory_format=memory_format)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()
