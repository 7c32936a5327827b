"""Trains the MNIST classifier that the evaluator takes its features from, and exports it to ONNX.

    python scripts/train_feature_network.py

Needs the `dev` extra (onnx). Trains on the 60,000 training images; the test digits only measure the result. What each
term of the loss is for: docs/decisions/0004-sample-quality.md.
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

NUM_FEATURES = 128
LOW_PASS = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]).div(16)[None, None]

# Opset 17, not the newest, so that older releases of onnxruntime read the file too.
GRAPH = """
<ir_version: 8, opset_import: ["" : 17]>
mnist_features (uint8[N,28,28] images) => (float[N,128] features, float[N,10] logits)
<int64[1] channel_axis = {1}, float white = {255.0}>
{
    pixels = Cast <to = 1> (images)
    scaled = Div (pixels, white)
    input = Unsqueeze (scaled, channel_axis)
    soft = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (input, low_pass)
    convolved_1 = Conv <kernel_shape = [5, 5], strides = [2, 2], pads = [2, 2, 2, 2]> (soft, weight_1, bias_1)
    rectified_1 = Relu (convolved_1)
    convolved_2 = Conv <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (rectified_1, weight_2, bias_2)
    rectified_2 = Relu (convolved_2)
    convolved_3 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (rectified_2, weight_3, bias_3)
    rectified_3 = Relu (convolved_3)
    pooled = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (rectified_3)
    flat = Flatten (pooled)
    gathered = Gemm <transB = 1> (flat, weight_4, bias_4)
    features = Relu (gathered)
    logits = Gemm <transB = 1> (features, class_weight, class_bias)
}
"""


@dataclass(frozen=True)
class Settings:
    """Everything the training depends on besides library versions and the machine."""

    seed: int = 0
    epochs: int = 10
    batch_size: int = 128
    num_no_digits: int = 32  # beside every batch
    peak_learning_rate: float = 5e-3
    weight_decay: float = 1e-4
    consistency: float = 1.0  # weight of how far a disturbance moves the features
    no_digit_distance: float = 4.0  # squared, from the mean digit, in mean squared distances of digits from it
    max_rotation_degrees: float = 10.0
    max_shift_pixels: float = 2.0
    max_scale_change: float = 0.1
    max_noise: float = 0.1  # standard deviation, of white
    max_salt: float = 0.01  # share of pixels
    threads: int = 1


class Classifier(nn.Module):
    """Softened digits, three convolutions down to 4 x 4 places, one layer that sees all of them: the features."""

    def __init__(self) -> None:
        super().__init__()
        convolutions = (nn.Conv2d(1, 32, 5, 2, 2), nn.Conv2d(32, 64, 3, 2, 1), nn.Conv2d(64, 64, 3, 1, 1))
        self.layers = nn.ModuleList([*convolutions, nn.Linear(64 * 4 * 4, NUM_FEATURES)])
        norms = [nn.BatchNorm2d(layer.out_channels) for layer in convolutions]
        self.norms = nn.ModuleList([*norms, nn.BatchNorm1d(NUM_FEATURES)])
        self.classes = nn.Linear(NUM_FEATURES, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, 128) and logits (N, 10) of images (N, 1, 28, 28) in [0, 1]."""
        x = soften(x)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            if isinstance(layer, nn.Linear):
                x = functional.max_pool2d(x, 3, 2, 1).flatten(1)
            x = functional.relu(norm(layer(x)))
        return x, self.classes(x)


def soften(images: Tensor) -> Tensor:
    """A fixed low-pass, so that single pixels and sharp edges count for little."""
    return functional.conv2d(images, LOW_PASS, padding=1)


def uniform(like: Tensor, low: float, high: float) -> Tensor:
    """One number for each image (N, 1, 1, 1)."""
    return torch.rand(len(like), 1, 1, 1) * (high - low) + low


def turn(images: Tensor, settings: Settings) -> Tensor:
    """Each image turned, scaled and shifted by its own small random amount."""
    limit = settings.max_rotation_degrees
    angle = torch.deg2rad(uniform(images, -limit, limit)).flatten()
    scale = 1 + uniform(images, -settings.max_scale_change, settings.max_scale_change).flatten()
    shift = settings.max_shift_pixels * 2 / images.shape[-1]  # affine_grid spans [-1, 1]
    right, down = (uniform(images, -shift, shift).flatten() for _ in range(2))
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    rows = [torch.stack([cosine, -sine, right], 1), torch.stack([sine, cosine, down], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def disturb(images: Tensor, settings: Settings) -> Tensor:
    """Each image with some of the faults that leave a digit what it is: turned, soft, hard, noisy, salted."""

    def sometimes(changed: Tensor) -> Tensor:
        return torch.where(uniform(images, 0, 1) < 0.5, changed, images)

    images = sometimes(turn(images, settings))
    images = sometimes(torch.lerp(images, soften(images), uniform(images, 0, 1)))
    middle, contrast = uniform(images, 0.35, 0.65), uniform(images, 0, 3.5).exp()
    images = sometimes(((images - middle) * contrast + middle).clamp(0, 1))
    images = sometimes((images + uniform(images, 0, settings.max_noise) * torch.randn_like(images)).clamp(0, 1))
    return sometimes(images.masked_fill(torch.rand_like(images) < uniform(images, 0, settings.max_salt), 1))


def no_digits(images: Tensor) -> Tensor:
    """Of N digits N images that are none: noise, textured blobs, and two of four with their 16 squares shuffled."""
    num = len(images) // 4
    noise = torch.rand_like(images[:num])
    coarse = functional.interpolate(torch.rand(num, 1, 5, 5), images.shape[-1], mode="bilinear", align_corners=True)
    blobs = ((coarse - uniform(coarse, 0.4, 0.7)) * uniform(coarse, 0.5, 3.5).exp() + 0.3).clamp(0, 1)
    blobs = blobs * (1 - uniform(blobs, 0, 0.4) * torch.rand_like(blobs))
    squares = images[2 * num :].unfold(2, 7, 7).unfold(3, 7, 7).reshape(-1, 16, 7, 7)
    order = torch.rand(len(squares), 16).argsort(1)
    shuffled = squares[torch.arange(len(squares))[:, None], order].reshape(-1, 4, 4, 7, 7).transpose(2, 3)
    return torch.cat([noise, blobs, shuffled.reshape(-1, *images.shape[1:])])


def train(model: nn.Module, images: Tensor, labels: Tensor, settings: Settings) -> None:
    """Trains from scratch: AdamW, one learning-rate cycle; images (N, 1, 28, 28) in [0, 1]. Leaves it in eval mode."""
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.AdamW(model.parameters(), settings.peak_learning_rate, weight_decay=settings.weight_decay)
    num_batches = len(images) // settings.batch_size
    num_steps = settings.epochs * num_batches
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.peak_learning_rate, total_steps=num_steps)
    for epoch in range(1, settings.epochs + 1):
        started, total_loss = time.perf_counter(), 0.0
        for batch in torch.randperm(len(images)).split(settings.batch_size)[:num_batches]:
            loss = loss_of(model, images[batch], labels[batch], settings)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total_loss += loss.item()
        seconds = time.perf_counter() - started
        print(f"epoch {epoch}: training loss {total_loss / num_batches:.4f}, {seconds:.0f} s", flush=True)
    model.eval()


def loss_of(model: nn.Module, images: Tensor, labels: Tensor, settings: Settings) -> Tensor:
    """Cross-entropy of digits and disturbed ones, how far the latter move, and how near to digits what is none comes.

    Distances are squared and in units of the digits' own spread, as a Fréchet distance is read beside that of real
    digits. The second term bounds it: of two sets it is at most the mean squared move from the one to the other.
    """
    digits = turn(images, settings)
    sets = torch.cat([digits, disturb(digits, settings), no_digits(images[: settings.num_no_digits])])
    features, logits = model(sets)
    plain, disturbed, others = features.tensor_split([len(digits), 2 * len(digits)])
    spread = plain.var(dim=0).sum()
    moved = (plain - disturbed).square().sum(dim=1).mean() / spread
    distance = (others - plain.mean(dim=0)).square().sum(dim=1) / spread
    too_near = functional.relu(settings.no_digit_distance - distance).mean()
    classes = functional.cross_entropy(logits[: 2 * len(digits)], labels.repeat(2))
    return classes + settings.consistency * moved + too_near


def to_onnx(model: Classifier) -> onnx.ModelProto:
    """The network as GRAPH with the trained weights, each BatchNorm folded into the layer before it."""
    weights = {"class_weight": model.classes.weight, "class_bias": model.classes.bias, "low_pass": LOW_PASS}
    for number, (layer, norm) in enumerate(zip(model.layers, model.norms, strict=True), start=1):
        fuse = nn.utils.fuse_linear_bn_eval if isinstance(layer, nn.Linear) else nn.utils.fuse_conv_bn_eval
        folded = fuse(layer, norm)  # pyright: ignore[reportArgumentType]
        weights |= {f"weight_{number}": folded.weight, f"bias_{number}": folded.bias}
    proto = onnx.parser.parse_model(GRAPH)
    for name, weight in weights.items():
        values = np.ascontiguousarray(weight.detach().numpy())
        proto.graph.initializer.append(numpy_helper.from_array(values, name))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def count_parameters(proto: onnx.ModelProto) -> int:
    """How many numbers were trained; the low-pass, the scalar and the axis of GRAPH are not among them."""
    trained = [weights for weights in proto.graph.initializer if weights.name.startswith(("weight", "bias", "class"))]
    return sum(int(np.prod(weights.dims)) for weights in trained)


def main(settings: Settings) -> None:
    """Trains the classifier; writes network, description and floors over the committed ones."""
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True)
    mnist = load_dataset("mnist")
    train_images = torch.tensor(mnist.train_images).float().div(255).unsqueeze(1)
    model = Classifier()
    train(model, train_images, torch.tensor(mnist.train_labels), settings)

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
