import json
from pathlib import Path

import pytest
import torch

GOLDEN = Path(__file__).parent / 'golden'


def pytest_addoption(parser):
    parser.addoption('--update-golden', action='store_true', help='write the golden numbers anew (make golden)')


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def golden(request):
    """Compares a value with the one stored in tests/golden under (file, key), or stores it with --update-golden."""

    def check(file: str, key: str, value):
        path, value = GOLDEN / file, json.loads(json.dumps(value))
        stored = json.loads(path.read_text()) if path.is_file() else {}
        if request.config.getoption('--update-golden'):
            stored[key] = value
            path.write_text(json.dumps(dict(sorted(stored.items())), indent=1) + '\n')
        assert key in stored, f'{key} is not in {path}: run make golden and look at the difference'
        assert stored[key] == value

    return check
