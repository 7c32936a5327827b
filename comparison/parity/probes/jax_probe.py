"""JAX, taken apart for the ladder. Mirrors torch_probe.py."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from common.config import TrainConfig
from common.contract import Weights
from common.evaluation.stored import cache_dir
from common.networks.layers import Architecture, LayerSpec
from comparison.parity.probes.protocol import LayerResult
from jax_impl import device, layers, losses, trainer
from jax_impl import weights as layout
from jax_impl.weights import BATCH_NORM_BUFFERS, PARAMETERS

TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


class Holder(nnx.Module):
    """One layer as a module, also where the layer is a plain function."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer


class Vector(nnx.Module):
    """A single parameter, for the optimizer."""

    def __init__(self, values: Array) -> None:
        self.vector = nnx.Param(values)


class JaxProbe:
    """`comparison.parity.probes.protocol.Probe` for JAX."""

    name = "jax"

    def __init__(self, device_name: str = "cpu") -> None:
        self._device_name = device_name

    @cached_property
    def device(self) -> device.Device:
        """Found at first use, after `configure`: the flags are read when a device starts."""
        return device.select_device(self._device_name)

    @property
    def device_name(self) -> str:
        return device.device_name(self.device)

    def configure(self, *, num_threads: int) -> None:
        device.configure(num_threads=num_threads)
        # Nothing is timed here, and half of a climb is compilation.
        if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]
            jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "xla"))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)

    def other_num_threads(self) -> AbstractContextManager[None]:
        return nullcontext()  # XLA makes its threads once

    def create_trainer(self, config: TrainConfig, architecture: Architecture) -> Any:
        return trainer.create_trainer(config, architecture, self.device)

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
        self._use_precision(config)
        form = layers.select(config, self.device.platform)
        module = layers.build_layer(spec, form, rngs=nnx.Rngs(0))
        native = {**PARAMETERS.get(type(spec), {}), **BATCH_NORM_BUFFERS}
        for name, array in weights.items():
            getattr(module, native[name]).set_value(jnp.array(layout.to_native(array, spec), _dtype(config)))
        if isinstance(module, nnx.Module):
            module.train() if train else module.eval()
        holder = Holder(module)
        graph, parameters, rest = nnx.split(holder, nnx.Param, ...)

        @jax.jit
        def run(parameters: Any, images: Array, cotangent: Array) -> Any:
            def apply(parameters: Any, images: Array) -> tuple[Array, Any]:
                copy = nnx.merge(graph, parameters, rest, copy=True)
                outputs = copy.layer(images)
                return outputs, nnx.state(copy, nnx.BatchStat)

            outputs, pull_back, statistics = jax.vjp(apply, parameters, images, has_aux=True)
            return outputs, statistics, *pull_back(cotangent)

        outputs, statistics, gradients, input_gradient = run(
            parameters, _native(config, inputs, TO_NHWC), _native(config, cotangent, TO_NHWC)
        )
        return LayerResult(
            outputs=_array(outputs, TO_NCHW),
            input_gradient=_array(input_gradient, TO_NCHW),
            weight_gradients={
                name: layout.to_canonical(np.asarray(gradients["layer"][native[name]][...]), spec)
                for name in weights
                if not name.startswith("running_")
            },
            buffers={
                name: _array(statistics["layer"][native[name]][...]) for name in weights if name.startswith("running_")
            },
        )

    def activations(self, trainer: Any, network: str, inputs: np.ndarray, *, train: bool) -> list[np.ndarray]:
        self._use_precision(trainer.config)
        module = getattr(trainer, network)
        module.train() if train else module.eval()

        @nnx.jit
        def run(module: Any, values: Array) -> list[Array]:
            outputs = [values]
            for layer in module.layers:
                outputs.append(layer(outputs[-1]))
            return outputs[1:]

        outputs = run(module, jnp.array(inputs.transpose(TO_NHWC), trainer.dtype))
        module.train()
        return [_array(values, TO_NCHW) for values in outputs]

    def losses(
        self,
        config: TrainConfig,
        real_logits: np.ndarray,
        fake_logits: np.ndarray,
        *,
        real_target: float,
        fake_target: float,
        generator_target: float,
    ) -> Weights:
        self._use_precision(config)
        real, fake = (jnp.array(array, _dtype(config)) for array in (real_logits, fake_logits))

        def identity(values: Array) -> Array:
            return values

        def discriminator_loss_of(real: Array, fake: Array) -> Array:
            targets = {"real_target": real_target, "fake_target": fake_target}
            return losses.discriminator_loss(identity, real, fake, **targets).loss  # pyright: ignore[reportArgumentType]

        def generator_loss_of(fake: Array) -> Array:
            return losses.generator_loss(fake, identity, target=generator_target)  # pyright: ignore[reportArgumentType]

        discriminator_loss, (real_gradient, fake_gradient) = jax.value_and_grad(discriminator_loss_of, argnums=(0, 1))(
            real, fake
        )
        generator_loss, generator_gradient = jax.value_and_grad(generator_loss_of)(fake)
        return {
            "discriminator_loss": _array(discriminator_loss),
            "generator_loss": _array(generator_loss),
            "real_gradient": _array(real_gradient),
            "fake_gradient": _array(fake_gradient),
            "generator_gradient": _array(generator_gradient),
        }

    def gradients(self, trainer: Any, real_images: np.ndarray, latents: np.ndarray) -> Weights:
        discriminator_loss_of, generator_loss_of = self._losses_of(trainer)
        found = {
            "discriminator": nnx.jit(nnx.grad(discriminator_loss_of)),
            "generator": nnx.jit(nnx.grad(generator_loss_of)),
        }
        gradients = {}
        for name, state in self._call(found, trainer, real_images, latents).items():
            for index, spec in enumerate(getattr(trainer.architecture, name)):
                for canonical, native in PARAMETERS.get(type(spec), {}).items():
                    if native in state["layers"].get(index, {}):
                        key = f"{name}.layers.{index}.{canonical}"
                        gradients[key] = layout.to_canonical(np.asarray(state["layers"][index][native][...]), spec)
        return gradients

    def loss_values(self, trainer: Any, real_images: np.ndarray, latents: np.ndarray) -> dict[str, float]:
        discriminator_loss_of, generator_loss_of = self._losses_of(trainer)
        losses = {"discriminator": nnx.jit(discriminator_loss_of), "generator": nnx.jit(generator_loss_of)}
        return {name: float(loss) for name, loss in self._call(losses, trainer, real_images, latents).items()}

    def adam(self, config: TrainConfig, start: np.ndarray, gradients: np.ndarray) -> np.ndarray:
        self._use_precision(config)
        module = Vector(jnp.array(start, _dtype(config)))
        optimizer = trainer.create_optimizer(module, config, config.learning_rate_generator)
        path = []
        for gradient in gradients:
            optimizer.update(module, nnx.State({"vector": nnx.Param(jnp.array(gradient, _dtype(config)))}))
            path.append(_array(module.vector[...]))
        return np.stack(path)

    def fed(self, trainer: Any, real_images: np.ndarray, latents: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        self._use_precision(trainer.config)
        return [(np.array(images), np.array(noise)) for images, noise in trainer._steps_of(real_images, latents)]

    def network_inputs(self, trainer: Any, real_images: np.ndarray) -> np.ndarray:
        self._use_precision(trainer.config)
        return _array(trainer._to_network(jnp.array(real_images)), TO_NCHW)

    def dtypes(self, trainer: Any) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in ("generator", "discriminator"):
            for part in (name, f"{name}_optimizer"):
                for path, leaf in jax.tree_util.tree_leaves_with_path(nnx.state(getattr(trainer, part))):
                    if jnp.issubdtype(leaf.dtype, jnp.floating):
                        found[f"{part}{jax.tree_util.keystr(path)}"] = str(leaf.dtype)
        return found

    def _use_precision(self, config: TrainConfig) -> None:
        jax.config.update("jax_enable_x64", config.precision == "float64")

    def _losses_of(self, trainer: Any) -> tuple[Callable[..., Array], Callable[..., Array]]:
        config = trainer.config
        self._use_precision(config)
        targets = {"real_target": config.real_target, "fake_target": config.fake_target}

        def discriminator_loss_of(discriminator: Any, generator: Any, real: Array, latents: Array) -> Array:
            return losses.discriminator_loss(discriminator, real, generator(latents), **targets).loss

        def generator_loss_of(generator: Any, discriminator: Any, real: Array, latents: Array) -> Array:
            return losses.generator_loss(generator(latents), discriminator, target=config.generator_target)

        return discriminator_loss_of, generator_loss_of

    def _call(
        self, functions: dict[str, Callable[..., Any]], trainer: Any, real_images: np.ndarray, latents: np.ndarray
    ) -> dict[str, Any]:
        # A pass in train mode moves the running statistics, which no loss in train mode depends on.
        data = trainer._to_network(jnp.array(real_images)), jnp.array(latents, trainer.dtype)
        networks = {"discriminator": trainer.discriminator, "generator": trainer.generator}
        return {
            name: function(networks[name], networks[other], *data)
            for (name, function), other in zip(functions.items(), reversed(networks), strict=True)
        }


def _dtype(config: TrainConfig) -> Any:
    return jnp.float64 if config.precision == "float64" else jnp.float32


def _native(config: TrainConfig, array: np.ndarray, axes: tuple[int, ...]) -> Array:
    return jnp.array(array.transpose(axes) if array.ndim == 4 else array, _dtype(config))


def _array(array: Array, axes: tuple[int, ...] = TO_NCHW) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(array).transpose(axes)) if array.ndim == 4 else np.array(array)
