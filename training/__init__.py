"""Entry points of training and supporting code: run each as `python -m training.NAME a.b=c`."""
