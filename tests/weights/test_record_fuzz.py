"""Any metadata of a file yields a record or one sentence."""

import json
from collections import Counter
from dataclasses import asdict

import pytest

from mmcnn.errors import CheckpointError
from mmcnn.weights.record import Record, from_json

hypothesis = pytest.importorskip('hypothesis')
st = hypothesis.strategies

FIELDS = sorted(asdict(Record('')))
TEXT = st.text(max_size=20) | st.sampled_from(['x' * 1000, 'x' * 1001, 'a\nb', '\ud800', ''])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(10**4400, 10**4401) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ENTRIES = st.dictionaries(st.sampled_from([*FIELDS, 'later']), TEXT | TEXT | TEXT | JSON, max_size=5)


def written(value):
    """Write JSON like json.dumps, but also with very large numbers."""
    if isinstance(value, dict):
        return '{' + ', '.join(f'{json.dumps(key)}: {written(each)}' for key, each in value.items()) + '}'
    if isinstance(value, list):
        return '[' + ', '.join(map(written, value)) + ']'
    large = isinstance(value, int) and abs(value) >= 10**4000
    return '1' + '0' * 4400 if large else json.dumps(value)


def is_record(value):
    if not isinstance(value, dict) or 'model' not in value:
        return False
    known = {key: each for key, each in value.items() if key in FIELDS}
    return all(isinstance(each, str) and len(each) <= 1000 for each in known.values()) and all(
        known.get(key, '').isprintable() for key in ('model', 'activation', 'norm_eps')
    )


def has_large(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (isinstance(value, int) and abs(value) >= 10**4000) or any(map(has_large, inner))


@pytest.mark.parametrize('examples', [200, pytest.param(10_000, marks=pytest.mark.campaign)])
def test_any_text(examples):
    seen = Counter()

    def check(case):
        text, expected = case
        try:
            record = from_json(text, 'file')
        except CheckpointError as error:
            assert str(error).startswith('file: ') and '\n' not in str(error) and len(str(error)) < 200
            assert not expected
            seen['refused'] += 1
        else:
            assert expected is not False
            assert all(isinstance(each, str) for each in asdict(record).values())
            seen['read'] += 1

    def of_value(value):
        return written(value), is_record(value) and not has_large(value)

    cases = st.one_of(
        st.text(max_size=100).map(lambda text: (text, None)),
        JSON.map(of_value),
        ENTRIES.map(of_value),
        st.tuples(ENTRIES, TEXT).map(lambda pair: of_value({**pair[0], 'model': pair[1]})),
        st.tuples(ENTRIES.map(written), st.integers(0, 40), st.text(max_size=3)).map(
            lambda parts: (parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :], None)
        ),
    )

    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=hypothesis.HealthCheck,
    )
    @hypothesis.given(cases)
    def every(case):
        check(case)

    every()
    assert seen['read'] > examples / 20 and seen['refused'] > examples / 4
