"""What a person sees while a run goes on: a live bar on a terminal, one line an epoch elsewhere."""

from contextlib import ExitStack
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from common.contract import StepMetrics
from common.stages import drawn_on


class ProgressReporter(Protocol):
    """What the training loop tells of itself."""

    def chunk_done(self, *, epoch: int, step: int, images_per_second: float, metrics: StepMetrics) -> None: ...
    def epoch_done(self, *, epoch: int, images_per_second: float, metrics: StepMetrics) -> None: ...


class ConsoleProgress:
    """The bar and the lines; a context manager, so that the terminal is restored whatever happens."""

    def __init__(self, title: str, *, num_epochs: int, num_steps: int, console: Console) -> None:
        self.title = title
        self.num_epochs = num_epochs
        self.num_steps = num_steps
        self.console = console
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[epoch]}  step {task.completed}/{task.total}"),
            TextColumn("{task.fields[speed]}  {task.fields[losses]}  ETA"),
            TimeRemainingColumn(),
            console=console,
        )
        self._drawn = ExitStack()
        self.task = self.bar.add_task(title, total=num_steps, epoch=f"1/{num_epochs}", speed="starting", losses="")

    def __enter__(self) -> Self:
        self._drawn.enter_context(drawn_on(self.console, self.bar))
        return self

    def __exit__(self, *_: object) -> None:
        self._drawn.close()

    def chunk_done(self, *, epoch: int, step: int, images_per_second: float, metrics: StepMetrics) -> None:
        self.bar.update(
            self.task,
            completed=step,
            epoch=f"{epoch}/{self.num_epochs}",
            speed=f"{images_per_second:,.0f} img/s",
            losses=f"D {metrics.discriminator_loss[-1]:.3f} G {metrics.generator_loss[-1]:.3f}",
        )

    def epoch_done(self, *, epoch: int, images_per_second: float, metrics: StepMetrics) -> None:
        self.console.print(
            f"{self.title}: epoch {epoch}/{self.num_epochs}  {images_per_second:,.0f} images/s  "
            f"D {metrics.discriminator_loss.mean():.3f}  G {metrics.generator_loss.mean():.3f}  "
            f"D(x) {metrics.real_score.mean():.2f}  D(G(z)) {metrics.fake_score.mean():.2f}",
            soft_wrap=True,
        )
