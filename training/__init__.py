"""Entry points of training and their helpers: run each as `python -m training.NAME a.b=c`."""
