"""Silence for other libraries: what is dropped, and that it ends."""

import logging

import pytest

from mmcnn.silence import silenced


@pytest.mark.parametrize(('prints', 'printed'), [(False, 'printed\nafterwards\n'), (True, 'afterwards\n')])
def test_warnings_and_prints_are_dropped_and_errors_are_not(prints, printed, caplog, capsys):
    logger = logging.getLogger('some library')
    with silenced(prints=prints):
        logger.warning('within')
        logger.error('an error')
        print('printed')
    logger.warning('behind')
    print('afterwards')
    assert [record.getMessage() for record in caplog.records] == ['an error', 'behind']
    assert capsys.readouterr().out == printed


def test_it_ends_with_an_exception_and_keeps_an_earlier_silence():
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with pytest.raises(ValueError, match='within'), silenced():
            raise ValueError('within')
        assert logging.root.manager.disable == logging.ERROR
    finally:
        logging.disable(before)
