"""What shows that an arm does the work of its configuration: the ladder, and for some a certificate of their own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.records.folder import FRAMEWORK_NAMES, PARITY_FILE, read_json
from comparison.bench.options import BenchOptions, Subject
from comparison.parity.arms import Arm, parse_arm
from comparison.parity.certificate import Certificate, share
from comparison.parity.find_certificate import Say, certify
from comparison.parity.first_steps import why_other_training
from comparison.parity.identity import identity_of
from comparison.processes import Children, config_flags

RUNS = Path("runs")  # whose folder `certificates` keeps them


class ArmCertificate(NamedTuple):
    """The certificate that an arm's ratio rests on, or the first that does not hold of those it stands on."""

    kind: str
    holds: bool
    reason: str
    rungs: Sequence[Mapping[str, Any]] = ()  # every measurement
    first_steps: Mapping[str, Any] | None = None  # by which a timed process shows that it is what was certified
    taken_by: str = ""  # whose first steps they are

    def why_other_training(self, title: str, recorded: Mapping[str, Any]) -> str | None:
        """The first loss or score of a timed process that is not what was certified; None if there is none."""
        if not self.first_steps:
            return f"the certificate of {title} has no first steps to know it by"
        return why_other_training(self.first_steps, self.taken_by, title, recorded)

    def summary(self) -> dict[str, Any]:
        """What bench.json says of it: the measurement that uses up most of its tolerance stands for all."""
        worst = max(self.rungs, key=share, default=None)
        return {
            "kind": self.kind,
            "holds": self.holds,
            "reason": self.reason,
            "num_measurements": len(self.rungs),
            "worst_ratio": worst and share(worst),  # of what is allowed
            "worst": worst and f"{worst['name']} ({worst['precision']})",
        }


def find_or_make_certificates(
    options: BenchOptions,
    arms: Sequence[Arm],
    subject: Subject,
    roofs: Mapping[str, Mapping[str, Any]],
    children: Children,
    say: Say,
) -> tuple[Certificate, dict[str, ArmCertificate]]:
    """The configuration's ladder, of both frameworks' tuned forms, and what each arm's ratio rests on.

    The ladder is climbed also when one framework alone is measured: the other is taken to run on the same device.
    `roofs` say where each of those that are measured ran.
    """
    if not options.certify:
        refused = Certificate(False, "not certified: --no-certify")
        return refused, {arm.name: ArmCertificate(arm.kind, refused.holds, refused.reason) for arm in arms}
    made: dict[str, Certificate] = {}

    def certificate_of(arm: Arm) -> Certificate:
        if arm.certified_as not in made:
            config = arm.config(options.config)
            found = made[arm.certified_as] = certify(
                _identity(arm, options, subject, roofs),
                [RUNS, *filter(None, [options.output])],
                children,
                say,
                flags=[*config_flags(config), *options.device_flags],
                num_threads=options.num_threads,
                arm=arm,
            )
            say(f"Parity: {found.reason}")
        return made[arm.certified_as]

    found = {}
    for arm in arms:
        tuned = parse_arm(arm.framework, precision=arm.proved.precision)
        deciding = tuned
        for each in (tuned, *([arm.proved] if arm.proved != arm else []), arm):
            if certificate_of(deciding).holds:  # none is climbed for what stands on one that does not
                deciding = each
        found[arm.name] = of_arm(arm, ladder=certificate_of(tuned), own=certificate_of(deciding))
    return made[""], found


def of_arm(arm: Arm, *, ladder: Certificate, own: Certificate) -> ArmCertificate:
    """From the ladder and the certificate that decides to what an arm's ratio rests on.

    An arm with a twin takes first steps of its own. The float64 ladder has none in float32, and an idiomatic arm takes
    those of the tuned one: rounding parts the two no more than it parts PyTorch's memory formats.
    """
    if not own.holds or own.path is None:
        return ArmCertificate(arm.kind, own.holds, own.reason)
    steps = own if arm.has_twin else ladder
    assert steps.path is not None
    return ArmCertificate(
        arm.kind,
        own.holds,
        own.reason,
        rungs=_content(own.path)["rungs"],
        first_steps=_content(steps.path).get("first_steps"),
        taken_by=arm.name if arm.has_twin else arm.framework,
    )


def _content(path: Path) -> dict[str, Any]:
    return read_json(path, kind=PARITY_FILE)


def _identity(
    arm: Arm, options: BenchOptions, subject: Subject, roofs: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    devices: dict[str, str] = {framework: found["device"] for framework, found in roofs.items()}
    elsewhere = next(iter(devices.values()))
    execution: dict[str, str] = {framework: found["execution"] for framework, found in roofs.items()}
    execution = dict.fromkeys(FRAMEWORK_NAMES, next(iter(execution.values()))) | execution
    return identity_of(
        arm.config(options.config),
        subject.architecture,
        environment=next(iter(roofs.values()))["environment"],
        num_threads=options.num_threads,
        data_sha256=subject.data_sha256,
        devices=dict.fromkeys(FRAMEWORK_NAMES, elsewhere) | devices,
        device_flags={framework: found["device_flags"] for framework, found in roofs.items()},
        accelerator=next(iter(roofs.values()))["accelerator"],
        execution=execution,
    )
