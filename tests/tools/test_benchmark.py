import re

import pytest


def test_pipeline(run_tool, shapes):
    options = ['--img-size', 64, '--cache-gb', 0.1, '--samples', 2, '--runs', 1]
    result = run_tool('benchmark', 'pipeline', '--data', shapes, *options)
    assert result.code == 0, result.err
    rates = re.findall(r'^(.+?) +[\d.]+ images/s .* ([\d.]+) x MMDetection$', result.out, re.MULTILINE)
    names = 'plain decode', 'MMDetection', 'mmcnn', 'mmcnn, cached', 'mmcnn, cached, for the device'
    assert [name for name, _ in rates] == list(names)
    assert dict(rates)['MMDetection'] == '1.00'


@pytest.mark.parametrize(('what', 'program'), [('slope', 'memory_slope'), ('waiting', 'gpu_check')])
def test_what_was_measured_in_0_1_names_its_program(run_tool, what, program):
    result = run_tool('benchmark', what, '--data', 'x', '--workers', 2)
    assert result.code == 2
    assert f'{what} has become a program in the source repository of mmcnn: python tools/{program}.py' in result.err
