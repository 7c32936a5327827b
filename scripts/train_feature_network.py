"""Trains the MNIST classifier that the evaluator takes its features from, and exports it to ONNX.

    python scripts/train_feature_network.py

Needs the `dev` extra (onnx). Trains on the 60,000 training images; the test digits only measure the result.
"""

import json
import platform
import time
from dataclasses import asdict, dataclass

import numpy as np
import onnx
import torch
import tyro
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from common.data.datasets import load_dataset
from common.evaluation.feature_network import DESCRIPTION_PATH, NETWORK_PATH, FeatureNetwork
from common.evaluation.recompute import recompute

CHANNELS = (32, 64, 128)

# Opset 17, not the newest, so that older releases of onnxruntime read the file too.
GRAPH = """
<ir_version: 8, opset_import: ["" : 17]>
mnist_features (uint8[N,28,28] images) => (float[N,128] features, float[N,10] logits)
<int64[1] channel_axis = {1}, float white = {255.0}>
{
    pixels = Cast <to = 1> (images)
    scaled = Div (pixels, white)
    input = Unsqueeze (scaled, channel_axis)
    convolved_1 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (input, weight_1, bias_1)
    rectified_1 = Relu (convolved_1)
    pooled_1 = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (rectified_1)
    convolved_2 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (pooled_1, weight_2, bias_2)
    rectified_2 = Relu (convolved_2)
    pooled_2 = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (rectified_2)
    convolved_3 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (pooled_2, weight_3, bias_3)
    rectified_3 = Relu (convolved_3)
    means = GlobalAveragePool (rectified_3)
    features = Flatten (means)
    logits = Gemm <transB = 1> (features, class_weight, class_bias)
}
"""


@dataclass(frozen=True)
class Settings:
    """Everything the training depends on besides library versions and the machine."""

    seed: int = 0
    epochs: int = 12
    batch_size: int = 128
    peak_learning_rate: float = 5e-3
    weight_decay: float = 1e-4
    max_rotation_degrees: float = 10.0
    max_shift_pixels: float = 2.0
    max_scale_change: float = 0.1
    threads: int = 1


class Classifier(nn.Module):
    """Three 3x3 convolutions with BatchNorm, max pooling between them, the spatial mean as features."""

    def __init__(self) -> None:
        super().__init__()
        sizes = zip((1, *CHANNELS[:-1]), CHANNELS, strict=True)
        self.convolutions = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for channels in CHANNELS)
        self.classes = nn.Linear(CHANNELS[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10) of images (N, 1, 28, 28) in [0, 1]."""
        for layer, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = functional.relu(norm(convolution(x)))
            if layer < len(CHANNELS) - 1:
                x = functional.max_pool2d(x, 2)
        return self.classes(x.mean(dim=(2, 3)))


def augment(images: Tensor, settings: Settings) -> Tensor:
    """Each image turned, scaled and shifted by its own small random amount."""

    def uniform(limit: float) -> Tensor:
        return (torch.rand(len(images)) * 2 - 1) * limit

    angle = torch.deg2rad(uniform(settings.max_rotation_degrees))
    scale = 1 + uniform(settings.max_scale_change)
    shift = settings.max_shift_pixels * 2 / images.shape[-1]  # affine_grid spans [-1, 1]
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    rows = [torch.stack([cosine, -sine, uniform(shift)], 1), torch.stack([sine, cosine, uniform(shift)], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def train(images: Tensor, labels: Tensor, settings: Settings) -> Classifier:
    """Trains from scratch: AdamW, one learning-rate cycle; images (N, 1, 28, 28) in [0, 1]."""
    model = Classifier().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), settings.peak_learning_rate, weight_decay=settings.weight_decay)
    num_batches = len(images) // settings.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.peak_learning_rate, total_steps=settings.epochs * num_batches
    )
    for epoch in range(1, settings.epochs + 1):
        started, total_loss = time.perf_counter(), 0.0
        for batch in torch.randperm(len(images)).split(settings.batch_size)[:num_batches]:
            loss = functional.cross_entropy(model(augment(images[batch], settings)), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total_loss += loss.item()
        seconds = time.perf_counter() - started
        print(f"epoch {epoch}: training loss {total_loss / num_batches:.4f}, {seconds:.0f} s", flush=True)
    return model.eval()


def to_onnx(model: Classifier) -> onnx.ModelProto:
    """The network as GRAPH with the trained weights, each BatchNorm folded into its convolution."""
    weights: dict[str, Tensor] = {"class_weight": model.classes.weight, "class_bias": model.classes.bias}
    for layer, (convolution, norm) in enumerate(zip(model.convolutions, model.norms, strict=True), start=1):
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        folded = nn.utils.fuse_conv_bn_eval(convolution, norm)
        assert folded.bias is not None
        weights |= {f"weight_{layer}": folded.weight, f"bias_{layer}": folded.bias}
    proto = onnx.parser.parse_model(GRAPH)
    for name, weight in weights.items():
        values = np.ascontiguousarray(weight.detach().numpy())
        proto.graph.initializer.append(numpy_helper.from_array(values, name))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def count_parameters(proto: onnx.ModelProto) -> int:
    """How many numbers were trained; the scalar and the axis of GRAPH are not among them."""
    trained = [weights for weights in proto.graph.initializer if weights.name.startswith(("weight", "bias", "class"))]
    return sum(int(np.prod(weights.dims)) for weights in trained)


def main(settings: Settings) -> None:
    """Trains the classifier; writes network, description and floors over the committed ones."""
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True)
    mnist = load_dataset("mnist")
    train_images = torch.tensor(mnist.train_images).float().div(255).unsqueeze(1)
    model = train(train_images, torch.tensor(mnist.train_labels), settings)

    proto = to_onnx(model)
    content = proto.SerializeToString()
    network = FeatureNetwork(content, threads=settings.threads)
    predictions = network.extract(mnist.test_images).logits.argmax(axis=1)
    description = {
        "sha256": network.sha256,
        "test_accuracy": float(np.mean(predictions == mnist.test_labels)),
        "num_parameters": count_parameters(proto),
        "command": "python scripts/train_feature_network.py",
        "settings": asdict(settings),
        "training_data": "MNIST, the 60,000 training images",
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "onnx": onnx.__version__},
    }
    NETWORK_PATH.write_bytes(content)
    DESCRIPTION_PATH.write_text(json.dumps(description, indent=2) + "\n")
    recompute(network)
    print(json.dumps(description, indent=2))


if __name__ == "__main__":
    main(tyro.cli(Settings))
