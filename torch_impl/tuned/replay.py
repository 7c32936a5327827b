"""A chunk of steps as one CUDA graph of a step, replayed; JAX's program of a whole chunk is in jax_impl/tuned/steps.py.

What a replay reads and writes stays where it was when the graph was captured: the chunk's rows are copied into buffers,
and the position among them is a number on the device, which the step itself counts up. So one graph does for chunks of
any length, and a chunk costs the host a few copies and as many replays (PyTorch's notes on CUDA graphs).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from torch_impl.chunks import images_at

NUM_WARM_UPS = 3  # in which cuDNN chooses its algorithms, and libraries allocate what a capture may not
Step = Callable[[Tensor, Tensor, Tensor], Tensor]


class ReplayedSteps:
    """Steps of a chunk, each a replay; `state` gives every tensor that a step changes, for capturing must not train.

    On another device than CUDA what would be captured is called: all that can go wrong around a graph can be tested.
    """

    def __init__(self, step: Step, state: Callable[[], Sequence[Tensor]]) -> None:
        self._step = step
        self._state = state
        self._buffers: tuple[Tensor, ...] = ()
        self._metrics = self._position = torch.empty(0)
        self._images = torch.empty(0)

    def __call__(self, images: Tensor, *chunk: Tensor) -> Tensor:
        """Metrics (4, K) of steps on indices (K, B), latents (K, L, B, Z) and decays (K,)."""
        num_steps = len(chunk[0])
        if not self._buffers or num_steps > len(self._buffers[0]) or images is not self._images:
            self._capture(images, chunk)
        for buffer, rows in zip(self._buffers, chunk, strict=True):
            buffer[:num_steps].copy_(rows, non_blocking=True)
        self._position.zero_()
        for _ in range(num_steps):
            self._replay()
        return self._metrics[:num_steps].T.clone()  # the next chunk writes over it

    def _body(self) -> None:
        """The step at the position: nothing in it asks the host, and nothing it keeps is made anew."""
        row = self._position.view(1)
        indices, latents, decays = (buffer.index_select(0, row)[0] for buffer in self._buffers)
        measured = self._step(images_at(self._images, indices), latents, decays)
        self._metrics.index_copy_(0, row, measured[None])
        self._position += 1

    def _capture(self, images: Tensor, chunk: Sequence[Tensor]) -> None:
        self._images = images
        self._buffers = tuple(torch.zeros_like(rows) for rows in chunk)
        self._metrics = chunk[1].new_empty(len(chunk[0]), 4)
        self._position = torch.zeros((), dtype=torch.int64, device=images.device)
        if images.device.type != "cuda":
            self._replay = self._body
            return
        saved = [tensor.clone() for tensor in self._state()]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(NUM_WARM_UPS):
                self._position.zero_()
                self._body()
            self._position.zero_()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._body()
        with torch.no_grad():  # in place: to the graph, the addresses are the tensors
            for tensor, before in zip(self._state(), saved, strict=True):
                tensor.copy_(before)
        self._replay = graph.replay
