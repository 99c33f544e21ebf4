import runpy
from pathlib import Path

#: ultralytics' network, as the tests of its files have it.
yolov5 = runpy.run_path(str(Path(__file__).parents[1] / 'weights' / 'conftest.py'))['yolov5']
