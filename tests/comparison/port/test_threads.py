"""Nine causes that people found in public, each as a small pair."""

import pytest

from comparison.port.compare import compare
from comparison.port.report import as_json, sentences
from tests.comparison.port.threads import THREADS


@pytest.mark.parametrize("thread", THREADS)
def test_the_cause_that_a_thread_found_is_found(thread):
    torch_of, flax_of, inputs, stage, path, words = THREADS[thread]
    result = compare(torch_of(), flax_of(), inputs())
    found = as_json(result)["first_divergence"]
    assert found is not None, sentences(result)
    assert (found["stage"], found["torch"]) == (stage, path), sentences(result)
    assert words in " ".join(sentences(result))
    assert found["measured"] > found["explained_by_rounding"], "no fault is excused by what it does to itself"
