"""The table of a comparison, and how latencies are measured."""

import json
import re
import types

import torch
from PIL import Image

from mmcnn.compare import table as comparison_table
from mmcnn.compare.table import Row, Table
from mmcnn.inference.detector import Detector


def test_networks_are_measured_in_turn(monkeypatch):
    clock, calls = [0.0], []

    def call(name, durations):
        def run():
            calls.append(name)
            clock[0] += durations[(len(calls) - 1) // 2]

        return run

    monkeypatch.setattr(comparison_table.time, 'perf_counter', lambda: clock[0])
    # Three of each to warm up, then the median of five.
    durations = dict(a=[50, 50, 50, 4, 1, 9, 2, 3], b=[50, 50, 50, 6, 6, 8, 8, 7])
    assert comparison_table.medians({n: call(n, d) for n, d in durations.items()}, 5) == dict(a=3, b=7)
    assert calls == ['a', 'b'] * 8


def test_latency_is_of_the_folded_network_at_the_size(trained):
    detector, seen = Detector(trained.checkpoint, device='cpu'), []
    detector.model.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    found = comparison_table.latencies({'darknet': detector}, (64, 64), 2)
    assert list(found) == ['darknet']
    assert 0.05 < found['darknet'] < 5000  # milliseconds
    assert [image.shape for image in seen] == [(1, 3, 96, 96)] * (comparison_table.WARM_UP + 2)  # padded as in testing
    assert 0 <= seen[0].min() < 0.1 < 0.9 < seen[0].max() <= 1  # normalised
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in detector.model.modules())


def table():
    return Table(
        'yolo --epochs 3', 'Latency: as measured.',
        [
            Row('darknet53', 61_234_567, 40.04, [0.31, 0.33], [0.5, 0.6], [100, 101], {}),
            Row('vgg16', 20_000_000, 12.25, [0.2], [0.4], [3725], {1: 'CUDA out of memory'}),
            Row('xception', failures={0: 'no', 1: 'no more'}),
        ],
    )  # fmt: skip


def test_markdown_by_hand():
    assert table().as_markdown().splitlines() == [
        'yolo --epochs 3.',
        '',
        '| backbone | parameters | AP | AP50 | latency, ms | training time |',
        '|---|--:|--:|--:|--:|--:|',
        # Deviations of a sample of two: half the difference times the root of 2.
        '| `darknet53` | 61,234,567 | 0.320 ± 0.014 | 0.550 ± 0.071 | 40.0 | 1 min 40 s |',
        '| `vgg16` | 20,000,000 | 0.200 | 0.400 | 12.2 | 1 h 02 min |',
        '| `xception` | failed | failed | failed | failed | failed |',
        '',
        'Latency: as measured.',
        '',
        '- `vgg16`, seed 1: failed: CUDA out of memory',
        '- `xception`, seed 0: failed: no',
        '- `xception`, seed 1: failed: no more',
    ]


def test_files(tmp_path):
    table().write(tmp_path / 'new')
    assert (tmp_path / 'new' / 'comparison.md').read_text() == table().as_markdown() + '\n'
    rows = json.loads((tmp_path / 'new' / 'comparison.json').read_text())['rows']
    assert [row['AP'] for row in rows] == [[0.31, 0.33], [0.2], []]
    assert rows[1]['failures'] == {'1': 'CUDA out of memory'}
    image = Image.open(tmp_path / 'new' / 'comparison.png')
    assert (image.format, image.size) == ('PNG', (800, 550))
    Table('t', 'm', [Row('vgg16', failures={0: 'no'})]).write(tmp_path)
    assert (tmp_path / 'comparison.md').is_file()
    assert not (tmp_path / 'comparison.png').exists()


def test_rows_collect_the_seeds(trained):
    def run(backbone, seed, ap, failure=None):
        return types.SimpleNamespace(
            backbone=backbone, seed=seed, checkpoint=lambda: trained.checkpoint,
            result=lambda: None if ap is None else dict(AP=ap, AP50=ap * 2, seconds=60.0),
            record=lambda: dict(failure=failure),
        )  # fmt: skip

    runs = [run('b', 0, 0.1), run('a', 0, 0.2), run('b', 1, None, 'too large'), run('a', 1, 0.4), run('c', 0, None)]
    found = comparison_table.collect(runs, 'title', (64, 64), 1)
    assert [row.backbone for row in found.rows] == ['b', 'a', 'c']
    b, a, c = found.rows
    assert (a.AP, a.AP50, a.seconds, a.failures) == ([0.2, 0.4], [0.4, 0.8], [60, 60], {})
    assert (b.AP, b.failures) == ([0.1], {1: 'too large'})
    assert (c.parameters, c.latency_ms, c.failures) == (None, None, {0: 'its last checkpoint is gone'})
    state = torch.load(trained.checkpoint, weights_only=True)['state_dict']
    learned = [v.numel() for k, v in state.items() if k.endswith(('weight', 'bias'))]
    assert a.parameters == b.parameters == sum(learned)
    assert a.latency_ms > 0
    assert re.search('one image of 64 x 64 px, .* on a CPU .* median of 1 in turn', found.measured)


def test_where_there_was_nothing_to_measure(tmp_path):
    nothing = Table('yolo', 'Latency: as measured.', [Row('vgg16', 20_000_000, 12.25, [None], [None], [5])])
    lines = nothing.as_markdown().splitlines()
    assert lines[4] == '| `vgg16` | 20,000,000 | - | - | 12.2 | 5 s |'
    assert lines[-1] == 'Nothing to measure: there are no objects to validate on.'
    nothing.write(tmp_path)
    assert json.loads((tmp_path / 'comparison.json').read_text())['rows'][0]['AP'] == [None]
    assert not (tmp_path / 'comparison.png').exists()
