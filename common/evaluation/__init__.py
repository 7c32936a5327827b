"""Sample quality of generated digits: one evaluator for every framework, NumPy arrays in, numbers out."""

from common.evaluation.evaluate import Evaluation, Measured, evaluate_samples
from common.evaluation.feature_network import FeatureNetwork, Features, load_feature_network
from common.evaluation.samples import digit_images, read_samples

__all__ = [
    "Evaluation",
    "FeatureNetwork",
    "Features",
    "Measured",
    "digit_images",
    "evaluate_samples",
    "load_feature_network",
    "read_samples",
]
