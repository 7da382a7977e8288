"""Measurements that take long, one file for each view that offers one.

Each holds ``run(stepper, selection, options, job)``. They see the model and import torch, which is
why they are not in `core.views`: a view's data is all that the screen imports. May import `views`
and below. Start with `lens`.
"""
