"""Entry points of training, and what only they use: run each as `python -m training.NAME a.b=c`."""
