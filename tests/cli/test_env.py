"""mmcnn env on the command line."""

from mmcnn.version import __version__


def test_prints_the_report(run_command):
    result = run_command('env')
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0].split()[:2] == ['mmcnn', f'{__version__},']
    assert {'Python', 'torch', 'mmcv', 'OpenCV', 'GPUs'} < {line.split()[0] for line in lines}
    assert len({len(line) - len(line.split(maxsplit=1)[1]) for line in lines}) == 1  # aligned
