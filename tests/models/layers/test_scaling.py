import pytest

from mmcnn.models.layers import make_divisible, scale_channels, scale_depth, scale_rows


# YOLOv5's published widths and depths: n (0.25, 0.33), s (0.5, 0.33), m (0.75, 0.67) and x (1.25, 1.33).
@pytest.mark.parametrize(
    ('factor', 'widths'),
    [(0.25, (16, 32, 64, 128, 256)), (0.75, (48, 96, 192, 384, 768)), (1.25, (80, 160, 320, 640, 1280))],
)
def test_widths(factor, widths):
    assert tuple(scale_channels(c, factor) for c in (64, 128, 256, 512, 1024)) == widths


@pytest.mark.parametrize(('factor', 'repeats'), [(0.33, (1, 2, 3)), (0.67, (2, 4, 6)), (1.33, (4, 8, 12))])
def test_repeats(factor, repeats):
    assert tuple(scale_depth(n, factor) for n in (3, 6, 9)) == repeats


def test_edges():
    assert scale_channels(100, 1.0) == 100  # at full width the published channels are not rounded
    assert scale_channels(36, 0.5) == 24
    assert scale_depth(1, 0.33) == 1 and scale_depth(0, 0.33) == 0


@pytest.mark.parametrize(('factor', 'rows'), [(0.1, 'e'), (0.33, 'de'), (0.67, 'cde'), (1, 'abcde'), (1.33, 'aaabcde')])
def test_rows_keep_the_last(factor, rows):
    assert ''.join(scale_rows('abcde', factor)) == rows


# 18 rounds up because 16 is more than a tenth below it; the others are MobileNetV2's widths at 0.35 and 1.3.
@pytest.mark.parametrize(
    ('channels', 'expected'), [(18, 24), (3, 8), (8.4, 8), (11.2, 16), (33.6, 32), (41.6, 40), (1664, 1664)]
)
def test_make_divisible(channels, expected):
    assert make_divisible(channels) == expected
