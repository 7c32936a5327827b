"""Every JSON file of numbers, field by field: what writes one and what reads one both ask here.

Of a run's folder, and of the certificate, the benchmark and the comparison that stand beside it; config.json is a
TrainConfig, and the CSV files are in `series`. It is one file, however long, because a field is looked up here and
nowhere else. None means that there is no such value. A field that nobody declared is passed over when read, since a
newer run may have more, and never written.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from common.config import TrainConfig, to_dict
from common.errors import UserError
from common.records.bounds import Amount, Flag, NonNegative, Positive, Seconds, Share, Text, Whole
from common.records.series import Chunk, EpochTiming
from common.safe_read import explain

NUM_CLASSES = 10
MAX_SHOWN = 10  # samples of a class, and pairs of a sample and a training digit
MAX_TRAINING_IMAGES = 2**31
NUM_TRAINING_DIGITS = 60_000


class Record(BaseModel):
    """An object in JSON."""

    model_config = ConfigDict(allow_inf_nan=False, extra="allow", defer_build=True)


# The JSON of a run's folder.


class Machine(Record):
    """What a process stood on, whatever it did: versions, processor, environment variables, command."""

    python: Text
    platform: Text | None = None
    packages: dict[str, Text | None]
    package_hashes: dict[str, Text] = {}  # of what each computing package's RECORD lists; older runs have none
    num_cpus: Whole
    cpu_model: Text | None = None
    cpu_flags: list[Text]
    memory_bytes: Whole | None
    environment_variables: dict[str, Text] = {}
    commit: Text | None = None  # of our sources; older runs do not say
    command: list[Text]
    started_at: Text | None = None


class DatasetRecord(Record):
    """The images that a run was trained on, and where they were found."""

    name: Text
    data_dir: Text | None
    sha256: Text  # of the training images, as they are trained on
    num_train: Whole
    num_test: Whole
    channels: Whole
    made: Text = ""


class FeaturesRecord(Record):
    """The network of `--features`, and where it was found."""

    file: Text
    sha256: Text


class Process(Machine):
    """A process that trained a part of a run, from the step where it began or went on."""

    framework: Text | None = None
    framework_name: Text | None = None
    device: Text
    device_flags: dict[str, Any] = {}
    execution: Text | None = None  # `step` or `chunk`; older runs do not say
    accelerator: dict[str, Text] | None = None  # what its driver says, nothing of a CPU; older runs do not say
    num_threads: Whole
    num_parameters: dict[str, Whole]
    resumed_from: Text | None = None
    resumed_at_step: Whole = 0
    resumed_in_place: Flag = False  # in the folder of the run itself
    source_hash: Text | None = None
    dataset: DatasetRecord | None = None
    features: FeaturesRecord | None = None


class Environment(Process):
    """environment.json: what a run stood on, and what the processes did before that trained its earlier steps."""

    past: list[Process] = []  # in order; older runs do not say


class Status(Record):
    """status.json: `running`, `finished`, `interrupted` or `failed`; only `finished` is compared without a warning."""

    status: Text
    message: Text
    step: Whole
    epoch: Whole


class Interval(Record):
    """A median and the range or the quartiles around it."""

    median: Positive
    low: Positive
    high: Positive


class Timings(Record):
    """What timing.json and comparison.json both say; a field with a title is a row of the report's table of phases."""

    steady_images_per_second: Interval | None = None
    seconds_per_epoch: Seconds = None
    chunk_size: Whole | None = None
    loop_overhead_fraction: Amount | None = None
    peak_memory_bytes: Whole | None = None
    peak_memory_kind: Text | None = None  # whose: of the `process`, or of the framework's `allocator` on a GPU
    peak_memory_reserved_bytes: Whole | None = None  # what that allocator took of the GPU
    peak_memory_process_bytes: Whole | None = None  # beside it, on the host
    import_seconds: Seconds = Field(None, title="Import", description="of the framework")
    data_loading_seconds: Seconds = Field(None, title="Load the dataset", description="once")
    build_seconds: Seconds = Field(None, title="Build the networks", description="and load the initial weights")
    first_chunk_seconds: Seconds = Field(None, title="First chunk", description="part of training")
    training_seconds: Seconds = Field(None, title="Training", description="all chunks")
    data_seconds: Seconds = Field(None, title="Preparing data", description="batches and latents")
    evaluation_seconds: Seconds = Field(None, title="After each epoch", description="sample grids, checkpoints, files")
    epoch_quality_seconds: Seconds = Field(None, title="Quick scores", description="after each epoch, in no other time")
    generate_seconds: Seconds = Field(None, title="Generate for scoring", description="after training")
    drawing_seconds: Seconds = Field(None, title="Drawing", description="the pictures of the run folder")
    scoring_seconds: Seconds = Field(None, title="Scoring", description="after training")
    total_seconds: Seconds = Field(None, title="Total", description="from loading the dataset to scoring")
    waiting_seconds: Seconds = Field(None, title="Waiting", description="for its turns, in no other time")


class Conditions(Record):
    """What slowed the machine beside other programs, until the last epoch's end; None where no system shows it."""

    involuntary_switches: Whole | None = None  # of threads of the process, which had to wait for others
    swapped_bytes: Whole | None = None  # of all programs, in and out
    on_battery: Flag | None = None  # at the end of any epoch
    lowest_clock: Share | None = None  # of those at the end of epochs, as a share of the highest


class Timing(Timings):
    """timing.json: of the last process that trained."""

    resumed_at_step: Whole = 0
    chunks: list[Chunk] = []
    checkpoint_seconds: Seconds = None
    checkpoint_fraction: Amount | None = None
    waiting_cpu_seconds: Seconds = None  # while it waited for turns: it sleeps
    epochs: list[EpochTiming] = []
    conditions: Conditions | None = None

    @model_validator(mode="after")
    def _speed_is_of_chunks(self) -> Self:
        if self.chunks and self.chunk_size is None:
            raise ValueError("it has chunks of no size")
        if len(self.chunks) > 1 and self.steady_images_per_second is None:
            raise ValueError("it has chunks, but no speed")
        return self


class Metric(Record):
    """The mean over draws, and what it can be held against."""

    value: Amount
    spread: Amount | None = None
    floor: Amount | None = None
    floor_low: Amount | None = None
    floor_high: Amount | None = None
    standard_error: Amount | None = None


class KernelDistance(Record):
    """How KID was estimated."""

    num_subsets: Whole
    subset_size: Whole
    seed: Whole


class Alarm(Record):
    """What was found wrong with samples, and the number that says so beside that of real digits."""

    name: Text
    sentence: Text
    value: Amount | None = None
    floor: Amount | None = None


def _as_alarm(warning: Any) -> Any:
    """Older runs recorded the sentence alone."""
    return {"name": "warning", "sentence": warning} if isinstance(warning, str) else warning


class Protocol(Record):
    """Everything that scores depend on."""

    num_generated: Whole
    num_real: Whole
    network_sha256: Text
    features: Text = ""  # what makes them; the digit classifier where it is empty
    comparable: Flag = True
    quick: Flag = False
    brought_to_28_px: Text = ""  # how images of another size were
    num_draws: Whole = 1
    reference: Text = ""
    floor: Text = ""
    image_size: Whole = 0
    num_features: Whole = 0
    frechet_components: Whole = 0  # along which the Gaussians are fitted; along all features where it is 0
    k: Whole = 0
    kid: KernelDistance | None = None
    batch_norm: Text | None = None
    weights: Text | None = None
    checkpoint: Text | None = None
    warnings: list[Annotated[Alarm, BeforeValidator(_as_alarm)]] = []


def _not_all_zero(counts: list[int]) -> list[int]:
    assert sum(counts) > 0, "they must not all be 0"
    return counts


Histogram = Annotated[list[Whole], Field(min_length=NUM_CLASSES, max_length=NUM_CLASSES), AfterValidator(_not_all_zero)]


class ClassHistogram(Record):
    """How many images were taken for each digit."""

    generated: Histogram
    real: Histogram


class Neighbour(Record):
    """A sample, the training image closest to it, and how far that image is from its own closest."""

    sample: Whole
    training_image: Annotated[int, Field(strict=True, ge=0, lt=MAX_TRAINING_IMAGES)]
    distance: NonNegative
    own_distance: NonNegative


Neighbours = Annotated[list[Neighbour], Field(max_length=MAX_SHOWN)]
FEATURES = ("discriminator", "untrained discriminator", "pixels")


class DiscriminatorFeatures(Record):
    """Accuracies of a linear classifier, by kind of feature, for each number of labels."""

    labels: Annotated[list[Whole], Field(min_length=1, max_length=2)]  # a small training set has no 10,000
    accuracy: dict[str, list[Share]]

    @model_validator(mode="after")
    def _one_accuracy_a_number(self) -> Self:
        if {len(self.accuracy.get(kind, ())) for kind in FEATURES} != {len(self.labels)}:
            raise ValueError("discriminator_features has not as many accuracies as numbers of labels")
        return self


class Metrics(Record):
    """metrics.json: the scores of a run's samples."""

    metrics: dict[str, Metric]
    protocol: Protocol
    class_histogram: ClassHistogram | None = None  # of digits alone
    nearest_neighbours: Neighbours = []
    discriminator_features: DiscriminatorFeatures | None = None
    class_examples: Annotated[
        list[Annotated[list[Whole], Field(max_length=MAX_SHOWN)]], Field(min_length=NUM_CLASSES, max_length=NUM_CLASSES)
    ] = [[]] * NUM_CLASSES

    @model_validator(mode="after")
    def _neighbours_are_there(self) -> Self:
        named = [pair.training_image for pair in self.nearest_neighbours]
        if not self.protocol.features and max(named, default=0) >= NUM_TRAINING_DIGITS:
            raise ValueError(f"nearest_neighbours names training digit {max(named)}")
        return self


# What stands beside two runs.


class Rung(Record):
    """One measurement of the ladder; `measured` is None where there was a NaN or a tensor was missing."""

    rung: Whole
    kind: Text
    name: Text
    precision: Literal["float64", "float32", "bfloat16"]  # bfloat16 in an arm's certificate alone
    measured: NonNegative | None
    tolerance: NonNegative
    where: Text
    holds: Flag

    @model_validator(mode="after")
    def _holds_by_a_number(self) -> Self:
        if self.holds and self.measured is None:
            raise ValueError("a rung holds without a number")
        return self


class FirstSteps(Record):
    """What the ladder saw of the first steps of training, in the precision that the configuration trains in."""

    tolerances: Annotated[list[Positive], Field(min_length=1)]  # by step: relative beyond 1, absolute below
    metrics: dict[str, dict[str, list[Amount]]]  # by framework and column of losses.csv
    weights_sha256: dict[str, Text]  # by framework, of all state after the last of these steps

    @model_validator(mode="after")
    def _one_value_a_step(self) -> Self:
        columns = [column for columns in self.metrics.values() for column in columns.values()]
        if {len(column) for column in columns} - {len(self.tolerances)}:
            raise ValueError("first_steps has not as many values as tolerances")
        return self


class Parity(Record):
    """parity.json: every rung, and the configuration, versions and devices they hold for."""

    holds: Flag = False
    quick: Flag
    arm: Text = ""  # the form of the benchmark, where the certificate is one's own
    went_on_from_checkpoint: Flag = False  # whether the late states included one that a run has reached
    rungs: list[Rung]
    config: dict[str, Any] = {}
    num_parameters: dict[str, Whole] = {}
    data_sha256: Text | None = None
    python: Text | None = None
    packages: dict[str, Text | None] | None = None
    package_hashes: dict[str, Text] | None = None
    cpu_model: Text | None = None
    cpu_flags: list[Text] | None = None
    num_threads: Whole | None = None
    deterministic: Flag = False
    accelerator: dict[str, Text] | None = None  # nothing of a CPU
    # By framework.
    source_hashes: dict[str, Text] = {}
    devices: dict[str, Text] | None = None
    device_flags: dict[str, dict[str, Any]] | None = None
    execution: dict[str, Text] | None = None
    environment_variables: dict[str, dict[str, Text]] | None = None
    first_steps: FirstSteps | None = None
    ladder_hash: Text | None = None
    identity_hash: Text | None = None  # the name that the certificate is kept under
    networks: Text | None = None
    environment: Machine | None = None  # of the process that climbed


class Verdict(Record):
    """Whether a certificate holds, None without one, and why or why not."""

    holds: Flag | None
    reason: Text


class WorstOfRung(Rung):
    """The measurement of a rung with the least head-room."""

    num_measurements: Whole


class ParitySummary(Verdict):
    """What a comparison says of its certificate, with the worst measurement of every rung."""

    certificate: Text | None
    quick: Flag | None
    rungs: list[WorstOfRung]


class FrameworkResult(Timings):
    """One half of a comparison: its times, its speed, where its losses ended, and its scores."""

    status: Status | dict[str, Any]
    num_steps: Whole
    num_steady_chunks: Whole
    last_epoch_means: dict[str, Amount | None] | None
    quality: dict[str, Metric] | None
    quality_protocol: Protocol | None
    class_histogram: ClassHistogram | None
    nearest_neighbours: Neighbours | None
    discriminator_features: DiscriminatorFeatures | None


class LossAgreement(Record):
    """How far one loss of a run is from the other run's, relatively, from equal weights on."""

    num_steps: Whole
    first_step: Amount | None
    largest_of_first_10_steps: Amount | None
    first_step_above_1_percent: Whole | None
    at_step: dict[str, Amount | None]


class RunQuietness(Conditions):
    """How busy the machine was during one run's steady chunks, in cores on average."""

    num_cores: Whole  # that the run may use
    own_cores: NonNegative | None
    others_cores: NonNegative | None  # with what a hypervisor took
    others_cores_by_epoch: dict[str, NonNegative | None]
    stolen_cores: NonNegative | None


class Quietness(Record):
    """What the speeds of a comparison are worth, and why."""

    mark: Literal["verified", "indicative", "disturbed"]
    sentence: Text
    thresholds: dict[str, NonNegative]
    runs: dict[str, RunQuietness]


class SpeedRatio(Interval):
    """The median over rounds with its bootstrap interval; of no rounds, the ratio of two medians, and a range."""

    num_rounds: Whole = 0


class Comparison(Record):
    """comparison.json: every number of a report."""

    config: dict[str, Any]
    environment: dict[str, Environment]
    parity: ParitySummary
    frameworks: dict[str, FrameworkResult | None]
    loss_agreement: dict[str, LossAgreement] | None
    paired_images_per_second: list[list[Positive]] = []  # PyTorch's and JAX's, of each round in which both had a turn
    images_per_second_ratio: dict[str, SpeedRatio] | None
    why_no_ratio: Text | None
    quietness: Quietness | None = None  # older comparisons have none


class BenchPhases(Record):
    """What a process of the benchmark timed, beside its blocks."""

    import_seconds: NonNegative
    data_loading_seconds: NonNegative
    build_seconds: NonNegative
    compile_seconds: NonNegative  # the framework's own clock, of tracing, lowering and compiling the step
    first_block_seconds: NonNegative
    warm_up_seconds: NonNegative
    data_seconds_per_step: NonNegative
    generate_seconds_per_image: NonNegative


class BenchArm(BenchPhases):
    """One form of one framework; phases are medians over repetitions."""

    title: Text
    framework: Text
    variant: Text
    precision: Text
    num_repetitions: Whole
    milliseconds_per_step: Interval
    images_per_second: Positive
    gflops_per_second: Positive
    fraction_of_roof: Amount | None
    first_block_extra_seconds: NonNegative  # beyond a later block, by our clock
    peak_memory_bytes: Whole
    seconds_per_step_by_repetition: list[Positive]
    block_seconds_per_step_by_repetition: list[list[Positive]]


class BenchRoof(Record):
    """The best matrix multiplication, and what was measured before and after everything else."""

    float32_gflops_per_second: Positive
    bfloat16_gflops_per_second: Positive
    drift: NonNegative
    before: dict[str, dict[str, dict[str, Positive]]]  # by framework, precision and size
    after: dict[str, dict[str, dict[str, Positive]]]


class BenchControl(Record):
    """The first arm against itself."""

    arm: Text
    ratio: Positive
    low: Positive
    high: Positive
    holds: Flag


class BenchNeighbours(Record):
    """One arm beside busy programs."""

    num_neighbours: Whole
    arm: Text
    milliseconds_per_step: Interval
    slowdown: Interval  # relative to itself beside none


class BenchBatchSize(Record):
    """One arm at another batch size."""

    batch_size: Whole
    arm: Text
    milliseconds_per_step: Interval
    images_per_second: Positive


class BenchEpoch(Record):
    """The quick score after an epoch."""

    epoch: Whole
    training_seconds: Amount
    frechet_distance: Amount | None
    kid: Amount | None
    mnist_score: Amount | None


class BenchQuality(Record):
    """One arm trained and scored epoch by epoch."""

    arm: Text
    batch_size: Whole
    first_chunk_extra_seconds: NonNegative  # beyond a later chunk, by our clock: most of it compiles
    floor: Amount | None
    epochs: list[BenchEpoch]


class BenchProtocol(Record):
    """How it was measured."""

    command: list[Text]
    started_at: Text
    num_warm_up_blocks: Whole
    repetitions: Whole
    steps_per_block: Whole
    num_blocks: Whole
    quality_epochs: Whole
    neighbours: Whole = 0


class BenchMachine(Record):
    """What was measured on, with what."""

    num_threads: Whole
    devices: dict[str, Text]
    device_flags: dict[str, dict[str, Any]]
    python: Text
    platform: Text
    packages: dict[str, Text]
    num_cpus: Whole
    cpu_model: Text | None = None
    cpu_flags: list[Text]
    memory_bytes: Whole
    environment_variables: dict[str, Text]
    commit: Text | None = None
    source_hashes: dict[str, Text]


class BenchCertificate(Verdict):
    """What shows that an arm does the work of its configuration."""

    kind: Text
    num_measurements: Whole
    worst_ratio: NonNegative | None  # the largest share of what is allowed that a measurement uses up
    worst: Text | None  # that measurement


class Bench(Record):
    """bench.json: every number of a benchmark."""

    config: dict[str, Any]
    num_parameters: dict[str, Whole]
    num_images: Whole
    num_transposed_convolutions: Whole
    protocol: BenchProtocol
    machine: BenchMachine
    flops_per_step: Whole
    roof: BenchRoof
    control: BenchControl
    parity: Verdict
    arms: dict[str, BenchArm]
    certificates: dict[str, BenchCertificate] = {}  # by arm; older benchmarks have the ladder alone
    refused: dict[str, Text]
    ratios: dict[str, Interval]
    break_even_steps: dict[str, Whole | None]
    neighbours: list[BenchNeighbours] = []
    batch_sizes: list[BenchBatchSize]
    quality: list[BenchQuality]
    failed: list[Text]
    compilation: dict[str, dict[str, NonNegative]]


class StudyPlan(Record):
    """What a study was going to do; the page shows all of it."""

    presets: dict[str, dict[str, Any]]  # each preset's config without the seed
    seeds: list[Whole]
    reserve_seeds: list[Whole]
    margins: dict[str, Positive | None]  # by metric, the primary one first; None is one seed-sd
    draws: Whole
    quick_scoring: Flag
    test: Text
    multiplicity: Text
    stopping_rule: Text
    exclusions: Text
    commit: Text


class Plan(Record):
    """plan.json: written before the first run of a study."""

    plan: StudyPlan
    sha256: Text
    written_at: Text


class PairedScores(Record):
    """One metric over the pairs of a study; only `values` and what is said of them where a run has no score.

    The p values are corrected for the number of presets; `sd` is that of the differences.
    """

    num_pairs: Whole
    values: dict[str, list[Amount | None]]  # by framework, in the order of the seeds
    p_equivalent: Share
    p_different: Share
    verdict: Literal["equivalent", "different", "undecided"]
    difference: Amount | None = None
    sd: NonNegative | None = None
    low90: Amount | None = None
    high90: Amount | None = None
    low95: Amount | None = None
    high95: Amount | None = None
    half_width90: NonNegative | None = None
    margin: NonNegative | None = None
    correlation: Amount | None = None
    p_sign_flip: Share | None = None
    power: Share | None = None
    num_pairs_needed: Whole | None = None  # for 90 % power at this spread; None beyond 1,000


class StudyPreset(Record):
    """One preset of a study."""

    metrics: dict[str, PairedScores]


class Study(Record):
    """report.json of a study's folder: every number of its page."""

    plan: StudyPlan
    plan_hash: Text
    plan_written_at: Text
    num_runs: Whole
    unfinished: dict[str, Text]
    sources: dict[str, list[Text]]  # by framework, of every process that trained
    devices: dict[str, list[Text]]
    seeds: list[Whole]
    presets: dict[str, StudyPreset]


KINDS: tuple[type[Record], ...] = (Environment, Status, Timing, Metrics, Parity, Comparison, Bench, Plan)
RECORDS = {f"{kind.__name__.lower()}.json": kind for kind in KINDS} | {"report.json": Study}


def check(name: str, content: Mapping[str, Any], *, complete: bool = False) -> dict[str, Any]:
    """The declared part of what stands in the file `name`; ValueError where it may not stand there.

    `complete`: undeclared fields, at any depth, raise ValueError too.
    """
    if name not in RECORDS:
        return dict(content)
    try:
        record = RECORDS[name].model_validate(content)
    except ValidationError as error:
        raise ValueError(explain(error)) from None
    undeclared: list[str] = []
    declared = _declared(content, record, "", undeclared)
    if complete and undeclared:
        raise ValueError(f"{', '.join(undeclared)} of {name} is declared nowhere in common/records/schema.py")
    return declared


def _declared(content: Any, record: Any, where: str, undeclared: list[str]) -> Any:
    """`content` without what its model does not have, which is noted by the way to it: `metrics.kid.valeu`."""
    match record:
        case Record():
            undeclared += [f"{where}{name}" for name in record.model_extra or ()]
            parts = {name: getattr(record, name) for name in content if name in type(record).model_fields}
        case dict():
            parts = record
        case list():
            pairs = enumerate(zip(content, record, strict=True))
            return [_declared(one, part, f"{where}{index}.", undeclared) for index, (one, part) in pairs]
        case _:
            return content
    return {name: _declared(content[name], part, f"{where}{name}.", undeclared) for name, part in parts.items()}


def check_config(config: Mapping[str, Any]) -> None:
    """Raise ValueError unless every field of a TrainConfig is there and valid; a newer run may have more."""
    names = to_dict(TrainConfig())
    try:
        TrainConfig.from_fields({name: value for name, value in config.items() if name in names})
    except UserError as error:
        raise ValueError(f"config.json: {error}") from None
