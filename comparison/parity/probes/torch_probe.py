"""PyTorch, taken apart for the ladder. Mirrors jax_probe.py."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common.config import TrainConfig
from common.contract import Weights
from comparison.parity.probes.probe import LayerCase, Probe, numbers_of
from torch_impl import chunks, device, layers, losses, trainer
from torch_impl.weights import BATCH_NORM_BUFFERS

ADAM_STATE = {"step", "exp_avg", "exp_avg_sq"}
NEVER_READ = "num_batches_tracked"  # by a BatchNorm that is given its momentum


class TorchProbe(Probe):
    """PyTorch, whose modules and gradients are taken as they are."""

    name, device_module, trainer_module = "torch", device, trainer

    @contextmanager
    def other_num_threads(self) -> Iterator[None]:
        num_threads = torch.get_num_threads()
        torch.set_num_threads(1 if num_threads > 1 else 2)
        try:
            yield
        finally:
            torch.set_num_threads(num_threads)

    def layer(self, config: TrainConfig, case: LayerCase, *, train: bool) -> Weights:
        form = layers.select(config)
        module = layers.build_layer(case.spec, form).to(self.device, _dtype(config)).train(train)
        module.load_state_dict({name: torch.tensor(array) for name, array in case.weights.items()}, strict=False)
        module = module.to(memory_format=form.memory_format)
        images = self._tensor(config, case.inputs).requires_grad_()
        outputs = module(images.clone())  # activations work in place
        leaves = {"input gradient": images, **dict(module.named_parameters())}
        gradients = torch.autograd.grad(outputs, list(leaves.values()), self._tensor(config, case.cotangent))
        found = {"output": outputs, **dict(zip(leaves, gradients, strict=True))}
        found |= {name: module.get_buffer(name) for name in case.weights if name.startswith("running_")}
        return {name: _array(tensor) for name, tensor in found.items()}

    @torch.no_grad()
    def activations(self, trainer: Any, network: str, inputs: np.ndarray, *, train: bool) -> list[np.ndarray]:
        module = getattr(trainer, network)
        module.train(train)
        values = torch.tensor(inputs).to(self.device, trainer.dtype).contiguous(memory_format=trainer.memory_format)
        outputs = []
        for layer in module:
            values = layer(values)
            outputs.append(_array(values).copy())  # the next activation may work in place
        module.train()
        return outputs

    def outputs(self, trainer: Any, real_images: np.ndarray, latents: np.ndarray) -> Weights:
        with trainer._autocast():
            fake = trainer.generator(torch.tensor(latents).to(self.device, trainer.dtype))
            real = trainer._to_network(torch.tensor(real_images).to(self.device))
            found = {"real logits": trainer.discriminator(real), "fake logits": trainer.discriminator(fake)}
        return {name: _array(tensor.float()) for name, tensor in {"images": fake, **found}.items()}

    def losses(self, config: TrainConfig, real_logits: np.ndarray, fake_logits: np.ndarray) -> Weights:
        real, fake, generated = (
            self._tensor(config, array).requires_grad_() for array in (real_logits, fake_logits, fake_logits)
        )
        identity: Any = nn.Identity()
        targets = {"real_target": config.real_target, "fake_target": config.fake_target}
        discriminator_loss = losses.discriminator_loss(identity, real, fake, **targets).loss
        generator_loss = losses.generator_loss(generated, identity, target=config.generator_target)
        real_gradient, fake_gradient = torch.autograd.grad(discriminator_loss, (real, fake))
        (generator_gradient,) = torch.autograd.grad(generator_loss, generated)
        return {
            "discriminator_loss": _array(discriminator_loss),
            "generator_loss": _array(generator_loss),
            "real_gradient": _array(real_gradient),
            "fake_gradient": _array(fake_gradient),
            "generator_gradient": _array(generator_gradient),
        }

    def gradients(self, trainer: Any, real_images: np.ndarray, latents: np.ndarray) -> Weights:
        gradients = {}
        for name, loss in self._losses_of(trainer, real_images, latents).items():
            network = getattr(trainer, name)
            found = torch.autograd.grad(loss, list(network.parameters()))
            for (key, _), gradient in zip(network.named_parameters(), found, strict=True):
                gradients[f"{name}.layers.{key}"] = _array(gradient)
        return gradients

    @torch.no_grad()
    def loss_values(self, trainer: Any, real_images: np.ndarray, latents: np.ndarray) -> dict[str, float]:
        return {name: float(loss) for name, loss in self._losses_of(trainer, real_images, latents).items()}

    def adam(self, config: TrainConfig, start: np.ndarray, gradients: np.ndarray) -> np.ndarray:
        module = nn.Module()
        module.vector = nn.Parameter(self._tensor(config, start))
        optimizer = trainer.create_optimizer(module, layers.select(config), config, config.learning_rate_generator)
        path = []
        for gradient in gradients:
            module.vector.grad = self._tensor(config, gradient)
            optimizer.step()
            path.append(_array(module.vector).copy())
        return np.stack(path)

    def fed(self, trainer: Any, indices: np.ndarray, latents: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        steps = chunks.steps_of(trainer.images, *trainer._on_device(indices, latents, np.zeros(len(indices))))
        return [(_array(images), _array(noise)) for images, noise, _ in steps]

    def addresses(self, trainer: Any) -> dict[str, int]:
        found = {}
        for name in ("generator", "discriminator", "generator_average"):
            found |= {f"{name}.{key}": tensor for key, tensor in getattr(trainer, name).state_dict().items()}
        for name in ("generator", "discriminator"):
            states = getattr(trainer, f"{name}_optimizer").state.values()
            found |= {f"{name}.adam.{i}.{key}": of[key] for i, of in enumerate(states) for key in of}
        return {name: tensor.data_ptr() for name, tensor in found.items()}

    def network_inputs(self, trainer: Any, real_images: np.ndarray) -> np.ndarray:
        return _array(trainer._to_network(torch.tensor(real_images).to(self.device)))

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

    def hidden_state(self, trainer: Any) -> dict[str, Any]:
        found = numbers_of("trainer", trainer)
        for name in ("generator", "discriminator"):
            network, optimizer = getattr(trainer, name), getattr(trainer, f"{name}_optimizer")
            for path, module in network.named_modules():
                found |= numbers_of(f"{name}.{path}", module)
            for path, buffer in network.named_buffers():
                if not path.endswith((*BATCH_NORM_BUFFERS, NEVER_READ)):
                    found[f"{name}.{path}"] = _array(buffer).tobytes()
            for group in optimizer.param_groups:
                found |= {f"{name}.adam.{key}": value for key, value in group.items() if key != "params"}
            for path, parameter in network.named_parameters():
                for key in optimizer.state[parameter].keys() - ADAM_STATE:
                    found[f"{name}.{path}.adam.{key}"] = _array(optimizer.state[parameter][key]).tobytes()
        return found

    def _losses_of(self, trainer: Any, real_images: np.ndarray, latents: np.ndarray) -> dict[str, Tensor]:
        config = trainer.config
        targets = {"real_target": config.real_target, "fake_target": config.fake_target}
        with trainer._autocast():
            real = trainer._to_network(torch.tensor(real_images).to(self.device))
            fake = trainer.generator(torch.tensor(latents).to(self.device, trainer.dtype))
            return {
                "discriminator": losses.discriminator_loss(trainer.discriminator, real, fake.detach(), **targets).loss,
                "generator": losses.generator_loss(fake, trainer.discriminator, target=config.generator_target),
            }

    def _tensor(self, config: TrainConfig, array: np.ndarray) -> Tensor:
        memory_format = layers.select(config).memory_format if array.ndim == 4 else torch.contiguous_format
        return torch.tensor(array).to(self.device, _dtype(config)).contiguous(memory_format=memory_format)


def _dtype(config: TrainConfig) -> torch.dtype:
    return torch.float64 if config.precision == "float64" else torch.float32


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy()
