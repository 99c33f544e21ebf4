import re

import pytest


@pytest.mark.slow
def test_pipeline(run_tool, shapes):
    options = ['--img-size', 64, '--cache-gb', 0.1, '--samples', 2, '--runs', 1]
    result = run_tool('benchmark', 'pipeline', '--data', shapes, *options)
    assert result.code == 0, result.err
    names = re.findall(
        r'^64 px +(\S.+?) +[\d.,]+ images/s .*(?:x MMDetection|the best peer)$', result.out, re.MULTILINE
    )
    assert names == ['plain decode', 'MMDetection', 'mmcnn', 'mmcnn, cached', 'mmcnn, cached, for the device']


def test_without_a_kind_the_kinds_are_named(run_tool):
    result = run_tool('benchmark')
    assert result.code == 2
    assert 'WHAT' in result.err
    result = run_tool('benchmark', '--help')
    assert result.code == 0
    for name in ('nms', 'pipeline', 'export'):
        assert re.search(rf'^ +{name} ', result.out, re.MULTILINE)


@pytest.mark.parametrize(('what', 'program'), [('slope', 'memory_slope'), ('waiting', 'gpu_check')])
def test_what_was_measured_in_0_1_names_its_program(run_tool, what, program):
    result = run_tool('benchmark', what, '--data', 'x', '--workers', 2)
    assert result.code == 2
    assert f'{what} has become a program in the source repository of mmcnn: python tools/{program}.py' in result.err
