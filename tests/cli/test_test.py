def test_exported_networks(exported, exported_data, run_command, tmp_path):
    path = exported(form='nms', test_cfg=dict(score_thr=0.3))
    result = run_command('test', path, '--data', exported_data, cwd=tmp_path)
    assert result.code == 0
    assert 'm.onnx drops detections with scores up to 0.3, which AP would count\n' in result.out
    # Form nms of these files only detects the red class.
    assert result.out.endswith('AP = 0.33\nAP50 = 0.33\n')
