"""JAX, taken apart for the ladder. Mirrors torch_probe.py."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from common.config import TrainConfig
from common.contract import Weights
from common.safe_read import cache_dir
from comparison.parity import compilation
from comparison.parity.probes.probe import LayerCase, Probe, numbers_of
from jax_impl import chunks, device, layers, losses, trainer
from jax_impl import weights as layout
from jax_impl.weights import BATCH_NORM_BUFFERS, PARAMETERS

TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


class Holder(nnx.Module):
    """A module of one part: a layer, also where that is a plain function, or a parameter for the optimizer."""

    def __init__(self, part: Any) -> None:
        self.part = part


class JaxProbe(Probe):
    """JAX, whose switch for 64 bits is set before every use."""

    name, device_module, trainer_module = "jax", device, trainer

    def configure(self, *, num_threads: int, deterministic: bool = False) -> None:
        super().configure(num_threads=num_threads, deterministic=deterministic)
        # Nothing is timed here, and half of a climb is compilation.
        cache = cache_dir()
        if cache and jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]
            jax.config.update("jax_compilation_cache_dir", str(cache / "xla"))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)

    def _quickly_compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Jitted without XLA's optimisation, which takes longer than a piece does; whole steps are compiled as ever."""
        known = self.device.platform == "cpu" and version("jaxlib").startswith(compilation.JAXLIB)
        return jax.jit(function, compiler_options=compilation.OPTIONS if known else {})

    def layer(self, config: TrainConfig, case: LayerCase, *, train: bool) -> Weights:
        dtype, spec = _use_precision(config), case.spec
        form = layers.select(config, self.device.platform)
        module = layers.build_layer(spec, form, rngs=nnx.Rngs(0))
        native = {**PARAMETERS.get(type(spec), {}), **BATCH_NORM_BUFFERS}
        for name, array in case.weights.items():
            getattr(module, native[name]).set_value(jnp.array(layout.to_native(array, spec), dtype))
        if isinstance(module, nnx.Module):
            module.train() if train else module.eval()
        graph, parameters, rest = nnx.split(Holder(module), nnx.Param, ...)

        @self._quickly_compiled
        def run(parameters: Any, images: Array, cotangent: Array) -> Any:
            def apply(parameters: Any, images: Array) -> tuple[Array, Any]:
                copy = nnx.merge(graph, parameters, rest, copy=True)
                outputs = copy.part(images)
                return outputs, nnx.state(copy, nnx.BatchStat)

            outputs, pull_back, statistics = jax.vjp(apply, parameters, images, has_aux=True)
            return outputs, statistics, *pull_back(cotangent)

        images, cotangent = (jnp.array(array.transpose(TO_NHWC), dtype) for array in (case.inputs, case.cotangent))
        outputs, statistics, gradients, input_gradient = run(parameters, images, cotangent)
        found = {"output": _array(outputs), "input gradient": _array(input_gradient)}
        for name in case.weights:
            state = statistics if name.startswith("running_") else gradients
            found[name] = layout.to_canonical(np.asarray(state["part"][native[name]][...]), spec)
        return found

    def activations(self, trainer: Any, network: str, inputs: np.ndarray, *, train: bool) -> list[np.ndarray]:
        _use_precision(trainer.config)
        module = getattr(trainer, network)
        module.train() if train else module.eval()

        graph, state = nnx.split(module)

        @self._quickly_compiled
        def run(state: Any, values: Array) -> list[Array]:
            outputs = [values]
            for layer in nnx.merge(graph, state).layers:
                outputs.append(layer(outputs[-1]))
            return outputs[1:]

        outputs = run(state, jnp.array(inputs.transpose(TO_NHWC), trainer.dtype))
        module.train()
        return [_array(values) for values in outputs]

    def outputs(self, trainer: Any, real_images: np.ndarray, latents: np.ndarray) -> Weights:
        _use_precision(trainer.config)
        networks = trainer.generator, trainer.discriminator
        graph, state = nnx.split(networks)

        @self._quickly_compiled
        def run(state: Any, real: Array, latents: Array) -> tuple[dict[str, Array], Any]:
            generator, discriminator = copies = nnx.merge(graph, state)
            fake = generator(latents)
            found = {"images": fake, "real logits": discriminator(real), "fake logits": discriminator(fake)}
            return {name: array.astype(jnp.float32) for name, array in found.items()}, nnx.state(copies, nnx.BatchStat)

        outputs, statistics = run(state, trainer._to_network(jnp.array(real_images)), jnp.array(latents, trainer.dtype))
        nnx.update(networks, statistics)
        return {name: _array(array) for name, array in outputs.items()}

    def losses(self, config: TrainConfig, real_logits: np.ndarray, fake_logits: np.ndarray) -> Weights:
        dtype = _use_precision(config)
        discriminator_loss_of, generator_loss_of = _losses_of(config)
        arguments = _identity, _identity, jnp.array(real_logits, dtype), jnp.array(fake_logits, dtype)
        discriminator_loss, gradients = jax.value_and_grad(discriminator_loss_of, argnums=(2, 3))(*arguments)
        real_gradient, fake_gradient = gradients
        generator_loss, generator_gradient = jax.value_and_grad(generator_loss_of, argnums=3)(*arguments)
        return {
            "discriminator_loss": _array(discriminator_loss),
            "generator_loss": _array(generator_loss),
            "real_gradient": _array(real_gradient),
            "fake_gradient": _array(fake_gradient),
            "generator_gradient": _array(generator_gradient),
        }

    def gradients(self, trainer: Any, real_images: np.ndarray, latents: np.ndarray) -> Weights:
        gradients = {}
        for name, state in self._of_losses(nnx.grad, trainer, real_images, latents).items():
            for index, spec in enumerate(getattr(trainer.architecture, name)):
                for canonical, native in PARAMETERS.get(type(spec), {}).items():
                    if native in state["layers"].get(index, {}):
                        key = f"{name}.layers.{index}.{canonical}"
                        gradients[key] = layout.to_canonical(np.asarray(state["layers"][index][native][...]), spec)
        return gradients

    def loss_values(self, trainer: Any, real_images: np.ndarray, latents: np.ndarray) -> dict[str, float]:
        found = self._of_losses(_identity, trainer, real_images, latents)
        return {name: float(loss) for name, loss in found.items()}

    def adam(self, config: TrainConfig, start: np.ndarray, gradients: np.ndarray) -> np.ndarray:
        dtype = _use_precision(config)
        module = Holder(nnx.Param(jnp.array(start, dtype)))
        optimizer = trainer.create_optimizer(module, config, config.learning_rate_generator)
        path = []
        for gradient in gradients:
            optimizer.update(module, nnx.State({"part": nnx.Param(jnp.array(gradient, dtype))}))
            path.append(_array(module.part[...]))
        return np.stack(path)

    def fed(self, trainer: Any, indices: np.ndarray, latents: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        _use_precision(trainer.config)
        steps = chunks.steps_of(trainer.images, *trainer._on_device(indices, latents, np.zeros(len(indices))))
        return [(np.array(images), np.array(noise)) for images, noise, _ in steps]

    def network_inputs(self, trainer: Any, real_images: np.ndarray) -> np.ndarray:
        _use_precision(trainer.config)
        return _array(trainer._to_network(jnp.array(real_images)))

    def dtypes(self, trainer: Any) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in ("generator", "discriminator"):
            for part in (name, f"{name}_optimizer"):
                for path, leaf in jax.tree_util.tree_leaves_with_path(nnx.state(getattr(trainer, part))):
                    if jnp.issubdtype(leaf.dtype, jnp.floating):
                        found[f"{part}{jax.tree_util.keystr(path)}"] = str(leaf.dtype)
        return found

    def hidden_state(self, trainer: Any) -> dict[str, Any]:
        found = numbers_of("trainer", trainer)
        for name in ("generator", "discriminator"):
            network, optimizer = getattr(trainer, name), getattr(trainer, f"{name}_optimizer")
            for path, module in nnx.iter_modules(network):
                found |= numbers_of(".".join(map(str, (name, *path))), module)
            for path, variable in nnx.to_flat_state(nnx.state(network)):
                if not isinstance(variable, nnx.Param | nnx.BatchStat):
                    found[".".join(map(str, (name, *path)))] = np.asarray(variable[...]).tobytes()
            for path, variable in nnx.to_flat_state(nnx.state(optimizer)):
                if path[0] != "step" and path[:2] != ("opt_state", 0):
                    found[".".join(map(str, (name, "adam", *path)))] = np.asarray(variable[...]).tobytes()
        return found

    def _of_losses(
        self,
        transform: Callable[[Callable[..., Array]], Callable[..., Any]],
        trainer: Any,
        real_images: np.ndarray,
        latents: np.ndarray,
    ) -> dict[str, Any]:
        """What the compiled transform of each network's loss gives, in train mode."""
        _use_precision(trainer.config)
        graph, state = nnx.split((trainer.discriminator, trainer.generator))
        discriminator_loss_of, generator_loss_of = map(transform, _losses_of(trainer.config))

        @self._quickly_compiled
        def run(state: Any, real: Array, latents: Array) -> dict[str, Any]:
            discriminator, generator = nnx.merge(graph, state)
            of_discriminator = discriminator_loss_of(discriminator, generator, real, latents)
            discriminator, generator = nnx.merge(graph, state)  # as they were: the first has moved their statistics
            of_generator = generator_loss_of(generator, discriminator, real, latents)
            return {"discriminator": of_discriminator, "generator": of_generator}

        return run(state, trainer._to_network(jnp.array(real_images)), jnp.array(latents, trainer.dtype))


def _losses_of(config: TrainConfig) -> tuple[Callable[..., Array], Callable[..., Array]]:
    targets = {"real_target": config.real_target, "fake_target": config.fake_target}

    def discriminator_loss_of(discriminator: Any, generator: Any, real: Array, latents: Array) -> Array:
        return losses.discriminator_loss(discriminator, real, generator(latents), **targets).loss

    def generator_loss_of(generator: Any, discriminator: Any, real: Array, latents: Array) -> Array:
        return losses.generator_loss(generator(latents), discriminator, target=config.generator_target)

    return discriminator_loss_of, generator_loss_of


def _identity(values: Any) -> Any:
    return values


def _use_precision(config: TrainConfig) -> Any:
    """Allows 64 bits, or forbids them, and returns the dtype."""
    jax.config.update("jax_enable_x64", config.precision == "float64")
    return jnp.float64 if config.precision == "float64" else jnp.float32


def _array(array: Array) -> np.ndarray:
    """An image goes back to NCHW."""
    return np.ascontiguousarray(np.asarray(array).transpose(TO_NCHW)) if array.ndim == 4 else np.array(array)
