# For networks of depthwise convolutions: 300 epochs, little weight decay, a lower rate, averaged weights.
# Their papers use RMSprop; this is SGD and a cosine instead.
_base_ = ['imagenet_100e.py']
max_epochs = 300
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=0.05, weight_decay=4e-5))
custom_hooks = [_base_.schedule_hook, dict(type='mmcnn.StepEMAHook')]
