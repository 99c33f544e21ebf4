# YOLOv4 on a narrow CSPDarknet53 (width 0.25, depth 0.33) for the demo: small images, minutes on two cores.
# Expected: AP50 above 0.75 on the held-out images of the embedded shapes. Time: about 4 minutes on 2 cores.
# Run:  python tools/train.py configs/yolov4_cspdarknet53_demo.py --data demo      (make demo does)
_base_ = ['yolov4_cspdarknet53.py']
model = dict(widen_factor=0.25, deepen_factor=0.33)
train_cfg = dict(max_epochs=30)
