import pytest

from tests.harness.figures import percentile


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(number) for number in range(1000, 0, -1)]
    assert [percentile(values, percent) for percent in (0, 50, 99, 99.9, 100)] == [1, 500, 990, 999, 1000]
    assert [percentile(range(1, 101), percent) for percent in (50, 99, 100)] == [50, 99, 100]
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)
