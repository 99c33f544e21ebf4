"""tools/model_zoo.py runs mmcnn zoo, which tests/cli/test_zoo.py tests."""

import re


def test_table_of_some(run_tool):
    result = run_tool('model_zoo', '--filter', '*darknet53', '--sort', 'total')
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert [line.split()[0] for line in lines[-3:-1]] == ['darknet53', 'cspdarknet53']
    assert lines[-1] == '2 of 2 reference rows exact'


def test_exit_code_of_the_command(run_tool):
    assert run_tool('model_zoo', '--matrix', '--filter', 'vgg11', '--img-size', 600).code == 1


def test_errors_are_one_sentence(run_tool):
    result = run_tool('model_zoo', 'show', 'darknet35')
    assert result.code == 1
    assert re.fullmatch(r"error: no network is called 'darknet35'; did you mean darknet53.*\n", result.err)
